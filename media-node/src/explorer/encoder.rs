//! An encoder: it publishes one stream, connects again when its connection is lost, and gives up when another one takes over.

use std::time::Duration;

use media_wire::rtmp::{ClientConnection, ClientEvent};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::attempts::Precedence;
use super::client::{ClientEnd, NodeAddresses, Record, RtmpClient};
use super::media::{Identity, RATE, headers};
use super::on_air::{OnAir, Sending};
use super::schedule::{EncoderEnd, EncoderSettings};
use super::socket::{RTMP, Route};
use crate::host::simulated::network::Network;

/// Where and how an encoder publishes.
#[derive(Clone)]
pub(super) struct EncoderSetup {
    pub(super) network: Network,
    pub(super) record: Record,
    pub(super) on_air: OnAir,
    pub(super) stream: String,
    /// The encoding. The one of the next connection is one higher, unless the encoder always encodes in the same way.
    pub(super) encoding: u32,
    pub(super) settings: EncoderSettings,
    pub(super) nodes: NodeAddresses,
    /// The media node that it tries first, then the next ones.
    pub(super) node: usize,
    /// Whether nothing that fails may end its connection.
    pub(super) is_protected: bool,
    /// Which encoders may supersede it.
    pub(super) precedence: Precedence,
    /// The number of the message after which it is told that another one has taken over, if that is planted.
    pub(super) superseded_at: Option<u32>,
}

/// A running encoder.
pub(super) struct Encoder {
    pub(super) stream: String,
    end: watch::Sender<Option<EncoderEnd>>,
    task: JoinHandle<()>,
}

impl Encoder {
    pub(super) fn start(setup: EncoderSetup) -> Self {
        let end = watch::Sender::new(None);
        let stream = setup.stream.clone();
        let task = tokio::spawn(publish(setup, end.subscribe()));
        Self { stream, end, task }
    }

    pub(super) fn stop(&self, end: EncoderEnd) {
        self.end.send_replace(Some(end));
        if end == EncoderEnd::Crash {
            self.task.abort();
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forgets an accepted encoder when its connection is closed.
struct Accepted<'a> {
    setup: &'a EncoderSetup,
    encoder: u32,
}

impl<'a> Accepted<'a> {
    fn new(setup: &'a EncoderSetup, encoder: u32) -> Self {
        let now = setup.record.now();
        setup.on_air.attempts(|it| it.accepted(encoder, now));
        Self { setup, encoder }
    }
}

impl Drop for Accepted<'_> {
    fn drop(&mut self) {
        let now = self.setup.record.now();
        self.setup.on_air.close(self.encoder, now);
    }
}

async fn publish(setup: EncoderSetup, mut end: watch::Receiver<Option<EncoderEnd>>) {
    let EncoderSetup {
        record,
        on_air,
        stream,
        settings,
        ..
    } = &setup;
    let mut encoding = setup.encoding;
    for attempt in 0.. {
        let to = setup.nodes.port(setup.node + attempt, RTMP);
        let encoder = on_air.next_encoder();
        let route = Route {
            network: setup.network.clone(),
            to,
            capacity: CAPACITY,
        };
        let name = format!("{stream}?priority={}", settings.priority);
        on_air.attempts(|it| it.begin(encoder, record.now()));
        let opened = tokio::select! {
            opened = RtmpClient::open(&route, &name, ClientConnection::publish) => opened,
            () = stopped(&mut end) => return,
        };
        let is_accepted = opened.is_ok();
        let result = match opened {
            Ok(client) => {
                record.note(format_args!("encoder {encoder} publishes {stream} at {to}"));
                let _accepted = Accepted::new(&setup, encoder);
                send(client, &setup, encoder, encoding, &mut end).await
            }
            Err(error) => {
                on_air.attempts(|it| match error {
                    ClientEnd::Status(_) => it.refused(encoder),
                    _ => it.ended(encoder, record.now()),
                });
                Err(error)
            }
        };
        let Err(why) = result else {
            record.note(format_args!("encoder {encoder} has ended {stream}"));
            return;
        };
        record.note(format_args!(
            "encoder {encoder} of {stream} at {to}: {why:?}"
        ));
        if setup.is_protected && is_accepted && matches!(why, ClientEnd::Lost(_)) {
            record.violation(format_args!(
                "encoder {encoder} of {stream} is disconnected"
            ));
        }
        // Another one is on air, or has taken over.
        let is_superseded = why == ClientEnd::Status(BAD_NAME.to_owned());
        let precedence = setup.precedence;
        if is_superseded
            && is_accepted
            && !on_air.attempts(|it| it.is_superseded(encoder, precedence))
        {
            record.violation(format_args!(
                "encoder {encoder} of {stream} is superseded by none that stays"
            ));
        }
        // One that hangs does not connect again.
        if is_superseded || *end.borrow() == Some(EncoderEnd::Freeze) {
            return;
        }
        if !settings.is_same_encoding {
            encoding += 1;
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            () = stopped(&mut end) => return,
        }
    }
}

/// Waits until the encoder is to end. A freeze is none.
async fn stopped(end: &mut watch::Receiver<Option<EncoderEnd>>) {
    let is_end = |end: &Option<EncoderEnd>| matches!(end, Some(EncoderEnd::Finish));
    if end.wait_for(is_end).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Sends frames until the encoder is to end, or the connection is lost.
async fn send(
    mut client: RtmpClient,
    setup: &EncoderSetup,
    encoder: u32,
    encoding: u32,
    end: &mut watch::Receiver<Option<EncoderEnd>>,
) -> Result<(), ClientEnd> {
    let EncoderSetup {
        record,
        on_air,
        settings,
        ..
    } = setup;
    for header in headers(encoding, settings.first_timestamp) {
        client.connection.send(&header);
    }
    let since = record.now();
    let mut ticks = interval(Duration::from_millis(u64::from(1000 / RATE)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut number = settings.first_number;
    loop {
        let due = tokio::select! {
            biased;
            () = stopped(end) => {
                client.connection.finish();
                client.flush().await?;
                on_air.finish(encoder);
                return Ok(());
            }
            event = client.event() => {
                if let ClientEvent::Status(status) = event?
                    && status.is_error()
                {
                    return Err(ClientEnd::Status(status.code));
                }
                false
            }
            _ = ticks.tick() => *end.borrow() != Some(EncoderEnd::Freeze),
        };
        if !due {
            continue;
        }
        let milliseconds = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let now = record.now();
        let timestamp = settings
            .first_timestamp
            .wrapping_add(milliseconds(now - since));
        for _ in 0..2 {
            let frame = Identity {
                encoder,
                encoding,
                number,
                sent: milliseconds(now),
            };
            client.connection.send(&frame.message(timestamp));
            number += 1;
        }
        if setup.superseded_at.is_some_and(|at| number >= at) {
            return Err(ClientEnd::Status(BAD_NAME.to_owned()));
        }
        on_air.set(Sending {
            encoder,
            priority: settings.priority,
            since,
            last: now,
            next: number,
        });
        client.flush().await?;
    }
}

/// The status for one that another one has superseded.
const BAD_NAME: &str = "NetStream.Publish.BadName";

/// Bytes that the connection holds: a few seconds of media.
const CAPACITY: usize = 32 << 10;

const RETRY: Duration = Duration::from_millis(500);
