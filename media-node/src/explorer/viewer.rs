//! A viewer: it watches one stream on one media node, connects again when it has none, and lets the judge see what it receives.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use media_config::DuplicatePublish;
use media_wire::Message;
use media_wire::flv::{FlvError, FlvItem, TagReader};
use media_wire::rtmp::{ClientConnection, ClientEvent};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::client::{ClientEnd, NodeAddresses, Record, RtmpClient};
use super::http::{BodyFormat, HttpClient};
use super::judge::{Allowed, ViewerJudge};
use super::media::{Identity, RATE};
use super::on_air::OnAir;
use super::planted::{DELAYED, Tamper};
use super::schedule::{Protocol, ViewerSettings};
use super::socket::{HTTP, HTTPS, RTMP, RTMPS, Route};
use crate::host::simulated::network::Network;

/// How old a publication is at most, in seconds, that moves to another origin from its first message on.
pub(super) const FROM_START: u32 = 5;

/// The messages with which a viewer may begin then.
const FIRST_MESSAGES: u32 = FROM_START * 2 * RATE;

/// What a viewer watches, and how.
#[derive(Clone)]
pub(super) struct ViewerSetup {
    pub(super) network: Network,
    pub(super) record: Record,
    pub(super) on_air: OnAir,
    pub(super) id: usize,
    pub(super) stream: String,
    pub(super) settings: ViewerSettings,
    pub(super) nodes: NodeAddresses,
    /// The media node that it watches on.
    pub(super) node: usize,
    /// What it may see.
    pub(super) allowed: Allowed,
    /// How old a message may be when it comes.
    pub(super) max_age: Duration,
    /// How old those may be with which it begins.
    pub(super) max_first_age: Duration,
    /// Whether the encoder with the latest epoch is on air, and another one only where that one cannot be reached.
    pub(super) is_latest_on_air: bool,
    /// The policy that decides at all times which encoder it sees, if one does.
    pub(super) policy: Option<DuplicatePublish>,
    /// How long it waits at least for an encoder, before its stream ends.
    pub(super) min_wait: Duration,
    /// When it must not rest any more.
    pub(super) rests_until: Duration,
    /// A fault that is planted into what it receives.
    pub(super) tamper: Option<Tamper>,
}

/// What a viewer has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ViewerProgress {
    /// The last frame, and when it came.
    pub(super) last: Option<(Identity, Duration)>,
    /// Messages that did not come, on all connections.
    pub(super) lost: u32,
    pub(super) received: u32,
    /// Times that a connection ended without an end of the stream.
    pub(super) disconnects: u32,
    has_rested: bool,
}

/// A running viewer. It leaves when this is dropped.
pub(super) struct SimulatedViewer {
    pub(super) setup: ViewerSetup,
    seen: Arc<Mutex<ViewerProgress>>,
    task: JoinHandle<()>,
}

impl SimulatedViewer {
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

    pub(super) fn seen(&self) -> ViewerProgress {
        *self.seen.lock()
    }
}

impl Drop for SimulatedViewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watching {
    setup: ViewerSetup,
    seen: Arc<Mutex<ViewerProgress>>,
}

impl Watching {
    async fn run(self) {
        let ViewerSetup {
            record, id, stream, ..
        } = &self.setup;
        let mut before = None;
        loop {
            let mut judge = ViewerJudge::new(self.setup.allowed);
            let Err(end) = self.watch(&mut judge).await;
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
            let waited = record.now().saturating_sub(self.last_on_air(&judge));
            if end == ClientEnd::Ended && received > 0 && waited < self.setup.min_wait {
                record.violation(format_args!(
                    "viewer {id} of {stream}: the stream ends after {waited:?} without an encoder"
                ));
            }
            before = Some(end);
            sleep(RETRY).await;
        }
    }

    /// Returns when something was on air last. Of encoders that stand by for each other that is what the viewer has seen: others may have
    /// sent more, and never been on air.
    fn last_on_air(&self, judge: &ViewerJudge) -> Duration {
        let last = self.setup.on_air.last();
        let seen = judge.last().filter(|_| self.setup.allowed.returns);
        seen.map_or(last, |seen| {
            last.min(Duration::from_millis(seen.sent.into()))
        })
    }

    async fn watch(&self, judge: &mut ViewerJudge) -> Result<Infallible, ClientEnd> {
        let mut player = Player::open(&self.setup).await?;
        let mut tamper = self.setup.tamper;
        let ViewerSettings { pause, rest, .. } = self.setup.settings;
        loop {
            let message = player.message().await?;
            if tamper.is_some_and(Tamper::is_delayed) {
                sleep(DELAYED).await;
            }
            let messages = match &mut tamper {
                Some(tamper) => tamper.apply(message),
                None => vec![message],
            };
            for message in messages {
                self.receive(judge, &message)?;
            }
            if !pause.is_zero() {
                sleep(pause).await;
            }
            if self.begins_to_rest() {
                let left = self
                    .setup
                    .rests_until
                    .saturating_sub(self.setup.record.now());
                sleep(rest.min(left)).await;
            }
        }
    }

    fn receive(&self, judge: &mut ViewerJudge, message: &Message) -> Result<(), ClientEnd> {
        let ViewerSetup { id, record, .. } = &self.setup;
        let (last, lost) = (judge.last(), judge.lost);
        let end_of_former = last.and_then(|last| self.setup.on_air.finished(last.encoder));
        let lost_end = end_of_former.map_or(0, |(end, _)| judge.missing(end));
        if let Err(violation) = judge.receive(message) {
            let content = super::media::content(message);
            let (kind, at, length) = (message.kind, message.timestamp, message.payload.len());
            return Err(ClientEnd::Protocol(format!(
                "{violation}: {content:?}, {kind:?} of {length} bytes at {at} ms, after {last:?}"
            )));
        }
        let Some(frame) = judge.last().filter(|_| judge.last() != last) else {
            return Ok(());
        };
        let now = record.now();
        let age = now.saturating_sub(Duration::from_millis(frame.sent.into()));
        let max_age = if judge.received <= FIRST_MESSAGES {
            self.setup.max_first_age
        } else {
            self.setup.max_age
        };
        if age > max_age {
            let reason = format!("{frame:?} is {age:?} old, after {last:?}");
            return Err(ClientEnd::Protocol(reason));
        }
        if let Some(reason) = self.wrong_encoder(last, frame, now) {
            return Err(ClientEnd::Protocol(reason));
        }
        // An encoder may have been on air meanwhile, and have left before the viewer got anything of it.
        let is_excused = self.setup.allowed.returns && self.setup.on_air.has_just_left(now);
        let missing = if is_excused { 0 } else { judge.lost - lost };
        // Unless its end came when the next one had taken its place.
        let is_end_due = last.is_some_and(|last| last.encoder != frame.encoder)
            && end_of_former.is_some_and(|(_, at)| at <= Duration::from_millis(frame.sent.into()));
        let newly_lost = missing + if is_end_due { lost_end } else { 0 };
        if newly_lost > 0 {
            record.note(format_args!(
                "viewer {id} lost {newly_lost} messages before {frame:?}"
            ));
        }
        self.change(|seen| {
            seen.lost += newly_lost;
            seen.received += 1;
            seen.last = Some((frame, now));
        });
        Ok(())
    }

    /// Returns why another encoder has to be on air.
    fn wrong_encoder(
        &self,
        last: Option<Identity>,
        frame: Identity,
        now: Duration,
    ) -> Option<String> {
        let ViewerSetup { policy, on_air, .. } = &self.setup;
        let former = last.filter(|last| last.encoder != frame.encoder);
        if let Some(former) = former.filter(|former| self.is_outdated(*former, frame)) {
            return Some(format!(
                "{frame:?} is on air after {former:?}, which is later"
            ));
        }
        let policy = (*policy)?;
        if let Some(other) = on_air.instead_of(frame.encoder, policy, now) {
            return Some(format!("{frame:?} is on air instead of {other:?}"));
        }
        let former = former?;
        let is_deposed = policy == DuplicatePublish::Standby
            && on_air.is_deposed(former.encoder, frame.encoder, now);
        is_deposed.then(|| format!("{frame:?} is on air after {former:?}, which is as good"))
    }

    /// Returns whether an encoder is on air after a later one that is connected, and was not away for so long that the media node may have
    /// given it up. What of it came to the other one's place meanwhile is not lost: two of them are on air at origins that do not
    /// know of each other, and viewers get the one that they can reach.
    fn is_outdated(&self, former: Identity, frame: Identity) -> bool {
        let has_latest = self.setup.is_latest_on_air && frame.sent < former.sent + GIVEN_UP;
        let by = frame.encoder;
        has_latest
            && self
                .setup
                .on_air
                .attempts(|it| it.stays_before(former.encoder, by))
    }

    /// Returns whether it is time to take nothing for a while, once on all connections.
    fn begins_to_rest(&self) -> bool {
        let mut seen = self.seen.lock();
        let rests = !self.setup.settings.rest.is_zero() && seen.received >= RESTS_AFTER;
        rests && !std::mem::replace(&mut seen.has_rested, true)
    }

    fn change(&self, change: impl FnOnce(&mut ViewerProgress)) {
        change(&mut self.seen.lock());
    }
}

/// A connection that plays a stream.
enum Player {
    Rtmp(Box<RtmpClient>),
    Flv {
        client: HttpClient,
        reader: TagReader,
        body: BytesMut,
    },
}

impl Player {
    async fn open(setup: &ViewerSetup) -> Result<Self, ClientEnd> {
        let ViewerSettings {
            protocol, is_tls, ..
        } = setup.settings;
        let format = match protocol {
            Protocol::Rtmp => None,
            Protocol::Flv => Some(BodyFormat::Chunked),
            Protocol::WebSocket => Some(BodyFormat::WebSocket),
        };
        let port = match (format, is_tls) {
            (None, false) => RTMP,
            (None, true) => RTMPS,
            (Some(_), false) => HTTP,
            (Some(_), true) => HTTPS,
        };
        let route = Route {
            network: setup.network.clone(),
            to: setup.nodes.port(setup.node, port),
            room: setup.settings.room,
        };
        let Some(format) = format else {
            let client = RtmpClient::open(&route, &setup.stream, ClientConnection::play).await?;
            return Ok(Self::Rtmp(Box::new(client)));
        };
        let path = format!("/{}.flv", setup.stream);
        Ok(Self::Flv {
            client: HttpClient::open(&route, &path, format).await?,
            reader: TagReader::new(MAX_TAG),
            body: BytesMut::new(),
        })
    }

    /// Returns the next message.
    async fn message(&mut self) -> Result<Message, ClientEnd> {
        match self {
            Self::Rtmp(client) => loop {
                match client.event().await? {
                    ClientEvent::Media(message) => return Ok(message),
                    ClientEvent::Status(status) if status.is_error() => {
                        return Err(ClientEnd::Status(status.code));
                    }
                    ClientEvent::Ended => return Err(ClientEnd::Ended),
                    ClientEvent::Status(_) | ClientEvent::Ready => {}
                }
            },
            Self::Flv {
                client,
                reader,
                body,
            } => loop {
                let protocol = |error: FlvError| ClientEnd::Protocol(error.to_string());
                match reader.receive(body).map_err(protocol)? {
                    Some(FlvItem::Tag(message)) => return Ok(message),
                    Some(FlvItem::Header(_)) => {}
                    None => client.body(body).await.map_err(|end| match end {
                        ClientEnd::Ended if !body.is_empty() => {
                            ClientEnd::Protocol("the stream ends in a tag".to_owned())
                        }
                        end => end,
                    })?,
                }
            },
        }
    }
}

/// Milliseconds from the last message of a publication that its media node has lost until that takes an earlier one: the time in which it
/// may move, besides a group of pictures, as viewers begin at a keyframe.
const GIVEN_UP: u32 = 2000;

/// Messages before a viewer takes nothing for a while.
const RESTS_AFTER: u32 = 20;

/// Larger than any message of an encoder.
const MAX_TAG: usize = 1 << 20;

const RETRY: Duration = Duration::from_millis(500);
