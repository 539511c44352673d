//! Whether an origin gets what is forwarded to it, and soon.

use std::time::Duration;

use tokio::time::Instant;

use super::super::protocol::PublicationStatus;

/// How far an origin is.
pub(super) struct ForwardProgress {
    /// The next message that it needs, and the bytes that it has got.
    received: (u64, Option<u64>),
    /// When it last had something new, or everything.
    since: Instant,
}

impl ForwardProgress {
    pub(super) fn new() -> Self {
        Self {
            received: (0, None),
            since: Instant::now(),
        }
    }

    /// Takes the status of the origin, and the sequence of the encoder's next message. Returns whether the origin has got nothing for this
    /// time although there is more.
    pub(super) fn is_stalled(
        &mut self,
        status: &PublicationStatus,
        sent: Option<u64>,
        limit: Duration,
    ) -> bool {
        let received = (status.sequence, status.arrived);
        if received != self.received || sent.is_none_or(|sent| sent <= status.sequence) {
            self.received = received;
            self.since = Instant::now();
        }
        // An older origin may have got a part of a large message.
        let factor = if status.arrived.is_some() { 1 } else { 2 };
        self.since.elapsed() >= limit * factor
    }
}

/// Whether an origin keeps up with the encoder.
#[derive(Default)]
pub(super) struct ForwardLag {
    /// What the encoder had sent at the last two observations.
    sent: [u64; 2],
}

impl ForwardLag {
    /// Takes the sequences of the messages that the origin and the encoder have next. Returns whether the origin lacks what was sent before
    /// the last observation.
    pub(super) fn is_behind(&mut self, received: u64, sent: u64) -> bool {
        let [due, last] = self.sent;
        self.sent = [last, sent];
        received < due
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn is_stalled(
        progress: &mut ForwardProgress,
        (sequence, arrived): (u64, Option<u64>),
        sent: Option<u64>,
    ) -> bool {
        let status = PublicationStatus {
            sequence,
            arrived,
            ..PublicationStatus::default()
        };
        progress.is_stalled(&status, sent, LIMIT)
    }

    #[tokio::test(start_paused = true)]
    async fn origin_that_gets_nothing_although_there_is_more_is_stalled() {
        let mut progress = ForwardProgress::new();
        assert!(!is_stalled(&mut progress, (5, Some(50)), Some(9)));
        advance(LIMIT).await;
        assert!(is_stalled(&mut progress, (5, Some(50)), Some(11)));
        assert!(!is_stalled(&mut progress, (6, Some(60)), Some(13)));
    }

    #[tokio::test(start_paused = true)]
    async fn origin_that_gets_a_large_message_is_not_stalled() {
        let mut progress = ForwardProgress::new();
        for bytes in [50, 60, 70] {
            advance(LIMIT).await;
            assert!(!is_stalled(&mut progress, (5, Some(bytes)), Some(9)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn origin_of_an_older_release_has_more_time() {
        let mut progress = ForwardProgress::new();
        assert!(!is_stalled(&mut progress, (5, None), Some(9)));
        for expected in [false, true] {
            advance(LIMIT).await;
            assert_eq!(is_stalled(&mut progress, (5, None), Some(9)), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn origin_that_has_everything_of_a_silent_encoder_is_not_stalled() {
        let mut progress = ForwardProgress::new();
        for sent in [Some(5), Some(5), None] {
            advance(LIMIT).await;
            assert!(!is_stalled(&mut progress, (5, Some(50)), sent));
        }
    }

    #[test]
    fn origin_is_behind_that_lacks_what_was_sent_two_observations_ago() {
        let mut lag = ForwardLag::default();
        assert!(!lag.is_behind(0, 10));
        assert!(!lag.is_behind(5, 20));
        assert!(!lag.is_behind(10, 30));
        assert!(lag.is_behind(19, 40));
        assert!(!lag.is_behind(30, 50));
    }
}
