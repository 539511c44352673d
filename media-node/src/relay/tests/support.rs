//! Nodes that consist of a registry, relays and an internal port, all in one process; publishers and viewers without a
//! protocol. What they pass around is numbered, so that nothing can get lost or come twice unseen.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use media_config::{DuplicatePublish, Role};
use media_engine::{
    DuplicatePolicy, EngineSettings, Format, Publication, PublicationSource, Registry, Start,
};
use media_wire::amf0::{Value, encode_all};
use media_wire::{MediaKind, Message, StreamKey};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::freezer::Freezer;
use super::viewer::Viewer;
use crate::discovery::Origins;
use crate::relay::{Carried, Refusal, Relay, RelaySettings};
use crate::state::clients::Clients;

/// What nothing in these tests takes.
pub(super) const LIMIT: Duration = Duration::from_secs(8);
/// Frames of a group of pictures.
pub(super) const GROUP: u32 = 25;

pub(super) fn key(name: &str) -> StreamKey {
    StreamKey::new(None, "live", name).unwrap()
}

/// The origins that all nodes of a test know.
#[derive(Clone)]
pub(super) struct Cluster {
    origins: watch::Sender<Arc<[SocketAddr]>>,
    pub(super) config: RelaySettings,
}

impl Cluster {
    pub(super) fn new() -> Self {
        let mut config = RelaySettings::default();
        config.stream.linger_seconds = 0;
        Self {
            origins: watch::Sender::new(Arc::from([])),
            config,
        }
    }

    pub(super) fn rejecting() -> Self {
        let mut cluster = Self::new();
        cluster.config.stream.duplicate_publish = DuplicatePublish::Reject;
        cluster
    }

    pub(super) async fn origin(&self, name: &str) -> Node {
        let node = Node::start(self, name, Role::Origin).await;
        self.add(node.address);
        node
    }

    /// An origin behind something that can be frozen.
    pub(super) async fn frail_origin(&self, name: &str) -> (Node, Freezer) {
        let node = Node::start(self, name, Role::Origin).await;
        let freezer = Freezer::start(node.address).await;
        self.add(freezer.address);
        (node, freezer)
    }

    pub(super) async fn edge(&self, name: &str) -> Node {
        Node::start(self, name, Role::Edge).await
    }

    pub(super) fn add(&self, origin: SocketAddr) {
        self.origins
            .send_modify(|set| *set = set.iter().copied().chain([origin]).collect());
    }
}

pub(super) struct Node {
    pub(super) relay: Relay,
    pub(super) registry: Registry,
    pub(super) address: SocketAddr,
    server: JoinHandle<()>,
}

impl Node {
    async fn start(cluster: &Cluster, name: &str, role: Role) -> Self {
        let config = RelaySettings {
            role,
            name: name.to_owned(),
            ..cluster.config.clone()
        };
        let registry = Registry::new(EngineSettings {
            pulse_per_viewer: Duration::ZERO,
            continuity: config.stream.continuity(),
            ..EngineSettings::default()
        });
        let origins = Origins::of(cluster.origins.subscribe());
        let relay = Relay::new(
            config,
            registry.clone(),
            Clients::new(),
            Some(origins),
            Arc::new(|task| drop(tokio::spawn(task(0)))),
        );
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(accept(listener, relay.clone()));
        Self {
            relay,
            registry,
            address,
            server,
        }
    }

    /// The process is gone: all of its connections are cut.
    pub(super) fn kill(&self) {
        self.server.abort();
    }

    pub(super) async fn publish(&self, name: &str) -> Result<Encoder, Refusal> {
        let key = key(name);
        let epoch = self.relay.admit(&key).await?;
        let now = std::time::Instant::now();
        let policy = DuplicatePolicy::Takeover;
        let publication = self
            .registry
            .publish(&key, epoch, PublicationSource::Encoder, policy, now)
            .unwrap();
        let carried = self
            .relay
            .published(publication.stream(), publication.epoch());
        Ok(Encoder::start(publication, carried))
    }

    pub(super) fn watch(&self, name: &str) -> Viewer {
        let stream = self.registry.open(&key(name)).unwrap();
        let cursor = stream.subscribe(Format::Flv, Start::Newest, 0);
        self.relay.want(&stream);
        Viewer::new(stream, cursor)
    }

    /// Waits until the numbers of relays are as wanted.
    pub(super) async fn until(&self, what: impl Fn(&Relay) -> bool) {
        let reached = async {
            while !what(&self.relay) {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let counts = self.relay.counts();
        timeout(LIMIT, reached)
            .await
            .unwrap_or_else(|_| panic!("not reached from {counts:?}"));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn accept(listener: TcpListener, relay: Relay) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let relay = relay.clone();
        let service = service_fn(move |request| {
            let relay = relay.clone();
            async move { Ok::<_, Infallible>(relay.serve(request, 0).await) }
        });
        let http = hyper::server::conn::http1::Builder::new();
        connections.spawn(async move {
            drop(http.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// An encoder of 100 messages a second, until it is stopped.
pub(super) struct Encoder {
    stop: Option<oneshot::Sender<()>>,
    end: JoinHandle<End>,
    sent: watch::Receiver<u32>,
    pub(super) epoch: u64,
}

/// How an encoder ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Stopped,
    Superseded,
    Refused(Refusal),
}

impl Encoder {
    fn start(publication: Publication, carried: Carried) -> Self {
        let epoch = publication.epoch().0;
        let (stop, stopped) = oneshot::channel();
        let (count, sent) = watch::channel(0);
        let end = tokio::spawn(encode(publication, carried, stopped, count));
        Self {
            stop: Some(stop),
            end,
            sent,
            epoch,
        }
    }

    /// The number of the next frame.
    pub(super) fn sent(&self) -> u32 {
        *self.sent.borrow()
    }

    /// Waits until so many frames were sent.
    pub(super) async fn until(&mut self, sent: u32) {
        let reached = self.sent.wait_for(|number| *number >= sent);
        timeout(LIMIT, reached).await.unwrap().unwrap();
    }

    pub(super) async fn stop(mut self) -> u32 {
        drop(self.stop.take());
        assert_eq!(self.end().await, End::Stopped);
        self.sent()
    }

    pub(super) async fn end(&mut self) -> End {
        timeout(LIMIT, &mut self.end)
            .await
            .expect("ended in time")
            .unwrap()
    }
}

async fn encode(
    mut publication: Publication,
    carried: Carried,
    mut stopped: oneshot::Receiver<()>,
    count: watch::Sender<u32>,
) -> End {
    let mut ticks = interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let epoch = publication.epoch().0;
    let header = Bytes::from_static(&[0x17, 0, 0, 0, 0, 1, 100, 0, 31]);
    publication.append(metadata());
    let message = |timestamp, payload| Message {
        kind: MediaKind::Video,
        timestamp,
        payload,
    };
    publication.append(message(0, header));
    let end = loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break End::Stopped,
            () = publication.superseded() => break End::Superseded,
            refusal = carried.refused() => break End::Refused(refusal),
            _ = ticks.tick() => {
                let number = *count.borrow();
                publication.append(message(number * 10, frame(epoch, number)));
                publication.pulse(std::time::Instant::now());
                count.send_replace(number + 1);
            }
        }
    };
    drop(publication);
    drop(carried);
    end
}

/// Without it, the engine would wait for sound.
fn metadata() -> Message {
    let properties = vec![("videocodecid".to_owned(), Value::Number(7.0))];
    let payload = encode_all(&[Value::from("onMetaData"), Value::EcmaArray(properties)]);
    Message {
        kind: MediaKind::Data,
        timestamp: 0,
        payload: payload.into(),
    }
}

fn frame(epoch: u64, number: u32) -> Bytes {
    let mut payload = BytesMut::new();
    let head = if number.is_multiple_of(GROUP) {
        0x17
    } else {
        0x27
    };
    payload.put_slice(&[head, 1, 0, 0, 0]);
    payload.put_u64(epoch);
    payload.put_u32(number);
    payload.put_bytes(0xAA, 200);
    payload.freeze()
}
