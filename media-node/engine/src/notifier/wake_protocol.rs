//! The counters that decide which waiters are woken. They are separate from tokio and generic over their atomic type, so that
//! loom checks every interleaving of the code that production runs.

use std::sync::atomic::{AtomicU64, Ordering};

/// The wake protocol of one worker's readers.
///
/// # Guarantees
/// No wake-up is lost: a reader that has joined, reads [`notifications`](Self::notifications), finds no data, creates its
/// waiter, finds `notifications` unchanged and then waits is woken by every later [`notify`](Self::notify), if a waiter that
/// is woken calls [`pass_on`](Self::pass_on).
#[derive(Debug, Default)]
pub(super) struct WakeProtocol<C = AtomicU64> {
    readers: C,
    /// The number of notifications.
    notifications: C,
    /// The latest notification that was passed on to all waiters.
    passed_on: C,
}

/// An atomic counter: std's in production, loom's in the test.
pub(super) trait AtomicCounter {
    fn load(&self, order: Ordering) -> u64;
    fn swap(&self, value: u64, order: Ordering) -> u64;
    fn fetch_add(&self, value: u64, order: Ordering) -> u64;
    fn fetch_sub(&self, value: u64, order: Ordering) -> u64;
}

impl<C: AtomicCounter> WakeProtocol<C> {
    pub(super) fn join(&self) {
        // Relaxed, because the lock of the log orders this with the publisher: a publisher that does not see the reader
        // has committed its data before the reader first reads the log.
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes a reader. Returns whether it was the last one.
    pub(super) fn leave(&self) -> bool {
        self.readers.fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// Returns the number of notifications. A reader that found no data after this number waits until it changes.
    pub(super) fn notifications(&self) -> u64 {
        self.notifications.load(Ordering::Acquire)
    }

    pub(super) fn has_readers(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0
    }

    /// Wakes one waiter, if there are readers. Call it after the data is committed.
    pub(super) fn notify(&self, notify_one: impl FnOnce()) {
        if self.has_readers() {
            // Before the wake-up, because a waiter that does not see a new notification does not pass it on.
            self.notifications.fetch_add(1, Ordering::Release);
            notify_one();
        }
    }

    /// Wakes the other waiters, unless another one did so for the latest notification. Each waiter that is woken calls it.
    pub(super) fn pass_on(&self, notify_waiters: impl FnOnce()) {
        let latest = self.notifications.load(Ordering::Acquire);
        if self.passed_on.swap(latest, Ordering::AcqRel) != latest {
            notify_waiters();
        }
    }
}

impl AtomicCounter for AtomicU64 {
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn swap(&self, value: u64, order: Ordering) -> u64 {
        self.swap(value, order)
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_add(value, order)
    }

    fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_sub(value, order)
    }
}

#[cfg(test)]
mod tests;
