//! The state of a simulated network, and what arrives in it.

mod narrow_paths;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;

use super::connection::{End, SimulatedConnection, Wakers};
use super::narrow_path::{NarrowLink, NarrowPath};

/// What the name servers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DnsState {
    #[default]
    Answers,
    /// Queries time out.
    Silent,
    /// Names have no address.
    Empty,
    /// Names have the addresses that they had when this began.
    Outdated,
}

pub(super) struct NetworkState {
    pub(super) now: Duration,
    pub(super) seed: u64,
    pub(super) latency: Duration,
    pub(super) hosts: BTreeMap<Ipv4Addr, Host>,
    pub(super) connections: BTreeMap<u64, SimulatedConnection>,
    /// Connections that are not established, and when their next packet arrives.
    pub(super) handshakes: BTreeMap<u64, Duration>,
    /// When something arrives next on the connections. Entries may be outdated.
    pub(super) arrivals: BTreeSet<(Duration, u64)>,
    /// The connections whose hosts cannot reach each other.
    pub(super) blocked: BTreeSet<u64>,
    /// Hosts or paths have changed, so that others may be blocked.
    pub(super) is_changed: bool,
    /// Hosts whose tasks were woken.
    pub(super) woken: BTreeSet<IpAddr>,
    pub(super) cuts: BTreeSet<[Ipv4Addr; 2]>,
    /// Paths on which packets get lost, from one host to another one.
    pub(super) one_way_cuts: BTreeSet<[Ipv4Addr; 2]>,
    pub(super) delays: BTreeMap<[Ipv4Addr; 2], Duration>,
    pub(super) narrow: BTreeMap<NarrowLink, NarrowPath>,
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
    pub(super) outdated_names: BTreeMap<String, Vec<IpAddr>>,
    pub(super) time_to_live: Duration,
    pub(super) dns: DnsState,
    pub(super) next_id: u64,
    pub(super) wakers: Wakers,
    /// A hash of all that was sent.
    pub(super) history: u64,
    /// What changes bytes that are sent.
    pub(super) tamper: Option<Tamper>,
}

/// Changes bytes. Returns whether it has.
pub(crate) type Tamper = fn(&mut [u8]) -> bool;

#[derive(Default)]
pub(super) struct Host {
    /// It has no power: it sends and receives nothing.
    pub(super) is_lost: bool,
    pub(super) listeners: BTreeMap<u16, Backlog>,
}

/// The connections that a listener has not accepted yet.
#[derive(Default)]
pub(super) struct Backlog {
    pub(super) waiting: VecDeque<u64>,
    pub(super) waker: Option<Waker>,
}

/// Time after which a first packet that is lost is sent again.
const RETRY: Duration = Duration::from_secs(1);

/// The longest time after an outage in which a connection's senders send again.
const LONGEST_STALL: Duration = Duration::from_secs(1);

impl NetworkState {
    /// Returns what is sent instead of these bytes.
    pub(super) fn tampered(&self, bytes: &[u8]) -> Option<Bytes> {
        let tamper = self.tamper?;
        let mut changed = bytes.to_vec();
        tamper(&mut changed).then(|| changed.into())
    }

    /// Returns whether packets arrive at each end of a connection.
    fn reached_ends(&self, connection: &SimulatedConnection) -> [bool; 2] {
        let [one, other] = addresses(connection);
        let is_lost = |host| self.hosts.get(&host).is_none_or(|host| host.is_lost);
        let is_cut = self.cuts.contains(&pair(one, other));
        if connection.is_forgotten || is_cut || is_lost(one) || is_lost(other) {
            return [false; 2];
        }
        [[other, one], [one, other]].map(|path| !self.one_way_cuts.contains(&path))
    }

    /// Returns when a packet of this connection arrives that is sent now.
    pub(super) fn due(&mut self, id: u64) -> Duration {
        let mut sent = DefaultHasher::new();
        (id, self.now).hash(&mut sent);
        // What happens at one time has no order: tokio has none for the tasks that end with their host.
        self.history = self.history.wrapping_add(sent.finish());
        let connection = self.connections.get(&id);
        let latency = connection.map_or(Duration::ZERO, |connection| self.latency(connection));
        let connection = self.connections.get_mut(&id);
        let jitter = connection.map_or(0.0, |it| it.random.random_range(0.0..1.0));
        self.now + latency + latency.mul_f64(jitter)
    }

    pub(super) fn latency(&self, connection: &SimulatedConnection) -> Duration {
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
            self.narrow.remove(&NarrowLink::Client(id));
        }
        self.expect_arrival(id);
    }

    /// Establishes the connections whose first packets have arrived.
    pub(super) fn establish(&mut self) {
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
            if self.reached_ends(connection).contains(&false) {
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
                let waker = backlog.waker.take();
                self.wakers.extend(waker.map(|waker| (to.ip(), waker)));
                connection.ends[0].open(&mut self.wakers);
            } else {
                connection.close(1, now);
                connection.ends[0].fail(io::ErrorKind::ConnectionRefused, &mut self.wakers);
            }
            self.expect_arrival(id);
        }
    }

    /// Finds the connections whose hosts cannot reach each other any more, and those whose hosts can again.
    pub(super) fn update_blocked(&mut self) {
        if !std::mem::take(&mut self.is_changed) {
            return;
        }
        let now = self.now;
        let mut connections = std::mem::take(&mut self.connections);
        for (id, connection) in &mut connections {
            if self.handshakes.contains_key(id) {
                continue;
            }
            let reached = self.reached_ends(connection);
            if reached.contains(&false) {
                connection.block(now, reached.iter().position(|reached| *reached));
                self.blocked.insert(*id);
            } else {
                connection.unblock(now, LONGEST_STALL);
                self.blocked.remove(id);
            }
            // The host that returns may have reset it.
            let due = connection.next_due();
            self.arrivals.extend(due.map(|due| (due, *id)));
        }
        self.connections = connections;
    }

    /// Delivers what is due, and fails the connections whose hosts cannot reach each other for too long.
    pub(super) fn deliver(&mut self) {
        let now = self.now;
        for id in self.blocked.clone() {
            match self.connections.get_mut(&id) {
                Some(connection) => {
                    let since = connection.blocked_since.unwrap_or(now);
                    connection.expire(now - since, now, &mut self.wakers);
                    if connection.reached.is_some() {
                        self.expect_arrival(id);
                    }
                }
                None => drop(self.blocked.remove(&id)),
            }
        }
        while let Some((due, id)) = self.arrivals.pop_first() {
            if due > now {
                self.arrivals.insert((due, id));
                return;
            }
            let Some(connection) = self.connections.get(&id) else {
                continue;
            };
            let is_blocked = self.blocked.contains(&id) && connection.reached.is_none();
            if is_blocked || self.handshakes.contains_key(&id) {
                continue;
            }
            let latency = self.latency(connection);
            if let Some(connection) = self.connections.get_mut(&id)
                && connection.stalled_until <= now
            {
                connection.deliver(now, latency, &mut self.wakers);
            }
            self.expect_arrival(id);
        }
    }

    /// Notes when something arrives next on a connection.
    pub(super) fn expect_arrival(&mut self, id: u64) {
        if !self.narrow.is_empty() {
            self.await_turns(id);
        }
        let connection = self.connections.get(&id);
        let due = connection.and_then(SimulatedConnection::next_due);
        self.arrivals.extend(due.map(|due| (due, id)));
    }

    /// Lets no packet arrive any more of the connections between two hosts.
    pub(super) fn forget_connections(&mut self, hosts: [Ipv4Addr; 2]) {
        self.is_changed = true;
        for (id, connection) in &mut self.connections {
            let [one, other] = addresses(connection);
            connection.is_forgotten |=
                pair(one, other) == hosts && !self.handshakes.contains_key(id);
        }
    }

    /// Resets the connections of a host that has forgotten them.
    pub(super) fn reset_peers_of(&mut self, host: Ipv4Addr) {
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

/// Returns the hosts of a connection.
fn addresses(connection: &SimulatedConnection) -> [Ipv4Addr; 2] {
    let address = |end: &End| match end.address.ip() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let [one, other] = &connection.ends;
    [address(one), address(other)]
}

pub(super) fn pair(one: Ipv4Addr, other: Ipv4Addr) -> [Ipv4Addr; 2] {
    [one.min(other), one.max(other)]
}
