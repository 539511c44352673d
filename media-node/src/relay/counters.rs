//! The numbers of the relays, for metrics and tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The relays of a node in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RelayCounts {
    /// Streams that are pulled now.
    pub(crate) pulls: u64,
    /// Streams that are forwarded now.
    pub(crate) forwards: u64,
    /// Times that a stream continued from another upstream, or from the same one again.
    pub(crate) switches: u64,
    /// Upstreams that were lost: they disconnected, hung or sent what is no relay stream.
    pub(crate) failures: u64,
}

/// The counters behind [`RelayCounts`].
#[derive(Default)]
pub(super) struct RelayCounters {
    pulls: Arc<AtomicU64>,
    forwards: Arc<AtomicU64>,
    switches: AtomicU64,
    failures: AtomicU64,
}

impl RelayCounters {
    pub(super) fn counts(&self) -> RelayCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RelayCounts {
            pulls: load(&self.pulls),
            forwards: load(&self.forwards),
            switches: load(&self.switches),
            failures: load(&self.failures),
        }
    }

    /// Counts a pull until the result is dropped.
    pub(super) fn pull(&self) -> ActiveRelay {
        ActiveRelay::new(&self.pulls)
    }

    /// Counts a forwarded stream until the result is dropped.
    pub(super) fn forward(&self) -> ActiveRelay {
        ActiveRelay::new(&self.forwards)
    }

    pub(super) fn count_switch(&self) {
        self.switches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// A relay that counts as active while this lives.
pub(super) struct ActiveRelay(Arc<AtomicU64>);

impl ActiveRelay {
    fn new(active: &Arc<AtomicU64>) -> Self {
        active.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(active))
    }
}

impl Drop for ActiveRelay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
