//! Narrow paths of the simulated network: what is sent over one leaves its host in pieces, those of several connections in turn.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::network_state::{NetworkState, addresses};

/// Bytes that leave a host before it is the turn of another connection.
const PIECE: usize = 256;

/// What is narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NarrowLink {
    /// The path from one host to another one, which their connections share.
    Path([Ipv4Addr; 2]),
    /// The path to the client of a connection.
    Client(u64),
}

/// A path with less room than hosts may send.
pub(super) struct NarrowPath {
    bytes_per_second: u32,
    /// When the next piece may leave.
    free_at: Duration,
    /// The connections that wait, with the ends that they send to.
    turns: VecDeque<(u64, usize)>,
}

impl NarrowPath {
    pub(super) fn new(bytes_per_second: u32) -> Self {
        Self {
            bytes_per_second,
            free_at: Duration::ZERO,
            turns: VecDeque::new(),
        }
    }

    fn time_of(&self, bytes: usize) -> Duration {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Duration::from_secs(bytes.into()) / self.bytes_per_second
    }

    /// Bytes of one connection that are on the way, or wait at their sender: those of a second.
    fn buffer(&self) -> usize {
        usize::try_from(self.bytes_per_second).unwrap_or(usize::MAX)
    }
}

impl NetworkState {
    /// Makes a path narrow, or as wide as others.
    pub(super) fn narrow(&mut self, hosts: [Ipv4Addr; 2], bytes_per_second: Option<u32>) {
        let link = NarrowLink::Path(hosts);
        match bytes_per_second {
            Some(bytes_per_second) => {
                let path = self.narrow.entry(link);
                let path = path.or_insert_with(|| NarrowPath::new(bytes_per_second));
                path.bytes_per_second = bytes_per_second;
            }
            None if self.narrow.remove(&link).is_none() => return,
            None => {}
        }
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        for id in ids {
            self.limit_buffers(id);
            self.expect_arrival(id);
        }
    }

    /// Limits what the ends of a connection hold unsent, if its paths are narrow.
    pub(super) fn limit_buffers(&mut self, id: u64) {
        let limits = [0, 1].map(|end| {
            let path = self.link_to(id, end).and_then(|it| self.narrow.get(&it));
            path.map(NarrowPath::buffer)
        });
        let now = self.now;
        if let Some(connection) = self.connections.get_mut(&id) {
            for (end, limit) in connection.ends.iter_mut().zip(limits) {
                end.limit_unsent(limit, now);
            }
        }
    }

    /// Returns what is narrow on the way to an end of a connection.
    fn link_to(&self, id: u64, end: usize) -> Option<NarrowLink> {
        let own = NarrowLink::Client(id);
        if end == 0 && self.narrow.contains_key(&own) {
            return Some(own);
        }
        let [one, other] = addresses(self.connections.get(&id)?);
        let path = if end == 0 { [other, one] } else { [one, other] };
        let path = NarrowLink::Path(path);
        self.narrow.contains_key(&path).then_some(path)
    }

    /// Lets what was written to a connection wait for its turn.
    pub(super) fn await_turns(&mut self, id: u64) {
        for end in 0..2 {
            let connection = self.connections.get(&id);
            let waits = connection.is_some_and(|it| it.ends[end].has_unsent());
            let link = self.link_to(id, end).filter(|_| waits);
            let Some((link, path)) = link.and_then(|it| Some((it, self.narrow.get_mut(&it)?)))
            else {
                continue;
            };
            if path.turns.is_empty() {
                path.free_at = path.free_at.max(self.now);
            }
            if !path.turns.contains(&(id, end)) {
                path.turns.push_back((id, end));
            }
            self.send_over(link);
        }
    }

    /// Lets the pieces leave whose turns it is by now.
    pub(super) fn send_in_turn(&mut self) {
        let links: Vec<NarrowLink> = self.narrow.keys().copied().collect();
        links.into_iter().for_each(|link| self.send_over(link));
    }

    fn send_over(&mut self, link: NarrowLink) {
        let Some(mut path) = self.narrow.remove(&link) else {
            return;
        };
        while path.free_at <= self.now
            && let Some((id, end)) = path.turns.pop_front()
        {
            let connection = self.connections.get(&id);
            let Some(latency) = connection.map(|it| self.latency(it)) else {
                continue;
            };
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            let receiver = &mut connection.ends[end];
            path.free_at += path.time_of(receiver.next_piece(PIECE));
            receiver.send_piece(PIECE, path.free_at + latency);
            if receiver.has_unsent() {
                path.turns.push_back((id, end));
            }
            let due = connection.next_due();
            self.arrivals.extend(due.map(|due| (due, id)));
        }
        self.narrow.insert(link, path);
    }

    /// Returns when the next piece may leave its host.
    pub(super) fn next_turn(&self) -> Option<Duration> {
        let waiting = self.narrow.values().filter(|it| !it.turns.is_empty());
        waiting.map(|path| path.free_at).min()
    }
}
