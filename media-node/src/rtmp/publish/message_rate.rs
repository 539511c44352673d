//! The limit of an encoder's messages in a second: a message costs time and memory however short it is.
//!
//! To read such an encoder more slowly would not do: its own computer goes on sending what it has buffered, for minutes after it has
//! ended.

use std::time::Duration;

use tokio::time::Instant;

/// The time over which the rate is averaged. An encoder may send at once what it held back during a pause of the network: at the
/// default limit, those of 15 seconds at 300 messages a second.
const PERIOD: Duration = Duration::from_secs(5);

/// The limit of an encoder's messages in a second.
#[derive(Debug)]
pub(super) struct MessageRate {
    per_second: Option<u32>,
    /// When an encoder that keeps to the limit would send its next message.
    next: Instant,
    /// The messages of the connection that are counted, modulo 2^32.
    counted: u32,
}

/// The error of an encoder that sends too many messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {per_second} messages in a second: send as fast as the media play, with ffmpeg by -re"
)]
pub(super) struct TooManyMessages {
    per_second: u32,
}

impl MessageRate {
    /// Returns the limit of an encoder that starts. `received` are the messages of its connection until then.
    pub(super) fn new(per_second: Option<u32>, received: u32, now: Instant) -> Self {
        Self {
            per_second,
            next: now,
            counted: received,
        }
    }

    /// Counts the messages that the connection has received.
    pub(super) fn receive(&mut self, received: u32, now: Instant) -> Result<(), TooManyMessages> {
        let new = received.wrapping_sub(std::mem::replace(&mut self.counted, received));
        let Some(per_second) = self.per_second else {
            return Ok(());
        };
        self.next = self.next.max(now) + Duration::from_secs(1) / per_second * new;
        if self.next > now + PERIOD {
            Err(TooManyMessages { per_second })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoder_may_send_five_seconds_of_its_messages_at_once() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut rate = MessageRate::new(Some(1_000), u32::MAX - 500, start);
        assert_eq!(rate.receive(4_999 - 501, start), Ok(()));
        assert_eq!(rate.receive(5_999 - 501, later), Ok(()));
        let exceeded = Err(TooManyMessages { per_second: 1_000 });
        assert_eq!(rate.receive(6_001 - 501, later), exceeded);
    }

    #[test]
    fn steady_encoder_at_its_limit_stays() {
        let start = Instant::now();
        let mut rate = MessageRate::new(Some(1_000), 0, start);
        for second in 0..100 {
            let now = start + Duration::from_secs(second.into());
            assert_eq!(rate.receive((second + 1) * 1_000, now), Ok(()), "{second}");
        }
        let faster = (100..200).map(|second| {
            let now = start + Duration::from_secs(second.into());
            rate.receive(100_000 + (second - 99) * 1_100, now)
        });
        assert!(faster.last().unwrap().is_err());
    }

    #[test]
    fn encoder_without_a_limit_sends_any_number_of_messages() {
        let now = Instant::now();
        assert_eq!(
            MessageRate::new(None, 0, now).receive(u32::MAX, now),
            Ok(())
        );
    }
}
