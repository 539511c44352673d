//! The limit of an encoder's bitrate.

use std::time::Duration;

use tokio::time::Instant;

/// The time over which the bitrate is averaged: an encoder may send a keyframe, or what it held back during a pause of the
/// network, as fast as it can.
const PERIOD: Duration = Duration::from_secs(10);

/// The limit of an encoder's bitrate, and what it has sent in the current period.
#[derive(Debug)]
pub(super) struct BitrateLimit {
    /// Kilobits per second.
    kbps: Option<u32>,
    period: Instant,
    received: u64,
}

/// The error of an encoder with too high a bitrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bitrate is above the limit of {kbps} kbit/s")]
pub(super) struct BitrateExceeded {
    kbps: u32,
}

impl BitrateLimit {
    /// Returns the lower one of two limits, for an encoder that starts.
    pub(super) fn new(limits: [Option<u32>; 2], now: Instant) -> Self {
        Self {
            kbps: limits.into_iter().flatten().min(),
            period: now,
            received: 0,
        }
    }

    /// Counts received bytes.
    pub(super) fn receive(&mut self, bytes: usize, now: Instant) -> Result<(), BitrateExceeded> {
        let Some(kbps) = self.kbps else {
            return Ok(());
        };
        if now.saturating_duration_since(self.period) >= PERIOD {
            (self.period, self.received) = (now, 0);
        }
        self.received += bytes as u64;
        let allowed = u64::from(kbps) * 1_000 / 8 * PERIOD.as_secs();
        if self.received > allowed {
            Err(BitrateExceeded { kbps })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoder_may_send_ten_seconds_of_its_bitrate_at_once() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut limit = BitrateLimit::new([Some(8_000), None], start);
        assert_eq!(limit.receive(10_000_000, after(1)), Ok(()));
        let exceeded = Err(BitrateExceeded { kbps: 8_000 });
        assert_eq!(limit.receive(1, after(9)), exceeded);
    }

    #[test]
    fn steady_encoder_at_its_limit_stays() {
        let start = Instant::now();
        let mut limit = BitrateLimit::new([Some(16_000), Some(8_000)], start);
        for second in 1..100 {
            let now = start + Duration::from_secs(second);
            assert_eq!(limit.receive(1_000_000, now), Ok(()), "{second}");
        }
        let faster = (100..110).map(|second| {
            let now = start + Duration::from_secs(second);
            limit.receive(1_200_000, now)
        });
        assert!(faster.last().unwrap().is_err());
    }

    #[test]
    fn encoder_without_a_limit_sends_at_any_bitrate() {
        let mut limit = BitrateLimit::new([None, None], Instant::now());
        assert_eq!(limit.receive(usize::MAX, Instant::now()), Ok(()));
    }
}
