//! An encoder: it publishes one stream, connects again when its connection is lost, and gives up when another one takes over.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use media_wire::Message;
use media_wire::rtmp::{ClientConnection, ClientEvent};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::attempts::Precedence;
use super::client::{ClientEnd, NodeAddresses, Publications, Record, RtmpClient};
use super::media::{GOP, Identity, RATE, headers};
use super::on_air::{OnAir, Sending};
use super::schedule::{EncoderEnd, EncoderSettings};
use super::socket::{RTMP, Route, wide};
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
    /// It changes its encoding every few groups of pictures.
    pub(super) changes_encoding: bool,
    pub(super) nodes: NodeAddresses,
    pub(super) publications: Publications,
    /// The media node that it tries first, then the next ones.
    pub(super) node: usize,
    /// Whether nothing that fails may end its connection.
    pub(super) is_protected: bool,
    /// Which encoders may supersede it.
    pub(super) precedence: Precedence,
    /// Whether it has to be rejected while another one is on air.
    pub(super) is_rejected: bool,
    /// The number of the message after which it gets the status that another one has taken over, if that is planted.
    pub(super) superseded_at: Option<u32>,
}

/// A running encoder.
pub(super) struct SimulatedEncoder {
    pub(super) stream: String,
    end: watch::Sender<Option<EncoderEnd>>,
    task: JoinHandle<()>,
}

impl SimulatedEncoder {
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

impl Drop for SimulatedEncoder {
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
    fn new(setup: &'a EncoderSetup, encoder: u32, node: IpAddr) -> Self {
        let now = setup.record.now();
        let epoch = setup.publications.epoch(node, &setup.stream);
        setup.on_air.attempts(|it| it.accepted(encoder, epoch, now));
        Self { setup, encoder }
    }
}

impl Drop for Accepted<'_> {
    fn drop(&mut self) {
        let now = self.setup.record.now();
        self.setup.on_air.close(self.encoder, now);
    }
}

/// Publishes until the encoder is to end, over one connection after another.
async fn publish(setup: EncoderSetup, mut end: watch::Receiver<Option<EncoderEnd>>) {
    let EncoderSetup { record, stream, .. } = &setup;
    let mut encoding = setup.encoding;
    for attempt in 0.. {
        let to = setup.nodes.port(setup.node + attempt, RTMP);
        let encoder = setup.on_air.next_encoder();
        let published = publish_to(to, &setup, encoder, encoding, &mut end).await;
        let Some((result, is_accepted)) = published else {
            return;
        };
        let Err(why) = result else {
            record.note(format_args!("encoder {encoder} has ended {stream}"));
            return;
        };
        record.note(format_args!(
            "encoder {encoder} of {stream} at {to}: {why:?}"
        ));
        // Another one is on air, or has taken over.
        let is_superseded = why == ClientEnd::Status(BAD_NAME.to_owned());
        let hangs = *end.borrow() == Some(EncoderEnd::Freeze);
        if is_accepted && !(hangs && matches!(why, ClientEnd::Lost(_))) {
            judge_end(&setup, encoder, &why, is_superseded);
        }
        // One that hangs does not connect again.
        if is_superseded || hangs {
            return;
        }
        if !setup.settings.is_same_encoding {
            encoding += 1;
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            () = stopped(&mut end) => return,
        }
    }
}

/// Publishes over one connection. Returns how it ended, and whether the media node had accepted the encoder; `None` when the
/// encoder is to end before.
async fn publish_to(
    to: SocketAddr,
    setup: &EncoderSetup,
    encoder: u32,
    encoding: u32,
    end: &mut watch::Receiver<Option<EncoderEnd>>,
) -> Option<(Result<(), ClientEnd>, bool)> {
    let EncoderSetup {
        record,
        on_air,
        stream,
        settings,
        ..
    } = setup;
    let route = Route {
        network: setup.network.clone(),
        to,
        room: wide(CAPACITY),
    };
    let name = format!("{stream}?priority={}", settings.priority);
    on_air.attempts(|it| it.begin(encoder, record.now()));
    let opened = tokio::select! {
        opened = RtmpClient::open(&route, &name, ClientConnection::publish) => opened,
        () = stopped(end) => return None,
    };
    match opened {
        Ok(client) => {
            record.note(format_args!("encoder {encoder} publishes {stream} at {to}"));
            let other = on_air.rejects(record.now());
            if let Some(other) = other.filter(|_| setup.is_rejected) {
                record.violation(format_args!(
                    "encoder {encoder} of {stream} is accepted although {other:?} is on air"
                ));
            }
            let _accepted = Accepted::new(setup, encoder, to.ip());
            Some((send(client, setup, encoder, encoding, end).await, true))
        }
        Err(error) => {
            on_air.attempts(|it| match error {
                ClientEnd::Status(_) => it.refused(encoder),
                _ => it.ended(encoder, record.now()),
            });
            Some((Err(error), false))
        }
    }
}

/// Notes a violation if an accepted encoder may not end like that.
fn judge_end(setup: &EncoderSetup, encoder: u32, why: &ClientEnd, is_superseded: bool) {
    let EncoderSetup { record, stream, .. } = setup;
    if setup.is_protected && matches!(why, ClientEnd::Lost(_)) {
        record.violation(format_args!(
            "encoder {encoder} of {stream} is disconnected"
        ));
    }
    let precedence = setup.precedence;
    let is_explained = || {
        let on_air = &setup.on_air;
        on_air.attempts(|it| it.is_superseded(encoder, precedence))
    };
    if is_superseded && !is_explained() {
        record.violation(format_args!(
            "encoder {encoder} of {stream} is superseded by none that stays"
        ));
    }
}

/// Waits until the encoder is to end. A freeze is none.
async fn stopped(end: &mut watch::Receiver<Option<EncoderEnd>>) {
    let is_end = |end: &Option<EncoderEnd>| matches!(end, Some(EncoderEnd::Finish));
    if end.wait_for(is_end).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What an encoder sends over one connection.
struct Sender<'a> {
    setup: &'a EncoderSetup,
    encoder: u32,
    encoding: u32,
    /// The number of the next frame.
    number: u32,
    /// When it began.
    since: Duration,
}

impl Sender<'_> {
    /// Returns a frame of each track, after the sequence headers if the encoding changes.
    fn due(&mut self, now: Duration) -> Vec<Message> {
        let Self { setup, .. } = self;
        let begin = setup.settings.first_timestamp;
        let timestamp = begin.wrapping_add(milliseconds(now - self.since));
        let mut messages = Vec::new();
        if setup.changes_encoding && self.number.is_multiple_of(CHANGED) && now > self.since {
            self.encoding += 1;
            messages.extend(headers(self.encoding, timestamp));
        }
        let mut frame = Identity {
            encoder: self.encoder,
            encoding: self.encoding,
            number: self.number,
            sent: milliseconds(now),
        };
        for _ in 0..frame.frames() {
            messages.push(frame.message(timestamp));
            frame.number += 1;
        }
        self.number = frame.number;
        messages
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
    let mut sender = Sender {
        setup,
        encoder,
        encoding,
        number: settings.first_number,
        since: record.now(),
    };
    let mut ticks = interval(Duration::from_millis(u64::from(1000 / RATE)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        match frames_due(&mut client, end, &mut ticks).await? {
            Some(true) => {}
            Some(false) => continue,
            None => {
                client.connection.finish();
                client.flush().await?;
                on_air.finish(encoder, record.now());
                return Ok(());
            }
        }
        let now = record.now();
        for message in sender.due(now) {
            client.connection.send(&message);
        }
        if setup.superseded_at.is_some_and(|at| sender.number >= at) {
            return Err(ClientEnd::Status(BAD_NAME.to_owned()));
        }
        on_air.set(Sending {
            encoder,
            priority: settings.priority,
            since: sender.since,
            last: now,
            next: sender.number,
        });
        client.flush().await?;
    }
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// Waits for the next event of an encoder. Returns whether frames are due; `None` when the encoder is to end.
async fn frames_due(
    client: &mut RtmpClient,
    end: &mut watch::Receiver<Option<EncoderEnd>>,
    ticks: &mut Interval,
) -> Result<Option<bool>, ClientEnd> {
    tokio::select! {
        biased;
        () = stopped(end) => Ok(None),
        event = client.event() => match event? {
            ClientEvent::Status(status) if status.is_error() => {
                Err(ClientEnd::Status(status.code))
            }
            _ => Ok(Some(false)),
        },
        _ = ticks.tick() => Ok(Some(*end.borrow() != Some(EncoderEnd::Freeze))),
    }
}

/// Frames from one change of the encoding to the next one: two groups of pictures with their audio.
const CHANGED: u32 = 4 * GOP;

/// The status for one that another one has superseded.
const BAD_NAME: &str = "NetStream.Publish.BadName";

/// Bytes that the connection holds: a few seconds of media.
const CAPACITY: usize = 32 << 10;

const RETRY: Duration = Duration::from_millis(500);
