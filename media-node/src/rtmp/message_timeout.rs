//! The time limit of incomplete messages of a client that does not publish.
//!
//! It sends short commands. One that begins and does not end would keep its memory for as long as the client plays.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The latest end of an incomplete message, while there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageTimeout {
    limit: Duration,
    due: Option<Instant>,
}

impl MessageTimeout {
    /// Begins without an incomplete message. Each may take `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, due: None }
    }

    /// Records the bytes that incomplete messages occupy. A message that follows an incomplete one does not extend its time.
    pub(super) fn observe(&mut self, bytes: usize) {
        self.due = match bytes {
            0 => None,
            _ => self.due.or_else(|| Some(Instant::now() + self.limit)),
        };
    }

    /// Lets the time of an incomplete message begin again.
    pub(super) fn restart(&mut self) {
        self.due = None;
    }

    /// Waits until the time of the incomplete message is over. Never completes without one.
    pub(super) async fn overdue(self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }

    /// Returns whether the time of the incomplete message is over.
    pub(super) fn is_overdue(self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn further_messages_do_not_extend_the_time_of_an_incomplete_one() {
        let mut timeout = MessageTimeout::new(LIMIT);
        assert!(!timeout.is_overdue());
        timeout.observe(100);
        advance(LIMIT - Duration::from_millis(1)).await;
        timeout.observe(200);
        assert!(!timeout.is_overdue());
        advance(Duration::from_millis(1)).await;
        assert!(timeout.is_overdue());
    }

    #[tokio::test(start_paused = true)]
    async fn complete_message_ends_the_time() {
        let mut timeout = MessageTimeout::new(LIMIT);
        timeout.observe(100);
        timeout.observe(0);
        advance(LIMIT).await;
        assert!(!timeout.is_overdue());
        timeout.observe(100);
        assert!(!timeout.is_overdue());
    }
}
