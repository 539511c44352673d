//! Whether an origin gets what is forwarded to it.

use std::time::Duration;

use tokio::time::Instant;

/// How far an origin is.
pub(super) struct ForwardProgress {
    received: u64,
    /// When it last had something new, or everything.
    since: Instant,
}

impl ForwardProgress {
    pub(super) fn new() -> Self {
        Self {
            received: 0,
            since: Instant::now(),
        }
    }

    /// Takes the sequences of the messages that the origin and the encoder have next. Returns for how long the origin has got nothing
    /// although there is more.
    pub(super) fn update(&mut self, received: u64, sent: Option<u64>) -> Duration {
        if received != self.received || sent.is_none_or(|sent| sent <= received) {
            self.received = received;
            self.since = Instant::now();
        }
        self.since.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn origin_that_gets_nothing_although_there_is_more_is_stalled() {
        let mut progress = ForwardProgress::new();
        assert_eq!(progress.update(5, Some(9)), Duration::ZERO);
        advance(SECOND).await;
        assert_eq!(progress.update(5, Some(11)), SECOND);
        advance(SECOND).await;
        assert_eq!(progress.update(5, Some(13)), SECOND * 2);
        assert_eq!(progress.update(6, Some(13)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn origin_that_has_everything_of_a_silent_encoder_is_not_stalled() {
        let mut progress = ForwardProgress::new();
        for sent in [Some(5), Some(5), None] {
            advance(SECOND).await;
            assert_eq!(progress.update(5, sent), Duration::ZERO);
        }
    }
}
