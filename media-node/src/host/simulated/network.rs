//! A network in memory: hosts with addresses, TCP connections with latency and limited buffers, outages and DNS. Nothing arrives
//! but by [`Network::advance`], so that its caller controls the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::connection::{End, SimulatedConnection, TcpTimeouts, Wakers};

/// A network. Clones share it.
#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<NetworkState>>);

/// What the name servers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DnsState {
    #[default]
    Answers,
    /// Queries time out.
    Silent,
}

pub(super) struct NetworkState {
    pub(super) now: Duration,
    seed: u64,
    latency: Duration,
    hosts: BTreeMap<Ipv4Addr, Host>,
    pub(super) connections: BTreeMap<u64, SimulatedConnection>,
    /// Connections that are not established, and when their next packet arrives.
    handshakes: BTreeMap<u64, Duration>,
    cuts: BTreeSet<[Ipv4Addr; 2]>,
    delays: BTreeMap<[Ipv4Addr; 2], Duration>,
    names: BTreeMap<String, Vec<IpAddr>>,
    time_to_live: Duration,
    dns: DnsState,
    next_id: u64,
    pub(super) wakers: Wakers,
}

#[derive(Default)]
struct Host {
    /// It has no power: it sends and receives nothing.
    is_lost: bool,
    listeners: BTreeMap<u16, Backlog>,
}

/// The connections that a listener has not accepted yet.
#[derive(Default)]
struct Backlog {
    waiting: VecDeque<u64>,
    waker: Option<Waker>,
}

/// Time after which a first packet that is lost is sent again.
const RETRY: Duration = Duration::from_secs(1);

/// The longest time after an outage in which a connection's senders send again.
const LONGEST_STALL: Duration = Duration::from_secs(1);

impl Network {
    /// Returns a network without hosts. Packets take `latency` and up to as long again, and names are valid for `time_to_live`.
    pub(crate) fn new(seed: u64, latency: Duration, time_to_live: Duration) -> Self {
        Self(Arc::new(Mutex::new(NetworkState {
            now: Duration::ZERO,
            seed,
            latency,
            hosts: BTreeMap::new(),
            connections: BTreeMap::new(),
            handshakes: BTreeMap::new(),
            cuts: BTreeSet::new(),
            delays: BTreeMap::new(),
            names: BTreeMap::new(),
            time_to_live,
            dns: DnsState::default(),
            next_id: 0,
            wakers: Wakers::new(),
        })))
    }

    /// Changes the state, and wakes the tasks that wait for the change.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut NetworkState) -> T) -> T {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    pub(crate) fn now(&self) -> Duration {
        self.change(|state| state.now)
    }

    /// Returns the number of connections that an end still uses.
    pub(crate) fn connections(&self) -> usize {
        self.change(|state| state.connections.len())
    }

    /// Lets the time pass and everything arrive that is due.
    pub(crate) fn advance(&self, now: Duration) {
        self.change(|state| {
            state.now = now;
            state.establish();
            state.deliver();
        });
    }

    /// Adds a host, or returns the power to one.
    pub(crate) fn start_host(&self, host: Ipv4Addr) {
        self.change(|state| {
            let before = state.hosts.insert(host, Host::default());
            if before.is_some_and(|before| before.is_lost) {
                state.reset_peers_of(host);
            }
        });
    }

    /// Takes the power from a host: its peers receive no packet about it.
    pub(crate) fn lose_host(&self, host: Ipv4Addr) {
        self.change(|state| {
            if let Some(host) = state.hosts.get_mut(&host) {
                host.is_lost = true;
            }
            for connection in state.connections.values_mut() {
                for end in 0..2 {
                    if connection.ends[end].address.ip() == host {
                        connection.lose_sent_by(end);
                    }
                }
            }
        });
    }

    /// Removes a host: nothing has its address any more.
    pub(crate) fn remove_host(&self, host: Ipv4Addr) {
        self.change(|state| state.hosts.remove(&host));
    }

    /// Lets every packet between two hosts get lost, or none.
    pub(crate) fn cut(&self, one: Ipv4Addr, other: Ipv4Addr, is_cut: bool) {
        self.change(|state| match is_cut {
            true => state.cuts.insert(pair(one, other)),
            false => state.cuts.remove(&pair(one, other)),
        });
    }

    /// Adds to the latency between two hosts.
    pub(crate) fn delay(&self, one: Ipv4Addr, other: Ipv4Addr, delay: Duration) {
        self.change(|state| state.delays.insert(pair(one, other), delay));
    }

    pub(crate) fn set_dns(&self, dns: DnsState) {
        self.change(|state| state.dns = dns);
    }

    /// Sets the addresses of a name.
    pub(crate) fn set_name(&self, name: &str, addresses: Vec<IpAddr>) {
        self.change(|state| state.names.insert(name.to_owned(), addresses));
    }

    pub(super) fn dns(&self, _asker: Ipv4Addr, name: &str) -> Option<(Vec<IpAddr>, Duration)> {
        self.change(|state| match state.dns {
            DnsState::Silent => None,
            DnsState::Answers => {
                let addresses = state.names.get(name).cloned().unwrap_or_default();
                Some((addresses, state.time_to_live))
            }
        })
    }

    /// Opens a port of a host.
    pub(super) fn open_port(&self, host: Ipv4Addr, port: u16) -> io::Result<SocketAddr> {
        self.change(|state| {
            let found = state.hosts.get_mut(&host);
            let listeners = &mut found.ok_or(io::ErrorKind::AddrNotAvailable)?.listeners;
            let free = (50_000..).find(|port| !listeners.contains_key(port));
            let port = if port == 0 {
                free.unwrap_or(port)
            } else {
                port
            };
            if listeners.contains_key(&port) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            listeners.insert(port, Backlog::default());
            Ok((host, port).into())
        })
    }

    /// Closes a port.
    pub(super) fn close_port(&self, address: SocketAddr) {
        self.change(|state| {
            let IpAddr::V4(host) = address.ip() else {
                return;
            };
            let host = state.hosts.get_mut(&host);
            let backlog = host.and_then(|host| host.listeners.remove(&address.port()));
            for id in backlog.into_iter().flat_map(|backlog| backlog.waiting) {
                state.close(id, 1);
            }
        });
    }

    /// Takes a connection that was made to a port, or waits for one. Returns its number and the client's address.
    pub(super) fn accept(&self, address: SocketAddr, waker: &Waker) -> Option<(u64, SocketAddr)> {
        self.change(|state| {
            let IpAddr::V4(host) = address.ip() else {
                return None;
            };
            let listeners = &mut state.hosts.get_mut(&host)?.listeners;
            let backlog = listeners.get_mut(&address.port())?;
            let Some(id) = backlog.waiting.pop_front() else {
                backlog.waker = Some(waker.clone());
                return None;
            };
            let peer = state.connections.get(&id)?.ends[0].address;
            Some((id, peer))
        })
    }

    /// Begins a connection. Returns its number.
    pub(super) fn begin_connection(
        &self,
        from: Ipv4Addr,
        to: SocketAddr,
        timeouts: TcpTimeouts,
        capacity: usize,
    ) -> u64 {
        self.change(|state| {
            state.next_id += 1;
            let id = state.next_id;
            let port = 1024 + u16::try_from(id % 60_000).unwrap_or_default();
            let mut server = End::new(to, TcpTimeouts::ACCEPTED);
            server.open(&mut state.wakers);
            let connection = SimulatedConnection {
                ends: [End::new((from, port).into(), timeouts), server],
                capacity,
                blocked_since: None,
                stalled_until: Duration::ZERO,
                // One of its own, so that the order in which hosts send changes nothing else.
                random: StdRng::seed_from_u64(state.seed.wrapping_add(id)),
            };
            let due = state.now + 2 * state.latency(&connection);
            state.connections.insert(id, connection);
            state.handshakes.insert(id, due);
            id
        })
    }
}

impl NetworkState {
    fn is_blocked(&self, connection: &SimulatedConnection) -> bool {
        let [one, other] = addresses(connection);
        let is_lost = |host| self.hosts.get(&host).is_none_or(|host| host.is_lost);
        is_lost(one) || is_lost(other) || self.cuts.contains(&pair(one, other))
    }

    /// Returns when a packet of this connection arrives that is sent now.
    pub(super) fn due(&mut self, id: u64) -> Duration {
        let connection = self.connections.get(&id);
        let latency = connection.map_or(Duration::ZERO, |connection| self.latency(connection));
        let connection = self.connections.get_mut(&id);
        let jitter = connection.map_or(0.0, |it| it.random.random_range(0.0..1.0));
        self.now + latency + latency.mul_f64(jitter)
    }

    fn latency(&self, connection: &SimulatedConnection) -> Duration {
        let [one, other] = addresses(connection);
        let delay = self.delays.get(&pair(one, other)).copied();
        self.latency + delay.unwrap_or_default()
    }

    pub(super) fn close(&mut self, id: u64, end: usize) {
        let due = self.due(id);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.close(end, due);
        if connection.ends.iter().all(End::is_closed) || self.handshakes.contains_key(&id) {
            self.connections.remove(&id);
            self.handshakes.remove(&id);
        }
    }

    /// Establishes the connections whose first packets have arrived.
    fn establish(&mut self) {
        let now = self.now;
        let due: Vec<u64> = self
            .handshakes
            .iter()
            .filter_map(|(id, due)| (*due <= now).then_some(*id))
            .collect();
        for id in due {
            let Some(connection) = self.connections.get(&id) else {
                continue;
            };
            if self.is_blocked(connection) {
                self.handshakes.insert(id, now + RETRY);
                continue;
            }
            self.handshakes.remove(&id);
            let to = connection.ends[1].address;
            let host = self
                .hosts
                .iter_mut()
                .find(|(host, _)| IpAddr::from(**host) == to.ip());
            let backlog = host.and_then(|(_, host)| host.listeners.get_mut(&to.port()));
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            if let Some(backlog) = backlog {
                backlog.waiting.push_back(id);
                self.wakers.extend(backlog.waker.take());
                connection.ends[0].open(&mut self.wakers);
            } else {
                connection.close(1, now);
                connection.ends[0].fail(io::ErrorKind::ConnectionRefused, &mut self.wakers);
            }
        }
    }

    /// Delivers what is due on all connections, and fails those whose hosts cannot reach each other for too long.
    fn deliver(&mut self) {
        let now = self.now;
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        for id in ids {
            let Some(connection) = self.connections.get(&id) else {
                continue;
            };
            let (is_blocked, latency) = (self.is_blocked(connection), self.latency(connection));
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            if self.handshakes.contains_key(&id) {
                continue;
            }
            if is_blocked {
                let since = *connection.blocked_since.get_or_insert(now);
                connection.expire(now - since, now, &mut self.wakers);
            } else {
                if let Some(since) = connection.blocked_since.take() {
                    let stall = connection.random.random_range(0.0..1.0);
                    let stall = (now - since).min(LONGEST_STALL).mul_f64(stall);
                    connection.stalled_until = now + stall;
                }
                if connection.stalled_until <= now {
                    connection.deliver(now, latency, &mut self.wakers);
                }
            }
        }
    }

    /// Resets the connections of a host that has forgotten them.
    fn reset_peers_of(&mut self, host: Ipv4Addr) {
        let now = self.now;
        for connection in self.connections.values_mut() {
            for end in 0..2 {
                let is_here = connection.ends[end].address.ip() == host;
                if is_here && connection.ends[end].is_closed() {
                    connection.reset_peer_of(end, now);
                }
            }
        }
    }
}

fn addresses(connection: &SimulatedConnection) -> [Ipv4Addr; 2] {
    let address = |end: &End| match end.address.ip() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let [one, other] = &connection.ends;
    [address(one), address(other)]
}

fn pair(one: Ipv4Addr, other: Ipv4Addr) -> [Ipv4Addr; 2] {
    [one.min(other), one.max(other)]
}
