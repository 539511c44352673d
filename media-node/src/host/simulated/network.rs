//! A network in memory: hosts with addresses, TCP connections with latency and limited buffers, outages and DNS. Nothing arrives
//! but by [`Network::advance`], so that its caller controls the time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::connection::{End, SimulatedConnection, TcpTimeouts, Wakers};
use super::narrow_path::{NarrowLink, NarrowPath};
use super::network_state::{Backlog, Host, NetworkState, pair};
pub(crate) use super::network_state::{DnsState, Tamper};

/// A network. Clones share it.
#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<NetworkState>>);

/// What a connection has room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionRoom {
    /// Bytes that it holds in each direction.
    pub(crate) capacity: usize,
    /// Bytes that pass in a second to the end that connects, if its path is narrow.
    pub(crate) bytes_per_second: Option<u32>,
}

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
            arrivals: BTreeSet::new(),
            blocked: BTreeSet::new(),
            is_changed: false,
            woken: BTreeSet::new(),
            cuts: BTreeSet::new(),
            one_way_cuts: BTreeSet::new(),
            delays: BTreeMap::new(),
            narrow: BTreeMap::new(),
            names: BTreeMap::new(),
            outdated_names: BTreeMap::new(),
            time_to_live,
            dns: DnsState::default(),
            next_id: 0,
            wakers: Wakers::new(),
            history: 0,
            tamper: None,
        })))
    }

    /// Changes the state, and wakes the tasks that wait for the change.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut NetworkState) -> T) -> T {
        let mut state = self.0.lock();
        let result = change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        state.woken.extend(wakers.iter().map(|(host, _)| *host));
        drop(state);
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
        result
    }

    pub(crate) fn now(&self) -> Duration {
        self.change(|state| state.now)
    }

    /// Returns the number of connections that an end still uses.
    pub(crate) fn connections(&self) -> usize {
        self.change(|state| state.connections.len())
    }

    /// Lets `tamper` change what is sent.
    pub(crate) fn set_tamper(&self, tamper: Tamper) {
        self.change(|state| state.tamper = Some(tamper));
    }

    /// Returns a hash of all that was sent so far: when, and over which connection.
    pub(crate) fn history(&self) -> u64 {
        self.change(|state| state.history)
    }

    /// Lets the time pass and everything arrive that is due.
    pub(crate) fn advance(&self, now: Duration) {
        self.change(|state| {
            state.now = now;
            state.update_blocked();
            state.establish();
            state.send_in_turn();
            state.deliver();
        });
    }

    /// Returns when something arrives next, unless hosts or paths change before.
    pub(crate) fn next_arrival(&self) -> Option<Duration> {
        self.change(|state| {
            let arrival = state.arrivals.first().map(|(due, _)| *due);
            let next = arrival.into_iter().chain(state.next_turn());
            state.handshakes.values().copied().chain(next).min()
        })
    }

    /// Returns the hosts whose tasks were woken since the last call.
    pub(crate) fn take_woken(&self) -> BTreeSet<IpAddr> {
        self.change(|state| std::mem::take(&mut state.woken))
    }

    /// Returns whether a host has tasks that were woken.
    pub(crate) fn has_woken(&self) -> bool {
        self.change(|state| !state.woken.is_empty())
    }

    /// Adds a host, or returns the power to one.
    pub(crate) fn start_host(&self, host: Ipv4Addr) {
        self.change(|state| {
            state.is_changed = true;
            let before = state.hosts.insert(host, Host::default());
            if before.is_some_and(|before| before.is_lost) {
                state.reset_peers_of(host);
            }
        });
    }

    /// Takes the power from a host: its peers receive no packet about it.
    pub(crate) fn lose_host(&self, host: Ipv4Addr) {
        self.change(|state| {
            state.is_changed = true;
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
        self.change(|state| {
            state.is_changed = true;
            state.hosts.remove(&host);
        });
    }

    /// Lets every packet between two hosts get lost, or none.
    pub(crate) fn cut(&self, one: Ipv4Addr, other: Ipv4Addr, is_cut: bool) {
        self.change(|state| {
            state.is_changed = true;
            if is_cut {
                state.cuts.insert(pair(one, other));
            } else {
                state.cuts.remove(&pair(one, other));
                state.one_way_cuts.remove(&[one, other]);
                state.one_way_cuts.remove(&[other, one]);
            }
        });
    }

    /// Lets every packet from one host to another one get lost, and none of those back, until [`Network::cut`] ends that.
    pub(crate) fn cut_one_way(&self, from: Ipv4Addr, to: Ipv4Addr) {
        self.change(|state| {
            state.is_changed = true;
            state.one_way_cuts.insert([from, to]);
        });
    }

    /// Lets every packet of the connections that there are between two hosts get lost, as a firewall does that restarts. New ones work.
    pub(crate) fn forget_connections(&self, one: Ipv4Addr, other: Ipv4Addr) {
        self.change(|state| state.forget_connections(pair(one, other)));
    }

    /// Adds to the latency between two hosts.
    pub(crate) fn delay(&self, one: Ipv4Addr, other: Ipv4Addr, delay: Duration) {
        self.change(|state| state.delays.insert(pair(one, other), delay));
    }

    /// Lets so many bytes pass in a second from one host to another one, or as many as hosts send.
    pub(crate) fn narrow(&self, from: Ipv4Addr, to: Ipv4Addr, bytes_per_second: Option<u32>) {
        self.change(|state| state.narrow([from, to], bytes_per_second));
    }

    pub(crate) fn set_dns(&self, dns: DnsState) {
        self.change(|state| {
            state.outdated_names = state.names.clone();
            state.dns = dns;
        });
    }

    /// Sets the addresses of a name.
    pub(crate) fn set_name(&self, name: &str, addresses: Vec<IpAddr>) {
        self.change(|state| state.names.insert(name.to_owned(), addresses));
    }

    pub(super) fn resolve(&self, name: &str) -> Option<(Vec<IpAddr>, Duration)> {
        self.change(|state| {
            let names = match state.dns {
                DnsState::Silent => return None,
                DnsState::Empty => return Some((Vec::new(), state.time_to_live)),
                DnsState::Answers => &state.names,
                DnsState::Outdated => &state.outdated_names,
            };
            let addresses = names.get(name).cloned().unwrap_or_default();
            Some((addresses, state.time_to_live))
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
        room: ConnectionRoom,
    ) -> u64 {
        self.change(|state| {
            state.next_id += 1;
            let id = state.next_id;
            let port = 1024 + u16::try_from(id % 60_000).unwrap_or_default();
            let mut server = End::new(to, TcpTimeouts::ACCEPTED);
            server.open(&mut state.wakers);
            let connection = SimulatedConnection {
                ends: [End::new((from, port).into(), timeouts), server],
                capacity: room.capacity,
                blocked_since: None,
                reached: None,
                is_forgotten: false,
                stalled_until: Duration::ZERO,
                // One of its own, so that the order in which hosts send changes nothing else.
                random: StdRng::seed_from_u64(state.seed.wrapping_add(id)),
            };
            let due = state.now + 2 * state.latency(&connection);
            state.connections.insert(id, connection);
            state.handshakes.insert(id, due);
            if let Some(rate) = room.bytes_per_second {
                let path = NarrowPath::new(rate);
                state.narrow.insert(NarrowLink::Client(id), path);
            }
            state.limit_buffers(id);
            id
        })
    }
}
