//! The time limit of incomplete messages of a client that does not publish.
//!
//! It sends short commands. One that begins and does not end would keep its memory for as long as the client plays.

use std::time::Duration;

use tokio::time::Instant;

/// The latest end of an incomplete message, while there is one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unfinished(Option<Instant>);

impl Unfinished {
    /// Records the bytes that incomplete messages occupy. A message that follows an incomplete one does not extend its time.
    pub(super) fn observe(&mut self, bytes: usize, limit: Duration) {
        self.0 = match bytes {
            0 => None,
            _ => self.0.or_else(|| Some(Instant::now() + limit)),
        };
    }

    /// Returns when the incomplete message must be complete.
    pub(super) fn due(self) -> Option<Instant> {
        self.0
    }

    /// Returns whether the time of the incomplete message is over.
    pub(super) fn is_overdue(self) -> bool {
        self.0.is_some_and(|due| due <= Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn further_messages_do_not_extend_the_time_of_an_incomplete_one() {
        let mut unfinished = Unfinished::default();
        assert!(!unfinished.is_overdue());
        unfinished.observe(100, LIMIT);
        advance(LIMIT - Duration::from_millis(1)).await;
        unfinished.observe(200, LIMIT);
        assert!(!unfinished.is_overdue());
        advance(Duration::from_millis(1)).await;
        assert!(unfinished.is_overdue());
    }

    #[tokio::test(start_paused = true)]
    async fn complete_message_ends_the_time() {
        let mut unfinished = Unfinished::default();
        unfinished.observe(100, LIMIT);
        unfinished.observe(0, LIMIT);
        advance(LIMIT).await;
        assert!(!unfinished.is_overdue());
        unfinished.observe(100, LIMIT);
        assert!(!unfinished.is_overdue());
    }
}
