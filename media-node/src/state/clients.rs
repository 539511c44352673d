//! Registry of the connected clients: every publisher, viewer and relay with its counters. A client can be listed, counted
//! and disconnected.
//!
//! Each client has its own counters, and a reader adds them up, so that thousands of viewers on several cores share no
//! cache line. A client that disconnects adds its counters to the totals, so that totals never decrease.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use media_wire::StreamKey;
use parking_lot::Mutex;
use serde::Serialize;

use crate::auth::Grant;
use crate::host;

/// Characters that are kept of a `User-Agent` or `flashVer`. The client chooses its length.
const MAX_AGENT_CHARS: usize = 120;

/// The position of a client that was sent nothing.
const NOTHING_SENT: i64 = i64::MIN;

/// Protocol of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientKind {
    /// RTMP.
    Rtmp,
    /// HTTP-FLV.
    Flv,
    /// WebSocket-FLV.
    Ws,
    /// Relay to or from another media node.
    Relay,
}

impl ClientKind {
    /// All kinds, in the order of the metrics.
    pub(crate) const ALL: [Self; 4] = [Self::Rtmp, Self::Flv, Self::Ws, Self::Relay];

    /// Value of the metrics' label `kind`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Flv => "flv",
            Self::Ws => "ws",
            Self::Relay => "relay",
        }
    }
}

/// Direction of a client's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientRole {
    /// Sends a stream.
    Publisher,
    /// Receives a stream.
    Viewer,
}

impl ClientRole {
    /// Value of the metrics' label `role`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Viewer => "viewer",
        }
    }
}

/// A client that starts to publish or to play.
pub(crate) struct NewClient {
    /// From [`Clients::next_id`].
    pub(crate) id: u64,
    /// The client's right to publish or play, kept until it disconnects.
    pub(crate) grant: Grant,
    pub(crate) peer: SocketAddr,
    pub(crate) kind: ClientKind,
    pub(crate) role: ClientRole,
    pub(crate) stream: StreamKey,
    /// `User-Agent` or `flashVer`.
    pub(crate) agent: String,
}

/// A connected client and its counters.
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) kind: ClientKind,
    pub(crate) role: ClientRole,
    pub(crate) stream: StreamKey,
    pub(crate) agent: Box<str>,
    /// Time since 1970 at which the client was registered.
    pub(crate) since: Duration,
    received: AtomicU64,
    sent: AtomicU64,
    lags: AtomicU64,
    /// Media time of the last message that was sent, in milliseconds since the log's beginning. [`NOTHING_SENT`] before.
    position: AtomicI64,
    /// Strongest [`StopReason`] that was requested.
    requested: AtomicU8,
    /// Strongest [`StopReason`] that the connection has taken.
    taken: AtomicU8,
    waker: AtomicWaker,
}

/// Reason to disconnect a client. A later one is stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StopReason {
    /// The media node drains: disconnect at the next keyframe.
    Draining = 1,
    /// An administrator disconnects the client through the API.
    Kicked = 2,
    /// The drain deadline has passed: disconnect immediately.
    Now = 3,
}

impl Client {
    /// Counts bytes sent to the client.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Records the media time up to which a viewer has received its stream.
    pub(crate) fn reached(&self, position: i64) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// Returns the media time up to which a viewer has received its stream.
    pub(crate) fn position(&self) -> Option<i64> {
        let position = self.position.load(Ordering::Relaxed);
        (position != NOTHING_SENT).then_some(position)
    }

    /// Counts bytes received from the client.
    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a jump of a lagging viewer to the newest keyframe.
    pub(crate) fn lagged(&self) {
        self.lags.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the current counters.
    pub(crate) fn counters(&self) -> ClientCounters {
        ClientCounters {
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            lags: self.lags.load(Ordering::Relaxed),
        }
    }

    /// Returns whether a browser plays the stream. Its players cannot go back in time (mpegts.js and flv.js drop all audio
    /// then), but they report the end of a stream.
    pub(crate) fn is_browser(&self) -> bool {
        self.kind == ClientKind::Ws
            || (self.kind == ClientKind::Flv && self.agent.starts_with("Mozilla/"))
    }

    /// Requests the client's connection to disconnect it.
    pub(crate) fn stop(&self, reason: StopReason) {
        self.requested.fetch_max(reason as u8, Ordering::Release);
        self.waker.wake();
    }

    /// Waits for a request to disconnect; a second call waits for a stronger reason. Cancel-safe, for one task.
    pub(crate) async fn stopped(&self) -> StopReason {
        poll_fn(|context| self.poll_stopped(context)).await
    }

    /// Waits for a request to disconnect this client. A drain is none: it lets relays go on. Cancel-safe, for one task.
    pub(crate) async fn kicked(&self) {
        while self.stopped().await != StopReason::Kicked {}
    }

    /// Polls [`Client::stopped`] without a future to keep.
    pub(crate) fn poll_stopped(&self, context: &mut Context<'_>) -> Poll<StopReason> {
        self.waker.register(context.waker());
        let reason = self.requested.load(Ordering::Acquire);
        if self.taken.fetch_max(reason, Ordering::Relaxed) >= reason {
            return Poll::Pending;
        }
        Poll::Ready(match reason {
            1 => StopReason::Draining,
            2 => StopReason::Kicked,
            _ => StopReason::Now,
        })
    }
}

/// Counters of one client, or their sums over several clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientCounters {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) lags: u64,
}

impl ClientCounters {
    fn add(&mut self, other: Self) {
        self.received += other.received;
        self.sent += other.sent;
        self.lags += other.lags;
    }
}

/// All clients of a media node.
pub(crate) struct Clients {
    last_id: AtomicU64,
    table: Mutex<ClientTable>,
}

#[derive(Default)]
struct ClientTable {
    clients: BTreeMap<u64, Arc<Client>>,
    /// Sums of the clients that have disconnected.
    departed: HashMap<ClientKind, ClientCounters>,
}

impl Clients {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            last_id: AtomicU64::new(0),
            table: Mutex::default(),
        })
    }

    /// Returns an id for a client that is to be registered. Hooks are asked about it before.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Registers a client until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>, new: NewClient) -> ClientGuard {
        let mut table = self.table.lock();
        let client = Arc::new(Client {
            id: new.id,
            peer: new.peer,
            kind: new.kind,
            role: new.role,
            stream: new.stream,
            agent: new.agent.chars().take(MAX_AGENT_CHARS).collect(),
            since: host::wall_clock(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            lags: AtomicU64::new(0),
            position: AtomicI64::new(NOTHING_SENT),
            requested: AtomicU8::new(0),
            taken: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        });
        table.clients.insert(client.id, Arc::clone(&client));
        drop(table);
        ClientGuard {
            clients: Arc::clone(self),
            client,
            _grant: new.grant,
        }
    }

    /// Returns all clients, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.table.lock().clients.values().cloned().collect()
    }

    /// Calls `each` for every client.
    pub(crate) fn for_each(&self, each: impl FnMut(&Arc<Client>)) {
        self.table.lock().clients.values().for_each(each);
    }

    /// Returns the client with this id.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<Client>> {
        self.table.lock().clients.get(&id).cloned()
    }

    /// Returns the sums of the counters of one kind since the start.
    pub(crate) fn totals(&self, kind: ClientKind) -> ClientCounters {
        let table = self.table.lock();
        let mut totals = table.departed.get(&kind).copied().unwrap_or_default();
        let clients = table.clients.values();
        clients
            .filter(|client| client.kind == kind)
            .for_each(|client| totals.add(client.counters()));
        totals
    }

    fn leave(&self, client: &Client) {
        let mut table = self.table.lock();
        table.clients.remove(&client.id);
        let departed = table.departed.entry(client.kind).or_default();
        departed.add(client.counters());
    }
}

/// Registration of a client, removed on drop.
pub(crate) struct ClientGuard {
    clients: Arc<Clients>,
    client: Arc<Client>,
    _grant: Grant,
}

impl ClientGuard {
    /// Returns the client for those who read its counters.
    pub(crate) fn share(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }
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
            id: clients.next_id(),
            grant: Grant::default(),
            peer: SocketAddr::from(([127, 0, 0, 1], 9)),
            kind: ClientKind::Flv,
            role: ClientRole::Viewer,
            stream: StreamKey::new(None, "live", "a").unwrap(),
            agent: "x".repeat(1000),
        })
    }

    #[test]
    fn totals_do_not_decrease_when_a_client_disconnects() {
        let clients = Clients::new();
        let first = viewer(&clients);
        let second = viewer(&clients);
        first.sent(5);
        second.sent(7);
        drop(first);
        assert_eq!(clients.totals(ClientKind::Flv).sent, 12);
        assert_eq!(clients.all().len(), 1);
    }

    #[test]
    fn long_agent_is_truncated() {
        let clients = Clients::new();
        assert_eq!(viewer(&clients).agent.len(), MAX_AGENT_CHARS);
    }

    #[tokio::test]
    async fn stop_requested_before_the_wait_is_delivered_and_a_stronger_one_again() {
        let clients = Clients::new();
        let client = viewer(&clients);
        client.stop(StopReason::Draining);
        assert_eq!(client.stopped().await, StopReason::Draining);
        client.stop(StopReason::Now);
        assert_eq!(client.stopped().await, StopReason::Now);
    }
}
