//! A viewer: it watches one stream on one media node, connects again when it has none, and lets the judge see what it receives.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use media_wire::Message;
use media_wire::flv::{FlvItem, TagReader};
use media_wire::rtmp::{ClientConnection, ClientEvent};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::client::{ClientEnd, HttpClient, NodeAddresses, Record, RtmpClient};
use super::judge::ViewerJudge;
use super::media::Identity;
use super::planted::Tamper;
use super::schedule::Protocol;
use crate::host::simulated::network::Network;

/// What a viewer watches, and how.
#[derive(Clone)]
pub(super) struct ViewerSetup {
    pub(super) network: Network,
    pub(super) record: Record,
    pub(super) id: usize,
    pub(super) stream: String,
    pub(super) protocol: Protocol,
    pub(super) nodes: NodeAddresses,
    /// The media node that it watches on.
    pub(super) node: usize,
    /// Time that it takes between two reads.
    pub(super) pause: Duration,
    /// Bytes that its connection holds.
    pub(super) capacity: usize,
    /// Whether an encoder may be on air again after another one.
    pub(super) allows_return: bool,
    /// A fault that is planted into what it receives.
    pub(super) tamper: Option<Tamper>,
}

/// What a viewer has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// The last frame, and when it came.
    pub(super) last: Option<(Identity, Duration)>,
    /// Messages that did not come, on all connections.
    pub(super) lost: u32,
    pub(super) received: u32,
    /// Times that a connection ended without an end of the stream.
    pub(super) disconnects: u32,
}

/// A running viewer. It leaves when this is dropped.
pub(super) struct Viewer {
    pub(super) setup: ViewerSetup,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Viewer {
    pub(super) fn start(setup: ViewerSetup) -> Self {
        let seen = Arc::default();
        let watching = Watching {
            setup: setup.clone(),
            seen: Arc::clone(&seen),
        };
        Self {
            setup,
            seen,
            task: tokio::spawn(watching.run()),
        }
    }

    pub(super) fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watching {
    setup: ViewerSetup,
    seen: Arc<Mutex<Seen>>,
}

impl Watching {
    async fn run(self) {
        let ViewerSetup {
            record, id, stream, ..
        } = &self.setup;
        let mut before = None;
        loop {
            let mut judge = ViewerJudge::new(self.setup.allows_return);
            let end = match self.setup.protocol {
                Protocol::Rtmp => self.watch_rtmp(&mut judge).await,
                Protocol::Flv => self.watch_flv(&mut judge).await,
            };
            let Err(end) = end;
            let ViewerJudge { received, lost, .. } = judge;
            // Attempts that fail in the same way are noted once.
            if received > 0 || before.as_ref() != Some(&end) {
                record.note(format_args!(
                    "viewer {id} of {stream}: {end:?} after {received} messages, {lost} lost, last {:?}",
                    judge.last()
                ));
            }
            if let ClientEnd::Protocol(error) = &end {
                record.violation(format_args!("viewer {id} of {stream}: {error}"));
            }
            if let ClientEnd::Lost(_) = end {
                self.change(|seen| seen.disconnects += 1);
            }
            before = Some(end);
            sleep(RETRY).await;
        }
    }

    async fn watch_rtmp(
        &self,
        judge: &mut ViewerJudge,
    ) -> Result<std::convert::Infallible, ClientEnd> {
        let ViewerSetup {
            network,
            stream,
            capacity,
            pause,
            ..
        } = &self.setup;
        let play = ClientConnection::play;
        let to = self.setup.nodes.rtmp(self.setup.node);
        let mut client = RtmpClient::open(network, to, stream, play, *capacity).await?;
        let mut tamper = self.setup.tamper;
        loop {
            match client.event().await? {
                ClientEvent::Media(message) => self.receive(judge, message, &mut tamper)?,
                ClientEvent::Status(status) if status.is_error() => {
                    return Err(ClientEnd::Status(status.code));
                }
                ClientEvent::Ended => return Err(ClientEnd::Ended),
                ClientEvent::Status(_) | ClientEvent::Ready => {}
            }
            if !pause.is_zero() {
                sleep(*pause).await;
            }
        }
    }

    async fn watch_flv(
        &self,
        judge: &mut ViewerJudge,
    ) -> Result<std::convert::Infallible, ClientEnd> {
        let ViewerSetup {
            network,
            stream,
            capacity,
            pause,
            ..
        } = &self.setup;
        let path = format!("/{stream}.flv");
        let to = self.setup.nodes.http(self.setup.node);
        let mut client = HttpClient::open(network, to, &path, *capacity).await?;
        let mut reader = TagReader::new(MAX_TAG);
        let mut body = BytesMut::new();
        let mut tamper = self.setup.tamper;
        loop {
            let read = client.body(&mut body).await;
            if read == Err(ClientEnd::Ended) && !body.is_empty() {
                return Err(ClientEnd::Protocol("the stream ends in a tag".to_owned()));
            }
            read?;
            while let Some(item) = reader
                .receive(&mut body)
                .map_err(|error| ClientEnd::Protocol(error.to_string()))?
            {
                if let FlvItem::Tag(message) = item {
                    self.receive(judge, message, &mut tamper)?;
                    if !pause.is_zero() {
                        sleep(*pause).await;
                    }
                }
            }
        }
    }

    fn receive(
        &self,
        judge: &mut ViewerJudge,
        message: Message,
        tamper: &mut Option<Tamper>,
    ) -> Result<(), ClientEnd> {
        let messages = match tamper {
            Some(tamper) => tamper.apply(message),
            None => vec![message],
        };
        for message in messages {
            let (last, lost) = (judge.last(), judge.lost);
            if let Err(violation) = judge.receive(&message) {
                let content = super::media::content(&message);
                let at = message.timestamp;
                return Err(ClientEnd::Protocol(format!(
                    "{violation}: {content:?} at {at} ms, after {last:?}"
                )));
            }
            let now = self.setup.record.now();
            let newly_lost = judge.lost - lost;
            if newly_lost > 0 {
                let ViewerSetup { id, record, .. } = &self.setup;
                record.note(format_args!("viewer {id} lost {newly_lost} messages"));
            }
            self.change(|seen| {
                seen.lost += newly_lost;
                if judge.last() != last {
                    seen.received += 1;
                    seen.last = judge.last().map(|last| (last, now));
                }
            });
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Larger than any message of an encoder.
const MAX_TAG: usize = 1 << 20;

const RETRY: Duration = Duration::from_millis(500);
