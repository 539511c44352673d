//! The delay before the next attempt.

use std::time::Duration;

use super::settings::RetryDelays;

/// A delay that doubles with each attempt, until one succeeds.
pub(super) struct Backoff {
    delays: RetryDelays,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(delays: RetryDelays) -> Self {
        Self {
            delays,
            next: delays.first,
        }
    }

    pub(super) fn next(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.delays.longest);
        delay
    }

    pub(super) fn reset(&mut self) {
        self.next = self.delays.first;
    }
}
