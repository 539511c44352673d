//! Clusters of media nodes that consist of a registry, relays and an internal port, all in one process.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use media_config::{DuplicatePublish, Role};
use media_engine::{
    DuplicatePolicy, EngineSettings, Format, Publication, PublicationSource, Registry, Start,
};
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::encoder::RelayEncoder;
use super::freezer::Freezer;
use super::viewer::RelayViewer;
use crate::auth::NodeIdentity;
use crate::discovery::OriginSet;
use crate::relay::client::empty;
use crate::relay::protocol;
use crate::relay::settings::{
    ConflictTimeouts, ForwardTimeouts, IntakeTimeouts, PullTimeouts, RelayTimeouts, RetryDelays,
    SurveyTimeouts,
};
use crate::relay::{
    Contender, Forwarding, PublishRejection, Relay, RelayParts, RelaySettings, Resolution,
};
use crate::state::clients::Clients;
use crate::state::metrics::RelayMetrics;

/// Time that no step of these tests takes, however busy the host is.
pub(super) const LIMIT: Duration = Duration::from_secs(120);
/// A time limit that does not expire during a test. What has to happen in spite of it happens because of an event.
pub(super) const NEVER: Duration = Duration::from_secs(3600);

pub(super) fn key(name: &str) -> StreamKey {
    StreamKey::new(None, "live", name).unwrap()
}

/// Returns time limits under which retries are fast and nothing is given up. Tests set those that they are about.
fn timeouts() -> RelayTimeouts {
    RelayTimeouts {
        survey: SurveyTimeouts {
            status: NEVER,
            fetch: NEVER,
            suspicion: NEVER,
            ..SurveyTimeouts::default()
        },
        conflict: ConflictTimeouts {
            resolve: NEVER,
            reach: NEVER,
            announce: NEVER,
            end: NEVER,
        },
        pull: PullTimeouts {
            hold: Duration::from_millis(200),
            response: NEVER,
            silence: NEVER,
            hung: NEVER,
            from_start: NEVER,
            indirect: NEVER,
            moves: NEVER,
        },
        forward: ForwardTimeouts {
            poll: Duration::from_millis(20),
            poll_unconfirmed: Duration::from_millis(5),
            hung: NEVER,
            hung_alone: NEVER,
            stalled: NEVER,
            confirm: NEVER,
            predecessor: NEVER,
            grace: Duration::from_millis(20),
            first_need: NEVER,
            needs: NEVER,
            tail: NEVER,
            successor: Duration::from_millis(20),
        },
        intake: IntakeTimeouts {
            edge: NEVER,
            silence: NEVER,
            lingering_close: NEVER,
        },
        retry: RetryDelays {
            first: Duration::from_millis(5),
            longest: Duration::from_millis(20),
        },
    }
}

/// The media nodes of a test, and the origins that they know.
#[derive(Clone)]
pub(super) struct RelayCluster {
    origins: watch::Sender<Arc<[SocketAddr]>>,
    pub(super) settings: RelaySettings,
}

impl RelayCluster {
    pub(super) fn new() -> Self {
        let mut settings = RelaySettings {
            timeouts: timeouts(),
            ..RelaySettings::default()
        };
        settings.stream.linger_seconds = 0;
        Self {
            origins: watch::Sender::new(Arc::from([])),
            settings,
        }
    }

    /// Returns a cluster with the policy `reject`.
    pub(super) fn rejecting() -> Self {
        let mut cluster = Self::new();
        cluster.settings.stream.duplicate_publish = DuplicatePublish::Reject;
        cluster
    }

    /// Returns a cluster whose surveys do not wait for an origin that hangs.
    pub(super) fn with_short_surveys() -> Self {
        let mut cluster = Self::new();
        cluster.settings.timeouts.survey.status = Duration::from_millis(300);
        cluster
    }

    /// Returns a cluster whose edges give up an origin that hangs.
    pub(super) fn impatient() -> Self {
        let mut cluster = Self::with_short_surveys();
        cluster.settings.timeouts.pull.silence = Duration::from_millis(100);
        cluster.settings.timeouts.forward.hung = Duration::from_millis(300);
        cluster.settings.timeouts.forward.hung_alone = Duration::from_millis(300);
        cluster
    }

    pub(super) async fn origin(&self, name: &str) -> RelayNode {
        let node = RelayNode::start(self, name, Role::Origin).await;
        self.add(node.address);
        node
    }

    /// Returns an origin that the other media nodes reach through a freezer.
    pub(super) async fn freezable_origin(&self, name: &str) -> (RelayNode, Freezer) {
        let node = RelayNode::start(self, name, Role::Origin).await;
        let freezer = Freezer::start(node.address).await;
        self.add(freezer.address);
        (node, freezer)
    }

    pub(super) async fn edge(&self, name: &str) -> RelayNode {
        RelayNode::start(self, name, Role::Edge).await
    }

    pub(super) fn add(&self, origin: SocketAddr) {
        self.origins
            .send_modify(|set| *set = set.iter().copied().chain([origin]).collect());
    }

    /// Removes an origin from the set. It still runs.
    pub(super) fn remove(&self, origin: SocketAddr) {
        let others = |set: &[SocketAddr]| set.iter().copied().filter(|it| *it != origin).collect();
        self.origins.send_modify(|set| *set = others(set));
    }
}

pub(super) struct RelayNode {
    pub(super) relay: Relay,
    pub(super) registry: Registry,
    pub(super) address: SocketAddr,
    requests: Requests,
    /// Whether requests that pull get no response.
    pub(super) holds_pulls: watch::Sender<bool>,
    server: JoinHandle<()>,
}

/// The connection and the URI of each request.
type Requests = Arc<Mutex<Vec<(SocketAddr, String)>>>;

impl RelayNode {
    async fn start(cluster: &RelayCluster, name: &str, role: Role) -> Self {
        let settings = RelaySettings {
            role,
            name: name.to_owned(),
            ..cluster.settings.clone()
        };
        let registry = Registry::new(EngineSettings {
            pulse_max: Duration::ZERO,
            window: settings.stream.window(),
            continuity: settings.stream.continuity(),
            ..EngineSettings::default()
        });
        let origins = OriginSet::of(cluster.origins.subscribe());
        let parts = RelayParts {
            registry: registry.clone(),
            clients: Clients::new(),
            identity: Arc::new(NodeIdentity::none()),
            origins: Some(origins),
            metrics: RelayMetrics::unregistered(),
            spawner: Arc::new(|task| drop(tokio::spawn(task(0)))),
        };
        let relay = Relay::new(settings, parts);
        let listener = TcpListener::bind((own_address(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Requests::default();
        let holds_pulls = watch::Sender::new(false);
        let accepting = accept(
            listener,
            relay.clone(),
            Arc::clone(&requests),
            holds_pulls.subscribe(),
        );
        let server = tokio::spawn(accepting);
        Self {
            relay,
            registry,
            address,
            requests,
            holds_pulls,
            server,
        }
    }

    /// Returns the requests to this media node so far, and forgets them.
    pub(super) fn take_requests(&self) -> Vec<(SocketAddr, String)> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// Closes the port and all connections, as if the process were killed.
    pub(super) fn kill(&self) {
        self.server.abort();
    }

    pub(super) async fn publish(&self, name: &str) -> Result<RelayEncoder, PublishRejection> {
        self.publish_from(name, Ipv4Addr::LOCALHOST.into()).await
    }

    /// Publishes a stream as an encoder with this address.
    pub(super) async fn publish_from(
        &self,
        name: &str,
        address: IpAddr,
    ) -> Result<RelayEncoder, PublishRejection> {
        let epoch = self.resolve_conflict(name).await?;
        Ok(self.start_encoder(name, epoch, address))
    }

    /// Returns the epoch with which a publication may start.
    pub(super) async fn resolve_conflict(&self, name: &str) -> Result<Epoch, PublishRejection> {
        let (key, contender) = (key(name), Contender::new(0));
        let resolution = self.relay.resolve_conflict(&key, &contender);
        let resolution = timeout(LIMIT, resolution).await;
        match resolution.expect("a result in time")? {
            Resolution::OnAir(epoch, _) => Ok(epoch),
            Resolution::Standby(_) => panic!("no policy of these tests lets an encoder stand by"),
        }
    }

    /// Starts an encoder whose conflict is resolved.
    pub(super) fn start_encoder(&self, name: &str, epoch: Epoch, address: IpAddr) -> RelayEncoder {
        let (publication, forwarding) = self.start_publication(name, epoch, address);
        RelayEncoder::start(publication, forwarding)
    }

    /// Starts a publication without messages.
    pub(super) fn start_publication(
        &self,
        name: &str,
        epoch: Epoch,
        address: IpAddr,
    ) -> (Publication, Forwarding) {
        let key = key(name);
        let now = std::time::Instant::now();
        let (source, policy) = (PublicationSource::Encoder, DuplicatePolicy::Takeover);
        let publication = self
            .registry
            .publish(&key, epoch, source, policy, now)
            .unwrap();
        let forwarding = self
            .relay
            .forward(publication.stream(), publication.epoch(), address);
        (publication, forwarding)
    }

    pub(super) fn watch(&self, name: &str) -> RelayViewer {
        let stream = self.registry.open(&key(name)).unwrap();
        let cursor = stream.subscribe(Format::Flv, Start::Newest, 0);
        self.relay
            .demand(&stream, crate::relay::Appearance::default());
        RelayViewer::new(stream, cursor)
    }

    /// Sends a request to this media node, and returns the status of the response.
    pub(super) async fn status_of(&self, method: Method, uri: &str) -> StatusCode {
        let mut connection = self.relay.context.connect(self.address).await.unwrap();
        let response = timeout(LIMIT, connection.send(method, uri, empty()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(response.headers()[protocol::NODE], self.relay.context.node);
        response.status()
    }

    /// Returns whether the stream has a forwarded publication here.
    pub(super) fn is_forwarded_to(&self, name: &str) -> bool {
        let stream = self.registry.find(&key(name));
        let publication = stream.and_then(|stream| stream.state().publication);
        publication.is_some_and(|publication| publication.source == PublicationSource::Forwarded)
    }

    /// Waits for a condition.
    pub(super) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let reached = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let counts = self.relay.metrics();
        timeout(LIMIT, reached)
            .await
            .unwrap_or_else(|_| panic!("not reached from {counts:?}"));
    }
}

impl Drop for RelayNode {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns a loopback address that nothing else uses: the port of a media node that is killed stays free.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

async fn accept(
    listener: TcpListener,
    relay: Relay,
    requests: Requests,
    holds_pulls: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let (relay, requests) = (relay.clone(), Arc::clone(&requests));
        let holds_pulls = holds_pulls.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (relay, mut holds_pulls) = (relay.clone(), holds_pulls.clone());
            let uri = request.uri().to_string();
            requests.lock().unwrap().push((peer, uri));
            async move {
                if request.uri().path() == protocol::PULL {
                    let _ = holds_pulls.wait_for(|holds| !holds).await;
                }
                let mut response = relay.serve(request, 0).await;
                relay.add_node_id(&mut response);
                Ok::<_, Infallible>(response)
            }
        });
        let http = hyper::server::conn::http1::Builder::new();
        connections.spawn(async move {
            drop(http.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}
