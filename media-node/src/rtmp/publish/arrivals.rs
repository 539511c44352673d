//! When an encoder's messages arrived: whether it is idle, and whether it is steady enough to be preferred.

use std::time::Duration;

use tokio::time::Instant;

/// The arrivals of one encoder's messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrivals {
    /// Time without a message that is a silence.
    silence: Duration,
    last: Instant,
    /// The first message since the last silence.
    steady_since: Option<Instant>,
}

impl Arrivals {
    pub(super) fn new(silence: Duration, now: Instant) -> Self {
        Self {
            silence,
            last: now,
            steady_since: None,
        }
    }

    /// Records a message.
    pub(super) fn record(&mut self, now: Instant) {
        if self.is_silent(now) {
            self.steady_since = None;
        }
        self.steady_since.get_or_insert(now);
        self.last = now;
    }

    /// Returns the time of the last message.
    pub(super) fn last(&self) -> Instant {
        self.last
    }

    /// Returns whether messages have arrived for so long without a silence.
    pub(super) fn is_steady(&self, time: Duration, now: Instant) -> bool {
        let lasts = |since| now.saturating_duration_since(since) >= time;
        self.steady_since.is_some_and(lasts) && !self.is_silent(now)
    }

    fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= self.silence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoder_is_steady_when_it_was_not_silent_for_long_enough() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let time = Duration::from_secs(10);
        let mut arrivals = Arrivals::new(Duration::from_secs(2), start);
        assert!(!arrivals.is_steady(Duration::ZERO, start));
        for milliseconds in (0..=10_000).step_by(500) {
            arrivals.record(at(milliseconds));
        }
        assert!(!arrivals.is_steady(time, at(9_999)));
        assert!(arrivals.is_steady(time, at(10_000)));
        assert!(!arrivals.is_steady(time, at(12_000)), "it is silent");
        arrivals.record(at(12_500));
        assert!(!arrivals.is_steady(time, at(12_500)), "it was silent");
        assert_eq!(arrivals.last(), at(12_500));
    }
}
