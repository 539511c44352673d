//! Heartbeats: an edge asks each origin that it forwards to whether it still replies, once for all of the streams.
//!
//! An origin that hangs accepts bytes for a long time until its socket buffer is full, but it does not respond. Five requests
//! a second find it in time. Each one is about another of the streams, in turn: the response shows that the origin works, and
//! also whether it still has that stream.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use media_wire::StreamKey;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

use super::super::client::{ClientError, NodeConnection};
use super::super::context::RelayContext;
use super::super::protocol::Parameters;
use super::super::response_limit::within;
use super::super::survey::{OriginStatus, status_over};

/// The error of an origin that is this media node itself.
pub(super) const THIS_NODE: &str = "the address is one of this media node";

/// The heartbeats of all origins that something is forwarded to. Clones share them.
#[derive(Clone)]
pub(super) struct Heartbeats {
    context: Arc<RelayContext>,
    origins: Arc<Mutex<HashMap<SocketAddr, Followers>>>,
}

/// The streams that are forwarded to one origin.
#[derive(Default)]
struct Followers {
    streams: Vec<Follower>,
    /// The stream that is asked for next.
    next: usize,
}

struct Follower {
    key: StreamKey,
    heartbeat: watch::Sender<Heartbeat>,
}

/// The latest report about an origin.
#[derive(Clone, Debug, Default)]
pub(super) enum Heartbeat {
    /// There was no request yet.
    #[default]
    Unknown,
    /// It replied.
    Beats {
        /// The origin drains.
        draining: bool,
        /// The status of this stream, when it was its turn.
        status: Option<OriginStatus>,
    },
    /// It has not replied in time. The reason is for the log.
    Stopped(String),
}

impl Heartbeat {
    fn draining(&self) -> Option<bool> {
        match self {
            Self::Beats { draining, .. } => Some(*draining),
            Self::Unknown | Self::Stopped(_) => None,
        }
    }
}

impl Heartbeats {
    pub(super) fn new(context: Arc<RelayContext>) -> Self {
        Self {
            context,
            origins: Arc::default(),
        }
    }

    /// Returns the reports about an origin from now on, for a stream that it has. They end when the receiver is dropped.
    pub(super) fn follow(&self, origin: SocketAddr, key: &StreamKey) -> watch::Receiver<Heartbeat> {
        let (heartbeat, reports) = watch::channel(Heartbeat::Unknown);
        let follower = Follower {
            key: key.clone(),
            heartbeat,
        };
        let is_first = match self.origins.lock().entry(origin) {
            Entry::Occupied(mut followers) => {
                followers.get_mut().streams.push(follower);
                false
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Followers::default()).streams.push(follower);
                true
            }
        };
        if is_first {
            let heartbeats = self.clone();
            self.context
                .spawn(move |_| async move { heartbeats.ask(origin).await });
        }
        reports
    }

    /// Returns the stream whose turn it is. Forgets the origin when nothing is forwarded to it any more.
    fn next_stream(&self, origin: SocketAddr) -> Option<StreamKey> {
        let mut origins = self.origins.lock();
        let followers = origins.get_mut(&origin)?;
        followers.streams.retain(|it| !it.heartbeat.is_closed());
        followers.next = (followers.next + 1)
            .checked_rem(followers.streams.len())
            .unwrap_or_default();
        let next = followers.streams.get(followers.next);
        let next = next.map(|follower| follower.key.clone());
        if next.is_none() {
            origins.remove(&origin);
        }
        next
    }

    /// Reports its status to the stream of the request, and to all others whether the origin drains. An unchanged value wakes none.
    fn report(&self, origin: SocketAddr, asked: &StreamKey, status: &OriginStatus) {
        let draining = status.publication.draining;
        if let Some(followers) = self.origins.lock().get(&origin) {
            for follower in &followers.streams {
                let status = (follower.key == *asked).then(|| status.clone());
                follower.heartbeat.send_if_modified(|last| {
                    let is_new = status.is_some() || last.draining() != Some(draining);
                    if is_new {
                        *last = Heartbeat::Beats { draining, status };
                    }
                    is_new
                });
            }
        }
    }

    /// Asks an origin until it does not reply, or nothing is forwarded to it any more.
    async fn ask(&self, origin: SocketAddr) {
        let poll = self.context.timeouts().forward.poll;
        let mut requests = StatusRequests::new(&self.context, origin, None);
        // Counted in requests: this media node may be the one that is late.
        let mut silence = Duration::ZERO;
        loop {
            sleep(poll).await;
            let Some(key) = self.next_stream(origin) else {
                return;
            };
            silence += poll;
            let limit = || self.context.hung_limit(origin);
            let rest = || limit().saturating_sub(silence);
            match within(rest, requests.status(&key)).await {
                Some(Ok(status)) => {
                    silence = Duration::ZERO;
                    self.report(origin, &key, &status);
                }
                Some(Err(error)) if silence >= limit() => {
                    return self.stop(origin, &error.to_string());
                }
                Some(Err(_)) => {}
                None => return self.stop(origin, &format!("no response for {:?}", limit())),
            }
        }
    }

    /// Reports to all streams that the origin does not reply, and forgets it: when it replies later, it is new.
    fn stop(&self, origin: SocketAddr, reason: &str) {
        let followers = self.origins.lock().remove(&origin).unwrap_or_default();
        for follower in followers.streams {
            let stopped = Heartbeat::Stopped(reason.to_owned());
            follower.heartbeat.send_replace(stopped);
        }
    }
}

/// Requests the statuses of streams at one origin, over a connection that is kept.
pub(super) struct StatusRequests {
    context: Arc<RelayContext>,
    origin: SocketAddr,
    connection: Option<NodeConnection>,
}

impl StatusRequests {
    pub(super) fn new(
        context: &Arc<RelayContext>,
        origin: SocketAddr,
        connection: Option<NodeConnection>,
    ) -> Self {
        Self {
            context: Arc::clone(context),
            origin,
            connection,
        }
    }

    /// Requests the status of a stream.
    pub(super) async fn status(&mut self, key: &StreamKey) -> Result<OriginStatus, ClientError> {
        let context = &self.context;
        // A connection is not used again after an error.
        let mut open = match self.connection.take() {
            Some(open) => open,
            None => context.connect(self.origin).await?,
        };
        let parameters = Parameters::of(key);
        let status = status_over(context, &mut open, self.origin, &parameters).await?;
        self.connection = Some(open);
        status.ok_or_else(|| ClientError::Response(THIS_NODE.to_owned()))
    }
}
