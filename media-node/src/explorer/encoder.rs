//! An encoder: it publishes one stream, connects again when its connection is lost, and gives up when another one takes over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use media_wire::rtmp::{ClientConnection, ClientEvent};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::client::{ClientEnd, NodeAddresses, Record, RtmpClient};
use super::media::{Identity, RATE, headers};
use super::schedule::EncoderEnd;
use crate::host::simulated::network::Network;

/// What the encoders of one stream have in common.
#[derive(Clone, Default)]
pub(super) struct OnAir {
    next: Arc<AtomicU32>,
    /// The encoders whose connections are open, with the number of their next message.
    accepted: Arc<Mutex<BTreeMap<u32, u32>>>,
}

impl OnAir {
    /// Returns the encoders whose connections are open, with the number of their next message.
    pub(super) fn accepted(&self) -> Vec<(u32, u32)> {
        let accepted = self.accepted.lock();
        let accepted = accepted.unwrap_or_else(PoisonError::into_inner);
        accepted.iter().map(|(id, next)| (*id, *next)).collect()
    }

    fn set(&self, id: u32, next: Option<u32>) {
        let accepted = self.accepted.lock();
        let mut accepted = accepted.unwrap_or_else(PoisonError::into_inner);
        match next {
            Some(next) => accepted.insert(id, next),
            None => accepted.remove(&id),
        };
    }
}

/// Where and how an encoder publishes.
#[derive(Clone)]
pub(super) struct EncoderSetup {
    pub(super) network: Network,
    pub(super) record: Record,
    pub(super) on_air: OnAir,
    pub(super) stream: String,
    /// The encoding. The one of the next connection is one higher, unless the encoder always encodes in the same way.
    pub(super) encoding: u32,
    pub(super) is_same_encoding: bool,
    pub(super) nodes: NodeAddresses,
    /// The media node that it tries first, then the next ones.
    pub(super) node: usize,
}

/// A running encoder.
pub(super) struct Encoder {
    end: watch::Sender<Option<EncoderEnd>>,
    task: JoinHandle<()>,
}

impl Encoder {
    pub(super) fn start(setup: EncoderSetup) -> Self {
        let end = watch::Sender::new(None);
        let task = tokio::spawn(publish(setup, end.subscribe()));
        Self { end, task }
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
struct Accepted<'a>(&'a OnAir, u32);

impl Drop for Accepted<'_> {
    fn drop(&mut self) {
        self.0.set(self.1, None);
    }
}

async fn publish(setup: EncoderSetup, mut end: watch::Receiver<Option<EncoderEnd>>) {
    let EncoderSetup {
        record,
        on_air,
        stream,
        ..
    } = &setup;
    let mut encoding = setup.encoding;
    for attempt in 0.. {
        let to = setup.nodes.rtmp(setup.node + attempt);
        let id = on_air.next.fetch_add(1, Ordering::Relaxed) + 1;
        let open = RtmpClient::open(
            &setup.network,
            to,
            stream,
            ClientConnection::publish,
            CAPACITY,
        );
        let opened = tokio::select! {
            opened = open => opened,
            () = stopped(&mut end) => return,
        };
        let result = match opened {
            Ok(client) => {
                record.note(format_args!("encoder {id} publishes {stream} at {to}"));
                let _accepted = Accepted(on_air, id);
                send(client, id, encoding, on_air, &mut end).await
            }
            Err(error) => Err(error),
        };
        let Err(why) = result else {
            record.note(format_args!("encoder {id} has ended {stream}"));
            return;
        };
        record.note(format_args!("encoder {id} of {stream} at {to}: {why:?}"));
        // It was superseded, or another one is on air. One that hangs does not connect again.
        let is_frozen = *end.borrow() == Some(EncoderEnd::Freeze);
        if is_frozen || why == ClientEnd::Status("NetStream.Publish.BadName".to_owned()) {
            return;
        }
        if !setup.is_same_encoding {
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
    id: u32,
    encoding: u32,
    on_air: &OnAir,
    end: &mut watch::Receiver<Option<EncoderEnd>>,
) -> Result<(), ClientEnd> {
    for header in headers(encoding) {
        client.connection.send(&header);
    }
    let start = Instant::now();
    let mut ticks = interval(Duration::from_millis(u64::from(1000 / RATE)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut number = 0;
    loop {
        let due = tokio::select! {
            biased;
            () = stopped(end) => {
                client.connection.finish();
                return client.flush().await;
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
        let timestamp = u32::try_from(start.elapsed().as_millis()).unwrap_or(u32::MAX);
        for _ in 0..2 {
            let frame = Identity {
                encoder: id,
                encoding,
                number,
            };
            client.connection.send(&frame.message(timestamp));
            number += 1;
        }
        on_air.set(id, Some(number));
        client.flush().await?;
    }
}

/// Bytes that the connection holds: a few seconds of media.
const CAPACITY: usize = 32 << 10;

const RETRY: Duration = Duration::from_millis(500);
