//! Connections without a stream: in their handshake, or between two requests.
//!
//! They are limited together, so that clients that only connect cannot keep viewers and encoders out. The connection that has
//! waited longest is closed first: an honest client is through its handshake in a moment.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntCounter;
use tokio::sync::oneshot;

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
    /// By the order in which they were opened.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A connection that counts as idle until this is dropped.
pub(crate) struct IdleGuard {
    connections: Arc<IdleConnections>,
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

    /// Changes the limit. Connections over it are closed as others come.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Counts a connection as idle. The oldest one is to be closed when there are too many.
    pub(crate) fn enter(self: &Arc<Self>) -> (IdleGuard, Eviction) {
        let (sender, receiver) = oneshot::channel();
        let mut table = self.lock();
        table.last += 1;
        let number = table.last;
        table.waiting.insert(number, sender);
        if table.waiting.len() > self.limit.load(Ordering::Relaxed)
            && let Some((_, oldest)) = table.waiting.pop_first()
        {
            self.evicted.inc();
            // The connection may have ended at this moment.
            let _ = oldest.send(());
        }
        drop(table);
        let guard = IdleGuard {
            connections: Arc::clone(self),
            number,
        };
        (guard, Eviction(receiver))
    }

    fn lock(&self) -> MutexGuard<'_, IdleTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for IdleGuard {
    fn drop(&mut self) {
        self.connections.lock().waiting.remove(&self.number);
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

    #[test]
    fn oldest_idle_connection_is_closed_first() {
        let evicted = IntCounter::new("evicted", "help").unwrap();
        let connections = IdleConnections::new(2, evicted.clone());
        let mut idle: Vec<_> = (0..4).map(|_| connections.enter()).collect();
        let requested: Vec<_> = idle
            .iter_mut()
            .map(|(_, eviction)| eviction.requested().now_or_never().is_some())
            .collect();
        assert_eq!(requested, [true, true, false, false]);
        assert_eq!(evicted.get(), 2);
    }

    #[test]
    fn connection_with_a_stream_is_not_closed() {
        let evicted = IntCounter::new("evicted", "help").unwrap();
        let connections = IdleConnections::new(1, evicted);
        let (guard, mut eviction) = connections.enter();
        drop(guard);
        let _others: Vec<_> = (0..3).map(|_| connections.enter()).collect();
        assert!(eviction.requested().now_or_never().is_none());
    }
}
