//! A limit on log lines that any client can cause.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The minimum time between two lines. Without it, a port scanner could fill the log.
const INTERVAL: Duration = Duration::from_secs(1);

/// Permits one line at a time.
#[derive(Default)]
pub(crate) struct LogRate(Mutex<Option<Instant>>);

impl LogRate {
    /// Returns whether a line may be written. A line that is written counts.
    pub(crate) fn permits(&self) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock();
        let permits = last.is_none_or(|last| now.duration_since(last) >= INTERVAL);
        if permits {
            *last = Some(now);
        }
        permits
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_is_permitted_in_each_interval() {
        let rate = LogRate::default();
        assert!(rate.permits() && !rate.permits());
        advance(INTERVAL - Duration::from_millis(1)).await;
        assert!(!rate.permits());
        advance(Duration::from_millis(1)).await;
        assert!(rate.permits() && !rate.permits());
    }
}
