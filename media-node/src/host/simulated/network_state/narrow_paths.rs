//! How connections share the narrow paths of a network.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{NetworkState, addresses};
use crate::host::simulated::narrow_path::{NarrowLink, NarrowPath};

/// Bytes that leave a host before it is the turn of another connection.
const PIECE: usize = 256;

impl NetworkState {
    /// Makes a path narrow, or as wide as others.
    pub(in super::super) fn narrow(&mut self, hosts: [Ipv4Addr; 2], bytes_per_second: Option<u32>) {
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
    pub(in super::super) fn limit_buffers(&mut self, id: u64) {
        let limits = [0, 1].map(|end| {
            let path = self.link_to(id, end).and_then(|it| self.narrow.get(&it));
            path.map(NarrowPath::buffer)
        });
        let now = self.now;
        if let Some(connection) = self.connections.get_mut(&id) {
            for (end, limit) in connection.ends.iter_mut().zip(limits) {
                end.in_flight.limit_unsent(limit, now);
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
            let waits = connection.is_some_and(|it| it.ends[end].in_flight.has_unsent());
            let link = self.link_to(id, end).filter(|_| waits);
            let Some((link, path)) = link.and_then(|it| Some((it, self.narrow.get_mut(&it)?)))
            else {
                continue;
            };
            path.wait((id, end), self.now);
            self.send_over(link);
        }
    }

    /// Lets the pieces leave whose turns it is by now.
    pub(in super::super) fn send_in_turn(&mut self) {
        let links: Vec<NarrowLink> = self.narrow.keys().copied().collect();
        links.into_iter().for_each(|link| self.send_over(link));
    }

    fn send_over(&mut self, link: NarrowLink) {
        let Some(mut path) = self.narrow.remove(&link) else {
            return;
        };
        while let Some((id, end)) = path.take_turn(self.now) {
            let connection = self.connections.get(&id);
            let Some(latency) = connection.map(|it| self.latency(it)) else {
                continue;
            };
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            let in_flight = &mut connection.ends[end].in_flight;
            let left_at = path.send(in_flight.next_piece(PIECE));
            in_flight.send_piece(PIECE, left_at + latency);
            if in_flight.has_unsent() {
                path.wait_again((id, end));
            }
            let due = connection.next_due();
            self.arrivals.extend(due.map(|due| (due, id)));
        }
        self.narrow.insert(link, path);
    }

    /// Returns when the next piece may leave its host.
    pub(in super::super) fn next_turn(&self) -> Option<Duration> {
        self.narrow.values().filter_map(NarrowPath::next_turn).min()
    }
}
