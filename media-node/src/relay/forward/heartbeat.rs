//! Heartbeats: an edge asks each origin that it forwards to whether it still replies, once for all of the streams.
//!
//! An origin that hangs accepts bytes for a long time until its socket buffer is full, but it does not respond. Five requests
//! a second find it in time. Each one is about many of the streams, in turn: the response shows that the origin works, and also whether it
//! still has those streams and gets what is forwarded, as each of them has a connection of its own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use media_wire::StreamKey;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

use super::super::client::{ClientError, NodeConnection, Segments};
use super::super::context::RelayContext;
use super::super::protocol::{MAX_STATUSES, Parameters};
use super::super::response_limit::within;
use super::super::survey::{OriginStatus, status_over};

/// The error of an origin that is this media node itself.
pub(super) const THIS_NODE: &str = "the address is one of this media node";

/// Bytes of the names in one request: with escapes three times as many fit into the header section that an origin reads, with a token.
const MAX_NAMES: usize = 6 << 10;

/// The heartbeats of all origins that something is forwarded to. Clones share them.
#[derive(Clone)]
pub(super) struct Heartbeats {
    context: Arc<RelayContext>,
    origins: Arc<Mutex<HashMap<SocketAddr, Followers>>>,
}

/// The streams that are forwarded to one origin, in the order of their turns.
#[derive(Default)]
struct Followers(Vec<Follower>);

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
        status: Option<Box<OriginStatus>>,
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

impl Followers {
    /// Returns the request for the statuses of the streams whose turn it is, unless nothing is forwarded any more.
    fn request(&mut self) -> Option<Parameters> {
        self.0.retain(|follower| !follower.heartbeat.is_closed());
        let mut bytes = 0;
        let mut keys = self.0.iter().map(|follower| &follower.key);
        let first = keys.next()?;
        let fits = |key: &&StreamKey| {
            bytes += key.vhost().map_or(0, str::len) + key.app().len() + key.name().len();
            bytes <= MAX_NAMES
        };
        let also = keys.take(MAX_STATUSES - 1).take_while(fits);
        Some(Parameters {
            also: also.cloned().collect(),
            ..Parameters::of(first)
        })
    }

    /// Reports their statuses to the streams of the request, whose next turn is the last one, and to all others whether the origin drains.
    /// An unchanged value wakes none.
    fn report(&mut self, statuses: Vec<OriginStatus>) {
        let draining = statuses.iter().any(|status| status.publication.draining);
        let asked = statuses.len().min(self.0.len());
        let mut statuses = statuses.into_iter();
        for follower in &self.0 {
            let status = statuses.next().map(Box::new);
            follower.heartbeat.send_if_modified(|last| {
                let is_new = status.is_some() || last.draining() != Some(draining);
                if is_new {
                    *last = Heartbeat::Beats { draining, status };
                }
                is_new
            });
        }
        self.0.rotate_left(asked);
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
                followers.get_mut().0.push(follower);
                false
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Followers::default()).0.push(follower);
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

    /// Returns the request for the streams whose turn it is. Forgets the origin when nothing is forwarded to it any more.
    fn request(&self, origin: SocketAddr) -> Option<Parameters> {
        let mut origins = self.origins.lock();
        let request = origins.get_mut(&origin)?.request();
        if request.is_none() {
            origins.remove(&origin);
        }
        request
    }

    /// Asks an origin until it does not reply, or nothing is forwarded to it any more.
    async fn ask(&self, origin: SocketAddr) {
        let poll = self.context.timeouts().forward.poll;
        // A response about many streams is a large packet.
        let mut requests = StatusRequests::new(&self.context, origin, Segments::Small, None);
        // Counted in requests: this media node may be the one that is late.
        let mut silence = Duration::ZERO;
        loop {
            sleep(poll).await;
            let Some(request) = self.request(origin) else {
                return;
            };
            silence += poll;
            let limit = || self.context.hung_limit(origin);
            let rest = || limit().saturating_sub(silence);
            match within(rest, requests.status(&request)).await {
                Some(Ok(status)) => {
                    silence = Duration::ZERO;
                    if let Some(followers) = self.origins.lock().get_mut(&origin) {
                        followers.report(status.of_all());
                    }
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
        for follower in followers.0 {
            let stopped = Heartbeat::Stopped(reason.to_owned());
            follower.heartbeat.send_replace(stopped);
        }
    }
}

/// Requests the statuses of streams at one origin, over a connection that is kept.
pub(super) struct StatusRequests {
    context: Arc<RelayContext>,
    origin: SocketAddr,
    segments: Segments,
    connection: Option<NodeConnection>,
}

impl StatusRequests {
    pub(super) fn new(
        context: &Arc<RelayContext>,
        origin: SocketAddr,
        segments: Segments,
        connection: Option<NodeConnection>,
    ) -> Self {
        Self {
            context: Arc::clone(context),
            origin,
            segments,
            connection,
        }
    }

    /// Requests the status of a stream, or of several.
    pub(super) async fn status(
        &mut self,
        parameters: &Parameters,
    ) -> Result<OriginStatus, ClientError> {
        let context = &self.context;
        // A connection is not used again after an error.
        let mut open = match self.connection.take() {
            Some(open) => open,
            None => context.connect_with(self.origin, self.segments).await?,
        };
        let status = status_over(context, &mut open, self.origin, parameters).await?;
        self.connection = Some(open);
        status.ok_or_else(|| ClientError::Response(THIS_NODE.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::iter::once;

    use super::super::super::protocol::PUBLICATION;
    use super::super::super::survey::status_for_test;
    use super::*;

    /// Returns the streams with these names, and the reports about them.
    fn followers(
        names: impl IntoIterator<Item = String>,
    ) -> (Followers, Vec<watch::Receiver<Heartbeat>>) {
        let follow = |name: String| {
            let (heartbeat, reports) = watch::channel(Heartbeat::Unknown);
            let key = StreamKey::new(None, "live", &name).unwrap();
            (Follower { key, heartbeat }, reports)
        };
        let (followers, reports) = names.into_iter().map(follow).unzip();
        (Followers(followers), reports)
    }

    /// Lets all of 150 streams have their turn. The origin replies about at most so many at a time. Returns the number of requests.
    fn requests_about_all(at_a_time: usize) -> usize {
        let (mut followers, reports) = followers((0..150).map(|number| number.to_string()));
        let epoch = |reports: &watch::Receiver<Heartbeat>| match &*reports.borrow() {
            Heartbeat::Beats { status, .. } => status.as_ref().map(|it| it.publication.epoch),
            _ => None,
        };
        let mut requests = 0;
        while !reports.iter().map(epoch).eq((0..150).map(Some)) {
            let Parameters { key, also, .. } = followers.request().unwrap();
            let status = |key: StreamKey| status_for_test(true, key.name().parse().unwrap(), 1);
            let asked = once(key).chain(also).take(at_a_time);
            followers.report(asked.map(status).collect());
            requests += 1;
            assert!(requests <= 150);
        }
        requests
    }

    #[test]
    fn all_streams_have_their_turn_at_origins_of_this_and_of_the_former_release() {
        assert_eq!([MAX_STATUSES, 1].map(requests_about_all), [3, 150]);
    }

    #[test]
    fn request_with_long_names_fits_into_a_header_section() {
        let (mut followers, _reports) = followers((0..99).map(|_| "ü".repeat(127)));
        let request = followers.request().unwrap();
        assert!(request.also.len() > 10);
        assert!(request.uri(PUBLICATION).len() < 24 << 10);
    }
}
