//! Connections without a stream: in their handshake, or between two requests.
//!
//! They are limited together, so that clients that only connect cannot keep viewers and encoders out. When there are too many, the
//! address with the most of them loses the one that has waited longest: usual clients have few, and complete their handshake quickly.
//! A connection waits anew after each request. If addresses were not compared, a client that sends requests all the time would
//! therefore evict the connections of others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::oneshot;

use crate::networks::client_network;

/// Connections without a stream, and their limit.
pub(crate) struct IdleConnections {
    limit: AtomicUsize,
    table: Mutex<IdleTable>,
    /// Connections that were closed to make room for newer ones.
    evicted: IntCounter,
}

#[derive(Default)]
struct IdleTable {
    last: u64,
    waiting: usize,
    addresses: HashMap<IpAddr, WaitingConnections>,
}

/// The connections of one address, by the order in which they began to wait.
type WaitingConnections = BTreeMap<u64, oneshot::Sender<()>>;

/// A connection that counts as idle until this is dropped.
pub(crate) struct IdleGuard {
    connections: Arc<IdleConnections>,
    address: IpAddr,
    number: u64,
}

/// The end of an idle connection.
pub(crate) struct Eviction(oneshot::Receiver<()>);

impl IdleConnections {
    /// Returns a table of at most `limit` connections, which counts those that it closes.
    pub(crate) fn new(limit: usize, evicted: IntCounter) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicUsize::new(limit),
            table: Mutex::default(),
            evicted,
        })
    }

    /// Changes the limit. Connections over it are closed when new ones arrive.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Counts a connection as idle. When there are too many, requests the end of another one or of this one.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> (IdleGuard, Eviction) {
        let (sender, receiver) = oneshot::channel();
        let address = client_network(peer);
        let mut table = self.table.lock();
        let number = table.insert(address, sender);
        if table.waiting > self.limit.load(Ordering::Relaxed)
            && let Some(evicted) = table.pop_of_largest_address()
        {
            self.evicted.inc();
            // The connection may have ended at this moment.
            let _ = evicted.send(());
        }
        drop(table);
        let guard = IdleGuard {
            connections: Arc::clone(self),
            address,
            number,
        };
        (guard, Eviction(receiver))
    }
}

impl IdleTable {
    /// Returns the number of the connection.
    fn insert(&mut self, address: IpAddr, sender: oneshot::Sender<()>) -> u64 {
        self.last += 1;
        self.waiting += 1;
        let waiting = self.addresses.entry(address).or_default();
        waiting.insert(self.last, sender);
        self.last
    }

    fn remove(&mut self, address: IpAddr, number: u64) -> Option<oneshot::Sender<()>> {
        let waiting = self.addresses.get_mut(&address)?;
        let removed = waiting.remove(&number)?;
        if waiting.is_empty() {
            self.addresses.remove(&address);
        }
        self.waiting -= 1;
        Some(removed)
    }

    /// Removes the oldest connection of the address with the most; of several such addresses, of the one whose oldest is the oldest.
    fn pop_of_largest_address(&mut self) -> Option<oneshot::Sender<()>> {
        let addresses = self.addresses.iter();
        let oldest = addresses.filter_map(|(address, waiting)| {
            let (number, _) = waiting.first_key_value()?;
            Some((waiting.len(), Reverse(*number), *address))
        });
        let (_, Reverse(number), address) = oldest.max()?;
        self.remove(address, number)
    }
}

impl Drop for IdleGuard {
    fn drop(&mut self) {
        let mut table = self.connections.table.lock();
        drop(table.remove(self.address, self.number));
    }
}

impl Eviction {
    /// Waits until the connection is to be closed. Never returns once its guard is dropped. Cancel-safe.
    pub(crate) async fn requested(&mut self) {
        // A receiver that has returned must not be polled again, which no caller does.
        if (&mut self.0).await.is_err() {
            pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn connections(limit: usize) -> Arc<IdleConnections> {
        IdleConnections::new(limit, IntCounter::new("evicted", "help").unwrap())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Returns whether the end of each connection is requested.
    fn requested(idle: &mut [(IdleGuard, Eviction)]) -> Vec<bool> {
        let ends = idle.iter_mut();
        ends.map(|(_, eviction)| eviction.requested().now_or_never().is_some())
            .collect()
    }

    #[test]
    fn oldest_idle_connection_is_closed_first() {
        let connections = connections(2);
        let peers = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
        let mut idle = peers.map(|peer| connections.enter(ip(peer)));
        assert_eq!(requested(&mut idle), [true, true, false, false]);
        assert_eq!(connections.evicted.get(), 2);
    }

    #[test]
    fn address_with_the_most_connections_loses_one() {
        let connections = connections(4);
        let mut single = [connections.enter(ip("192.0.2.1"))];
        // Addresses of one /64, which begin to wait again and again.
        let enter = |number: u32| connections.enter(ip(&format!("2001:db8::{number}")));
        let mut others: Vec<_> = (0..4).map(enter).collect();
        for number in 4..100 {
            others.remove(0);
            others.push(enter(number));
        }
        assert_eq!(requested(&mut single), [false]);
        assert!(connections.evicted.get() > 0);
        let waiting = connections.table.lock().waiting;
        assert_eq!(waiting, 4);
        drop((single, others));
        let table = connections.table.lock();
        assert!(table.addresses.is_empty() && table.waiting == 0);
    }

    #[test]
    fn connection_with_a_stream_is_not_closed() {
        let connections = connections(1);
        let (guard, mut eviction) = connections.enter(ip("192.0.2.1"));
        drop(guard);
        let _others = [0; 3].map(|_| connections.enter(ip("192.0.2.1")));
        assert!(eviction.requested().now_or_never().is_none());
    }
}
