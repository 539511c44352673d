//! Streams between nodes: a node pulls what its viewers want and it does not have, an edge forwards what is published to
//! it, and everybody tells everybody what they have.
//!
//! ```text
//!   viewers ── edge ──pull──▶ origin ◀──push── edge ── encoder
//!                              │  ▲
//!                             pull, supersede
//!                              ▼  │
//!                             origin ── encoder
//! ```
//!
//! Guarantees
//! * A stream is pulled once for all of a node's viewers ([`pull`]), and only ever from a node that it is published or
//!   forwarded to, never from another copy: there are no loops.
//! * Of several publications of a stream the newest one wins, on every node ([`conflict`]).
//! * A relay that changes its upstream goes on with the message that it needs next; what comes twice is dropped.
//! * Viewers who waited for a publication get it from its first message, on every node that finds it while it is young.
//! * Every wait has a limit. An origin that hangs is given up like one that is gone.
//!
//! Read in this order: [`protocol`] (what is said), [`serve`] (the answering side), [`survey`], [`pull`], [`conflict`],
//! [`forward`].

mod announce;
mod body;
mod client;
mod conflict;
mod forward;
mod protocol;
mod pull;
mod serve;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use http::HeaderValue;
use media_config::{Limits, Role, StreamSettings};
use media_engine::{Registry, Stream};
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::auth::Grant;
use crate::discovery::Origins;
use crate::state::clients::{ClientGuard, ClientKind, ClientRole, Clients, NewClient};
pub(crate) use forward::Carried;

/// The relays of a node. Clones share them.
#[derive(Clone)]
pub(crate) struct Relay(Arc<Inner>);

struct Inner {
    /// What this node calls itself, in requests and answers.
    node: HeaderValue,
    config: RelaySettings,
    clients: Arc<Clients>,
    registry: Registry,
    /// None: the node is alone.
    origins: Option<Origins>,
    spawn: Spawn,
    /// The streams that somebody wants, each with what is known about it.
    wanted: Mutex<HashMap<StreamKey, pull::Wanted>>,
    /// Origins that did not answer, and when: others are tried first.
    suspects: Mutex<HashMap<SocketAddr, Instant>>,
    /// The latest forward of each stream; the channel closes when it is over.
    forwards: Mutex<HashMap<StreamKey, watch::Receiver<()>>>,
    /// Rings when a publication begins here, for the questions that wait for one.
    begun: watch::Sender<u64>,
    leaving: watch::Sender<bool>,
    pulls: AtomicU64,
    pushes: AtomicU64,
    switches: AtomicU64,
    failures: AtomicU64,
}

/// What the relays are told at their start.
#[derive(Clone, Debug, Default)]
pub(crate) struct RelaySettings {
    /// The node's name, of which its id is made.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) stream: StreamSettings,
    pub(crate) limits: Limits,
}

/// Runs a task on one of the node's workers, whose number it is told.
pub(crate) type Spawn = Arc<dyn Fn(Task) + Send + Sync>;
/// What makes a task for a worker.
pub(crate) type Task = Box<dyn FnOnce(usize) -> BoxFuture<'static, ()> + Send>;

/// Why an encoder may not publish, or may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Policy `reject`: there is a publication of that name in the cluster.
    #[error("the stream is already published")]
    AlreadyPublished,
    /// A newer publication of that name began elsewhere.
    #[error("a newer publication took over")]
    Superseded,
    /// An edge that reaches no origin.
    #[error("no origin can be reached")]
    NoOrigin,
}

/// Relays in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RelayCounts {
    /// Streams that are pulled now.
    pub(crate) pulls: u64,
    /// Streams that are forwarded now.
    pub(crate) pushes: u64,
    /// How often a stream went on with another upstream, or with the same one again.
    pub(crate) switches: u64,
    /// How often an upstream was lost: it broke, hung or sent nonsense.
    pub(crate) failures: u64,
}

impl Relay {
    pub(crate) fn new(
        config: RelaySettings,
        registry: Registry,
        clients: Arc<Clients>,
        origins: Option<Origins>,
        spawn: Spawn,
    ) -> Self {
        let id = unique(&config.name);
        Self(Arc::new(Inner {
            node: HeaderValue::from_str(&id).expect("an id is graphic ASCII"),
            config,
            clients,
            registry,
            origins,
            spawn,
            wanted: Mutex::default(),
            suspects: Mutex::default(),
            forwards: Mutex::default(),
            begun: watch::Sender::new(0),
            leaving: watch::Sender::new(false),
            pulls: AtomicU64::new(0),
            pushes: AtomicU64::new(0),
            switches: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }))
    }

    /// A viewer waits for this stream: from now on it is pulled whenever it is not published here, until nobody watches
    /// it any more. Cheap, and may be called as often as one likes.
    pub(crate) fn want(&self, stream: &Arc<Stream>) {
        if self.0.origins.is_none() {
            return;
        }
        let mut wanted = self.wanted();
        if wanted
            .get(stream.key())
            .is_some_and(|wanted| wanted.is_for(stream))
        {
            return;
        }
        let wish = pull::Wish::new(self.clone(), Arc::clone(stream));
        wanted.insert(stream.key().clone(), wish.wanted());
        drop(wanted);
        self.spawn(move |_| wish.follow());
    }

    /// Resolves as soon as every origin was asked and none has the stream; at once when there are no origins.
    pub(crate) async fn nobody_has(&self, stream: &Arc<Stream>) {
        let wanted = self.wanted().get(stream.key()).cloned();
        if let Some(wanted) = wanted {
            wanted.nobody_has().await;
        }
    }

    /// An encoder publishes here from now on: edges forward it, origins tell the others. Lasts as long as the result.
    pub(crate) fn published(&self, stream: &Arc<Stream>, epoch: Epoch) -> Carried {
        self.ring();
        match (&self.0.origins, self.0.config.role) {
            (None, _) => Carried::nowhere(),
            (Some(_), Role::Edge) => Carried::forward(self, stream, epoch),
            (Some(_), Role::Origin) => Carried::announce(self, stream.key(), epoch),
        }
    }

    /// Whether this node can find what is published elsewhere: not an edge that has never heard of an origin.
    pub(crate) fn found_origins(&self) -> bool {
        self.0.config.role == Role::Origin || self.origins().is_none_or(Origins::ever_known)
    }

    /// The node closes its ports: whoever forwards to it is asked to forward to another origin.
    pub(crate) fn leave(&self) {
        self.0.leaving.send_replace(true);
    }

    /// The relays in numbers.
    pub(crate) fn counts(&self) -> RelayCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RelayCounts {
            pulls: load(&self.0.pulls),
            pushes: load(&self.0.pushes),
            switches: load(&self.0.switches),
            failures: load(&self.0.failures),
        }
    }

    fn origins(&self) -> Option<&Origins> {
        self.0.origins.as_ref()
    }

    fn wanted(&self) -> MutexGuard<'_, HashMap<StreamKey, pull::Wanted>> {
        lock(&self.0.wanted)
    }

    /// The origins in the order in which `key` is offered to them; those that lately did not answer come last.
    fn preferred(&self, key: &StreamKey) -> Vec<SocketAddr> {
        let mut ranked = self
            .origins()
            .map(|origins| origins.ranked(key))
            .unwrap_or_default();
        let mut suspects = lock(&self.0.suspects);
        suspects.retain(|_, since| since.elapsed() < SUSPICION);
        ranked.sort_by_key(|origin| suspects.contains_key(origin));
        ranked
    }

    fn suspect(&self, origin: SocketAddr) {
        lock(&self.0.suspects).insert(origin, Instant::now());
    }

    /// An origin failed: there may be others now.
    fn refresh(&self) {
        if let Some(origins) = self.origins() {
            origins.refresh();
        }
    }

    fn trust(&self, origin: SocketAddr) {
        lock(&self.0.suspects).remove(&origin);
    }

    /// A stream is forwarded from now on, until what is returned first is dropped; second comes the one before.
    fn enter_forward(&self, key: &StreamKey) -> (watch::Sender<()>, Option<watch::Receiver<()>>) {
        let (sender, receiver) = watch::channel(());
        let mut forwards = lock(&self.0.forwards);
        forwards.retain(|_, forward| forward.has_changed().is_ok());
        let before = forwards.insert(key.clone(), receiver);
        (sender, before)
    }

    /// Lists a connection with another node.
    fn enter(
        &self,
        peer: SocketAddr,
        role: ClientRole,
        stream: &StreamKey,
        agent: &HeaderValue,
    ) -> ClientGuard {
        self.0.clients.enter(NewClient {
            id: self.0.clients.next_id(),
            grant: Grant::default(),
            peer,
            kind: ClientKind::Relay,
            role,
            stream: stream.clone(),
            agent: String::from_utf8_lossy(agent.as_bytes()).into_owned(),
        })
    }

    fn ring(&self) {
        self.0
            .begun
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn spawn<F>(&self, start: impl FnOnce(usize) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        (self.0.spawn)(Box::new(|worker| Box::pin(start(worker))));
    }
}

/// The name with a random number: several nodes may have one name, and one that starts again is another one.
fn unique(name: &str) -> String {
    let safe: String = name.chars().filter(char::is_ascii_graphic).collect();
    format!("{safe}-{:016x}", RandomState::new().hash_one(name))
}

/// How long an origin that did not answer is tried after the others.
const SUSPICION: Duration = Duration::from_secs(10);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One more of something for as long as it lives.
struct Gauge<F: Fn(&Inner) -> &AtomicU64>(Relay, F);

impl<F: Fn(&Inner) -> &AtomicU64> Gauge<F> {
    fn enter(relay: &Relay, of: F) -> Self {
        of(&relay.0).fetch_add(1, Ordering::Relaxed);
        Self(relay.clone(), of)
    }
}

impl<F: Fn(&Inner) -> &AtomicU64> Drop for Gauge<F> {
    fn drop(&mut self) {
        self.1(&self.0.0).fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long to wait before the next attempt: longer each time, until one succeeds.
struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(1);

    fn new() -> Self {
        Self(Self::FIRST)
    }

    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(Self::LAST);
        now
    }

    fn reset(&mut self) {
        self.0 = Self::FIRST;
    }
}
