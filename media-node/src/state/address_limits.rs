//! Connections of each client address: how many are open, and how many are new in a second.
//!
//! A reverse proxy sends the requests of many clients on one connection. There, each request counts as a connection of its client,
//! and a stream as long as it is played.
//!
//! An IPv6 client has a whole /64, so that all of it counts as one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::limits::CurrentLimits;
use crate::networks::client_network;

/// The number of addresses from which on those without a connection are removed.
const MIN_PRUNED: usize = 1024;

/// Time over which new connections of one address are counted.
const PERIOD: Duration = Duration::from_secs(1);

/// Connections of each client address, and their limits. Clones share them.
#[derive(Clone)]
pub(crate) struct AddressLimits {
    limits: CurrentLimits,
    table: Arc<Mutex<Table>>,
}

/// The limit that a connection exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressLimit {
    /// `limits.maxConnectionsPerAddress`.
    Open,
    /// `limits.maxNewConnectionsPerSecondPerAddress`.
    Rate,
}

impl AddressLimit {
    /// Value of the metric's label `reason`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Open => "address_connections",
            Self::Rate => "address_rate",
        }
    }

    /// Text for the client.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Open => "too many connections from your address",
            Self::Rate => "too many new connections from your address, try again in a second",
        }
    }
}

/// A connection of an address, which counts as open until this is dropped.
pub(crate) struct AddressPermit {
    table: Arc<Mutex<Table>>,
    address: IpAddr,
}

#[derive(Default)]
struct Table {
    addresses: HashMap<IpAddr, Address>,
    /// Size at which the table is pruned next.
    prune_at: usize,
}

struct Address {
    open: u32,
    /// When a client that keeps to the rate would open its next connection.
    next: Instant,
}

impl AddressLimits {
    /// Returns the limits of open connections and of new ones in a second.
    pub(crate) fn new(limits: CurrentLimits) -> Self {
        Self {
            limits,
            table: Arc::default(),
        }
    }

    /// Counts a new connection, unless it exceeds a limit.
    pub(crate) fn admit(&self, peer: IpAddr, now: Instant) -> Result<AddressPermit, AddressLimit> {
        // 0 is no limit.
        let limits = self.limits.get();
        let max_open = limits.max_connections_per_address;
        let max_new_per_second = limits.max_new_connections_per_second_per_address;
        let address = client_network(peer);
        let mut table = self.table.lock();
        table.prune(now);
        let entry = table
            .addresses
            .entry(address)
            .or_insert(Address { open: 0, next: now });
        if max_open > 0 && entry.open >= max_open {
            return Err(AddressLimit::Open);
        }
        entry.begin(max_new_per_second, now)?;
        entry.open += 1;
        drop(table);
        Ok(AddressPermit {
            table: Arc::clone(&self.table),
            address,
        })
    }

    /// Counts a further stream of an open connection as a new connection: it costs as much.
    pub(crate) fn begin_stream(&self, peer: IpAddr, now: Instant) -> Result<(), AddressLimit> {
        let max_per_second = self.limits.get().max_new_connections_per_second_per_address;
        let mut table = self.table.lock();
        match table.addresses.get_mut(&client_network(peer)) {
            Some(address) => address.begin(max_per_second, now),
            // A connection that is not counted.
            None => Ok(()),
        }
    }
}

impl Address {
    /// Counts a new connection, unless there are too many in a second.
    fn begin(&mut self, max_per_second: u32, now: Instant) -> Result<(), AddressLimit> {
        if max_per_second == 0 {
            return Ok(());
        }
        let next = self.next.max(now) + PERIOD / max_per_second;
        if next > now + PERIOD {
            return Err(AddressLimit::Rate);
        }
        self.next = next;
        Ok(())
    }
}

impl Table {
    /// Removes addresses without open or recent connections. The table doubles before the next search, so that the cost of a connection
    /// does not depend on the size of the table.
    fn prune(&mut self, now: Instant) {
        if self.addresses.len() < self.prune_at.max(MIN_PRUNED) {
            return;
        }
        self.addresses
            .retain(|_, address| address.open > 0 || address.next > now);
        self.prune_at = self.addresses.len() * 2;
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        if let Some(address) = self.table.lock().addresses.get_mut(&self.address) {
            address.open -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use media_config::Limits;

    use super::*;

    fn limited(max_open: u32, max_new_per_second: u32) -> AddressLimits {
        AddressLimits::new(CurrentLimits::new(Limits {
            max_connections_per_address: max_open,
            max_new_connections_per_second_per_address: max_new_per_second,
            ..Limits::default()
        }))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn address_has_a_limited_number_of_open_connections() {
        let limits = limited(2, 0);
        let now = Instant::now();
        let admit = |peer: &str| limits.admit(ip(peer), now);
        let first = admit("192.0.2.1").unwrap();
        let _second = admit("192.0.2.1").unwrap();
        assert_eq!(admit("192.0.2.1").err(), Some(AddressLimit::Open));
        assert!(admit("192.0.2.2").is_ok());
        drop(first);
        assert!(admit("192.0.2.1").is_ok());
    }

    #[test]
    fn new_connections_of_a_second_are_limited() {
        let limits = limited(0, 10);
        let start = Instant::now();
        let admitted = |now| {
            let admit = |_: &u32| limits.admit(ip("192.0.2.1"), now).is_ok();
            (0..100).filter(admit).count()
        };
        assert_eq!(admitted(start), 10);
        assert_eq!(admitted(start + Duration::from_millis(350)), 3);
        assert_eq!(admitted(start + Duration::from_secs(9)), 10);
    }

    #[test]
    fn further_streams_of_a_connection_count_as_new_connections() {
        let limits = limited(0, 10);
        let start = Instant::now();
        let peer = ip("192.0.2.1");
        let _connection = limits.admit(peer, start).unwrap();
        let begun = |_: &u32| limits.begin_stream(peer, start).is_ok();
        assert_eq!((0..100).filter(begun).count(), 9);
        assert_eq!(limits.admit(peer, start).err(), Some(AddressLimit::Rate));
        assert!(limits.begin_stream(ip("192.0.2.2"), start).is_ok());
    }

    #[test]
    fn network_of_an_ipv6_client_is_one_address() {
        let limits = limited(1, 0);
        let now = Instant::now();
        let _first = limits.admit(ip("2001:db8:0:1::1"), now).unwrap();
        let same = limits.admit(ip("2001:db8:0:1:ffff::2"), now);
        assert_eq!(same.err(), Some(AddressLimit::Open));
        assert!(limits.admit(ip("2001:db8:0:2::1"), now).is_ok());
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let limits = limited(1000, 100);
        let start = Instant::now();
        let kept = limits.admit(ip("192.0.2.1"), start).unwrap();
        for number in 0..100_000_u32 {
            let peer = IpAddr::from(number.to_be_bytes());
            drop(limits.admit(peer, start + Duration::from_millis(number.into())));
        }
        let table = limits.table.lock();
        assert!(table.addresses.len() <= 2 * MIN_PRUNED);
        assert_eq!(table.addresses[&kept.address].open, 1);
    }
}
