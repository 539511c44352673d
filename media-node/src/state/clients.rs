//! Who is connected: every publisher, viewer and relay with its counters, so that it can be listed, counted and let go.
//!
//! Counters are the client's own and are added up when somebody asks: thousands of viewers on several cores share no
//! cache line. A client that leaves adds its counters to the totals, which therefore never go back.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures::task::AtomicWaker;
use media_wire::StreamKey;
use serde::Serialize;

/// Characters of a client's own name for itself that are kept.
const MAX_AGENT_CHARS: usize = 120;

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// RTMP.
    Rtmp,
    /// HTTP-FLV.
    Flv,
    /// WebSocket-FLV.
    Ws,
    /// Another node.
    Relay,
}

impl Kind {
    /// All of them, as the metrics list them.
    pub(crate) const ALL: [Self; 4] = [Self::Rtmp, Self::Flv, Self::Ws, Self::Relay];

    /// The value of the label `kind`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Flv => "flv",
            Self::Ws => "ws",
            Self::Relay => "relay",
        }
    }
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Sends a stream.
    Publisher,
    /// Receives one.
    Viewer,
}

/// A client that just began to publish or to watch.
pub(crate) struct NewClient {
    pub(crate) peer: SocketAddr,
    pub(crate) kind: Kind,
    pub(crate) role: Role,
    pub(crate) stream: StreamKey,
    /// What it calls itself: `User-Agent` or `flashVer`.
    pub(crate) agent: String,
}

/// One client and its counters.
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) kind: Kind,
    pub(crate) role: Role,
    pub(crate) stream: StreamKey,
    pub(crate) agent: Box<str>,
    pub(crate) since: SystemTime,
    received: AtomicU64,
    sent: AtomicU64,
    skips: AtomicU64,
    /// The strongest reason to leave that was given, and the one that the connection was told.
    stop: AtomicU8,
    told: AtomicU8,
    waiting: AtomicWaker,
}

/// Why a client is asked to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StopReason {
    /// The node is leaving: at the next keyframe.
    Draining = 1,
    /// Somebody asked for it by the API.
    Kicked = 2,
    /// The node is leaving: now.
    Now = 3,
}

impl Client {
    /// Counts bytes that went to the client.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes that came from the client.
    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a jump of a slow viewer to the newest keyframe.
    pub(crate) fn skipped(&self) {
        self.skips.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes received, bytes sent, skips.
    pub(crate) fn counters(&self) -> Counters {
        Counters {
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            skips: self.skips.load(Ordering::Relaxed),
        }
    }

    /// Asks the client's connection to let it go.
    pub(crate) fn stop(&self, reason: StopReason) {
        self.stop.fetch_max(reason as u8, Ordering::Release);
        self.waiting.wake();
    }

    /// Waits until the client is asked to leave; a second call waits for a stronger reason. Cancel-safe, for one task.
    pub(crate) async fn stopped(&self) -> StopReason {
        poll_fn(|context| self.poll_stopped(context)).await
    }

    /// The same as [`Client::stopped`], without a future to keep.
    pub(crate) fn poll_stopped(&self, context: &mut Context<'_>) -> Poll<StopReason> {
        self.waiting.register(context.waker());
        let reason = self.stop.load(Ordering::Acquire);
        if self.told.fetch_max(reason, Ordering::Relaxed) >= reason {
            return Poll::Pending;
        }
        Poll::Ready(match reason {
            1 => StopReason::Draining,
            2 => StopReason::Kicked,
            _ => StopReason::Now,
        })
    }
}

/// What was counted for one client or for many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) skips: u64,
}

impl Counters {
    fn add(&mut self, other: Self) {
        self.received += other.received;
        self.sent += other.sent;
        self.skips += other.skips;
    }
}

/// All clients of a node.
pub(crate) struct Clients {
    present: Mutex<Present>,
}

#[derive(Default)]
struct Present {
    next_id: u64,
    clients: HashMap<u64, Arc<Client>>,
    departed: HashMap<Kind, Counters>,
}

impl Clients {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            present: Mutex::default(),
        })
    }

    /// Lists a client until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>, new: NewClient) -> ClientGuard {
        let mut present = self.lock();
        present.next_id += 1;
        let client = Arc::new(Client {
            id: present.next_id,
            peer: new.peer,
            kind: new.kind,
            role: new.role,
            stream: new.stream,
            agent: new.agent.chars().take(MAX_AGENT_CHARS).collect(),
            since: SystemTime::now(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            skips: AtomicU64::new(0),
            stop: AtomicU8::new(0),
            told: AtomicU8::new(0),
            waiting: AtomicWaker::new(),
        });
        present.clients.insert(client.id, Arc::clone(&client));
        drop(present);
        ClientGuard {
            clients: Arc::clone(self),
            client,
        }
    }

    /// Everybody, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.lock().clients.values().cloned().collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }

    /// One client.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<Client>> {
        self.lock().clients.get(&id).cloned()
    }

    /// What was counted since the start, for one kind.
    pub(crate) fn totals(&self, kind: Kind) -> Counters {
        let present = self.lock();
        let mut totals = present.departed.get(&kind).copied().unwrap_or_default();
        let clients = present.clients.values();
        clients
            .filter(|client| client.kind == kind)
            .for_each(|client| totals.add(client.counters()));
        totals
    }

    fn leave(&self, client: &Client) {
        let mut present = self.lock();
        present.clients.remove(&client.id);
        let departed = present.departed.entry(client.kind).or_default();
        departed.add(client.counters());
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a client in the list, left on drop.
pub(crate) struct ClientGuard {
    clients: Arc<Clients>,
    client: Arc<Client>,
}

impl Deref for ClientGuard {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.clients.leave(&self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer(clients: &Arc<Clients>) -> ClientGuard {
        clients.enter(NewClient {
            peer: SocketAddr::from(([127, 0, 0, 1], 9)),
            kind: Kind::Flv,
            role: Role::Viewer,
            stream: StreamKey::new(None, "live", "a").unwrap(),
            agent: "x".repeat(1000),
        })
    }

    #[test]
    fn totals_do_not_go_back_when_a_client_leaves() {
        let clients = Clients::new();
        let first = viewer(&clients);
        let second = viewer(&clients);
        first.sent(5);
        second.sent(7);
        drop(first);
        assert_eq!(clients.totals(Kind::Flv).sent, 12);
        assert_eq!(clients.all().len(), 1);
    }

    #[test]
    fn a_long_agent_is_cut() {
        let clients = Clients::new();
        assert_eq!(viewer(&clients).agent.len(), MAX_AGENT_CHARS);
    }

    #[tokio::test]
    async fn a_stop_is_seen_however_early_it_comes_and_grows_stronger() {
        let clients = Clients::new();
        let client = viewer(&clients);
        client.stop(StopReason::Draining);
        assert_eq!(client.stopped().await, StopReason::Draining);
        client.stop(StopReason::Now);
        assert_eq!(client.stopped().await, StopReason::Now);
    }
}
