//! What all relays of a media node share: its id and settings, its streams, its clients and the origins.

use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use http::HeaderValue;
use media_engine::{Registry, StreamState};
use media_wire::StreamKey;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::info;

use super::arrived_bytes::ArrivedBytes;
use super::awaited_streams::AwaitedStreams;
use super::backoff::Backoff;
use super::client::{ClientError, NodeConnection, Segments};
use super::connection_pool::ConnectionPool;
use super::noted_epochs::NotedEpochs;
use super::noted_needs::NotedNeeds;
use super::reachability::Reachability;
use super::served_pulls::ServedPulls;
use super::settings::{RelaySettings, RelayTimeouts};
use crate::auth::{Grant, NodeIdentity};
use crate::discovery::OriginSet;
use crate::host;
use crate::state::clients::{ClientGuard, ClientKind, ClientRole, Clients, NewClient};
use crate::state::metrics::RelayMetrics;
use crate::state::publisher_addresses::PublisherAddresses;

/// Time in which a publication comes that an edge has announced: that of a few requests between an edge and an origin that are far from
/// each other.
const SUCCESSOR_ARRIVES: Duration = Duration::from_millis(1500);

/// Starts a task on one of the media node's workers.
pub(crate) type Spawner = Arc<dyn Fn(WorkerTask) + Send + Sync>;
/// Returns the future of a task. The argument is the number of its worker.
pub(crate) type WorkerTask = Box<dyn FnOnce(usize) -> BoxFuture<'static, ()> + Send>;

/// The parts of a media node that its relays use.
pub(crate) struct RelayParts {
    pub(crate) registry: Registry,
    pub(crate) clients: Arc<Clients>,
    pub(crate) identity: Arc<NodeIdentity>,
    /// `None`: the media node is alone.
    pub(crate) origins: Option<OriginSet>,
    pub(crate) metrics: RelayMetrics,
    pub(crate) spawner: Spawner,
}

/// The origins before an attempt to reach one of them. A change during the attempt is noticed after it.
pub(super) struct BeforeAttempt {
    pub(super) origins: Arc<[SocketAddr]>,
    recoveries: watch::Receiver<u64>,
}

/// The shared part of a media node's relays.
pub(super) struct RelayContext {
    /// The media node's id, in requests and responses.
    pub(super) node: HeaderValue,
    pub(super) settings: RelaySettings,
    pub(super) registry: Registry,
    /// The addresses of encoders that publish here, or to an edge that forwards to this media node.
    pub(super) publishers: PublisherAddresses,
    /// `None`: the media node is alone.
    pub(super) origins: Option<OriginSet>,
    pub(super) metrics: RelayMetrics,
    /// Connections for short requests.
    pub(super) kept: ConnectionPool,
    pub(super) reachability: Reachability,
    identity: Arc<NodeIdentity>,
    clients: Arc<Clients>,
    spawner: Spawner,
    pub(super) awaited: AwaitedStreams,
    /// Publications that an origin waits for: the edge of one that is over has announced that another encoder's follows in its next request.
    /// Until it comes, no encoder that stands by takes its place.
    pub(super) successors: NotedEpochs,
    /// Publications of this edge that an origin has rejected.
    pub(super) rejected: NotedEpochs,
    /// What media nodes need that have lost the origin of a stream.
    pub(super) needs: NotedNeeds,
    pub(super) served: ServedPulls,
    pub(super) arrived: ArrivedBytes,
    draining: AtomicBool,
}

impl RelayContext {
    pub(super) fn new(settings: RelaySettings, parts: RelayParts) -> Self {
        let RelayParts {
            registry,
            clients,
            identity,
            origins,
            metrics,
            spawner,
        } = parts;
        let id = unique_id(&settings.name);
        Self {
            node: HeaderValue::from_str(&id).expect("an id is graphic ASCII"),
            publishers: PublisherAddresses::new(registry.clone(), settings.limits.clone()),
            registry,
            origins,
            metrics,
            kept: ConnectionPool::default(),
            reachability: Reachability::default(),
            identity,
            clients,
            spawner,
            awaited: AwaitedStreams::default(),
            successors: NotedEpochs::new(SUCCESSOR_ARRIVES),
            rejected: NotedEpochs::new(settings.timeouts.pull.moves),
            needs: NotedNeeds::new(settings.timeouts.pull.moves),
            served: ServedPulls::default(),
            arrived: ArrivedBytes::default(),
            draining: AtomicBool::new(false),
            settings,
        }
    }

    pub(super) fn timeouts(&self) -> &RelayTimeouts {
        &self.settings.timeouts
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(self.timeouts().retry)
    }

    /// Connects to an origin's internal port. Tries again when the origin replies again.
    pub(super) async fn connect(&self, origin: SocketAddr) -> Result<NodeConnection, ClientError> {
        self.connect_with(origin, Segments::Large).await
    }

    /// Connects as [`RelayContext::connect`], with TCP segments of this size.
    pub(super) async fn connect_with(
        &self,
        origin: SocketAddr,
        segments: Segments,
    ) -> Result<NodeConnection, ClientError> {
        let open = || self.open_with(origin, segments);
        self.reachability.repeat(origin, open).await
    }

    /// Returns the segments of a connection that replaces one that stalled although the origin replies: the path may lose large packets.
    pub(super) fn small_segments(&self, stream: &StreamKey, origin: SocketAddr) -> Segments {
        self.metrics.reopened.inc();
        info!(%stream, %origin, "the connection stalled while the origin replied: again, with small TCP segments");
        Segments::Small
    }

    /// Connects to another media node's internal port.
    pub(super) async fn open(&self, peer: SocketAddr) -> Result<NodeConnection, ClientError> {
        self.open_with(peer, Segments::Large).await
    }

    async fn open_with(
        &self,
        peer: SocketAddr,
        segments: Segments,
    ) -> Result<NodeConnection, ClientError> {
        let (node, identity) = (self.node.clone(), Arc::clone(&self.identity));
        let (begin, way) = (Instant::now(), self.time_on_the_way(peer));
        let connection = NodeConnection::open(peer, way, segments, node, identity).await?;
        self.observe_round_trip(peer, begin.elapsed());
        Ok(connection)
    }

    /// Records how long an origin took to reply.
    pub(super) fn observe_round_trip(&self, origin: SocketAddr, round_trip: Duration) {
        let seconds = round_trip.as_secs_f64();
        self.metrics.round_trip.observe(seconds);
        self.reachability.observe_round_trip(origin, round_trip);
    }

    /// Returns the time that a request over a new connection to an origin spends on its way, and a packet that is sent again.
    pub(super) fn time_on_the_way(&self, origin: SocketAddr) -> Duration {
        3 * self.reachability.round_trip(origin)
    }

    /// Returns the origins in the order in which `key` is offered to them. Suspects are last.
    pub(super) fn ranked_origins(&self, key: &StreamKey) -> Vec<SocketAddr> {
        let origins = self.origins.as_ref();
        let mut ranked = origins
            .map(|origins| origins.ranked(key))
            .unwrap_or_default();
        let suspicion = self.timeouts().survey.suspicion;
        ranked.sort_by_key(|origin| self.reachability.is_suspect(*origin, suspicion));
        ranked
    }

    /// Puts origins last that do not reply to a check soon, while others do: DNS may still have the addresses of those that are gone.
    pub(super) async fn put_silent_last(&self, origins: &mut [SocketAddr]) {
        if origins.len() < 2 {
            return;
        }
        let way = origins.iter().map(|it| self.time_on_the_way(*it)).max();
        let limit = self.timeouts().forward.grace + way.unwrap_or_default();
        let checked = timeout(limit, self.reachability.checked(origins)).await;
        let replies = |origin: &SocketAddr| self.reachability.replies(*origin) == Some(true);
        if checked.is_err() {
            let silent = origins.iter().filter(|origin| !replies(origin));
            silent.for_each(|origin| self.reachability.suspect(*origin));
        }
        origins.sort_by_key(|origin| !replies(origin));
    }

    /// Returns how long an origin may be silent before it is given up: longer when no other one replies.
    pub(super) fn hung_limit(&self, origin: SocketAddr) -> Duration {
        let timeouts = self.timeouts();
        let suspicion = timeouts.survey.suspicion;
        let is_alternative = |other: &SocketAddr| {
            *other != origin && self.reachability.is_alternative(*other, suspicion)
        };
        let limit = if self.current_origins().iter().any(is_alternative) {
            timeouts.forward.hung
        } else {
            timeouts.forward.hung_alone
        };
        limit + self.time_on_the_way(origin)
    }

    /// Resolves the origins often for a while: one failed or there is none, and there may be others soon.
    pub(super) fn search_origins(&self) {
        if let Some(origins) = &self.origins {
            origins.search();
        }
    }

    /// Takes note of an origin that has sent a request from this address. If it is not known, the origins are resolved again: it may have
    /// replaced another one, and what is published here later would not be announced to it until DNS is due.
    pub(super) fn notice_origin(&self, address: IpAddr) {
        if let Some(origins) = &self.origins
            && !origins.current().iter().any(|it| it.ip() == address)
        {
            origins.refresh();
        }
    }

    /// Returns the origins that are known now.
    pub(super) fn current_origins(&self) -> Arc<[SocketAddr]> {
        let origins = self.origins.as_ref();
        origins.map(OriginSet::current).unwrap_or_default()
    }

    /// Returns the origins before an attempt.
    pub(super) fn before_attempt(&self) -> BeforeAttempt {
        BeforeAttempt {
            origins: self.current_origins(),
            recoveries: self.reachability.recoveries(),
        }
    }

    /// Waits after an attempt until the next one is due, the origins are others than before it, or one of them replies again since.
    pub(super) async fn attempt_due(&self, due: Instant, before: &mut BeforeAttempt) {
        tokio::select! {
            () = sleep_until(due) => {}
            () = self.origins_changed(&before.origins) => {}
            // The sender lives as long as the context.
            _ = before.recoveries.changed() => {}
        }
    }

    /// Waits until the origins are others than `previous`.
    pub(super) async fn origins_changed(&self, previous: &[SocketAddr]) {
        if let Some(origins) = &self.origins {
            let mut origins = origins.changes();
            if origins.wait_for(|set| **set != *previous).await.is_ok() {
                return;
            }
        }
        pending().await
    }

    /// Adds a connection with another media node to the clients.
    pub(super) fn add_client(
        &self,
        peer: SocketAddr,
        role: ClientRole,
        stream: &StreamKey,
        agent: &HeaderValue,
    ) -> ClientGuard {
        self.clients.enter(NewClient {
            id: self.clients.next_id(),
            grant: Grant::default(),
            peer,
            kind: ClientKind::Relay,
            role,
            stream: stream.clone(),
            agent: String::from_utf8_lossy(agent.as_bytes()).into_owned(),
        })
    }

    /// Starts a task on one of the workers, whose number it gets.
    pub(super) fn spawn<F>(&self, task: impl FnOnce(usize) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        (self.spawner)(Box::new(|worker| Box::pin(task(worker))));
    }

    pub(super) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Returns whether other media nodes may pull the stream from here. Copies are never relayed, so that there are no loops.
pub(super) fn is_published(state: &StreamState) -> bool {
    let publication = state.publication.as_ref();
    publication.is_some_and(|publication| !publication.source.is_copy())
}

/// Returns the name with a random number: several media nodes may have one name, and a media node that restarts is another one.
fn unique_id(name: &str) -> String {
    let safe: String = name.chars().filter(char::is_ascii_graphic).collect();
    format!("{safe}-{:016x}", host::random(name))
}
