//! The rate at which a connection may begin streams.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time in which streams are counted.
const PERIOD: Duration = Duration::from_secs(60);

/// The streams that a connection has begun in the last minute.
pub(super) struct StreamRate {
    limit: usize,
    begun: VecDeque<Instant>,
}

impl StreamRate {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            begun: VecDeque::new(),
        }
    }

    /// Returns the streams that it may begin in a minute.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Returns whether the connection has begun a stream in the last minute.
    pub(super) fn has_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Counts a stream. Returns false if it is one too many.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let is_old = |begun: &Instant| now.saturating_duration_since(*begun) >= PERIOD;
        while self.begun.front().is_some_and(is_old) {
            self.begun.pop_front();
        }
        let allowed = self.begun.len() < self.limit;
        if allowed {
            self.begun.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_a_minute_are_limited() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rate = StreamRate::new(2);
        assert!(rate.begin(at(0)) && rate.begin(at(30)));
        assert!(!rate.begin(at(59)));
        assert!(rate.begin(at(60)));
        assert!(!rate.begin(at(61)));
        assert!(rate.begin(at(90)));
    }
}
