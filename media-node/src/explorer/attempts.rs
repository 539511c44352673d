//! The attempts of encoders to publish one stream: of those that supersede each other, one has to stay.

use std::collections::BTreeMap;
use std::time::Duration;

use media_engine::Epoch;

/// How long a media node may take a publication for one that goes on whose connection the encoder has lost.
const NOTICED: Duration = Duration::from_secs(15);

/// Which encoders may supersede another one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Precedence {
    /// Those that were accepted after it, or not earlier than so long before.
    Later(Duration),
    /// Those that were accepted so long before or after it, at most.
    AtOnce(Duration),
    /// All.
    Any,
}

/// The attempts to publish one stream, by encoder.
#[derive(Debug, Default)]
pub(super) struct Attempts(BTreeMap<u32, Attempt>);

#[derive(Clone, Copy, Debug)]
struct Attempt {
    begin: Duration,
    /// When it was accepted. A media node may accept an attempt whose encoder does not learn of it.
    accepted: Option<Duration>,
    epoch: Option<Epoch>,
    end: Option<Duration>,
    is_superseded: bool,
}

impl Attempts {
    pub(super) fn begin(&mut self, encoder: u32, now: Duration) {
        let attempt = Attempt {
            begin: now,
            accepted: None,
            epoch: None,
            end: None,
            is_superseded: false,
        };
        self.0.insert(encoder, attempt);
    }

    /// Notes that a media node has accepted an encoder, whose publication has this epoch if it is on air.
    pub(super) fn accepted(&mut self, encoder: u32, epoch: Option<Epoch>, now: Duration) {
        if let Some(attempt) = self.0.get_mut(&encoder) {
            attempt.accepted = Some(now);
            attempt.epoch = epoch;
        }
    }

    pub(super) fn refused(&mut self, encoder: u32) {
        self.0.remove(&encoder);
    }

    pub(super) fn ended(&mut self, encoder: u32, now: Duration) {
        if let Some(attempt) = self.0.get_mut(&encoder) {
            attempt.end.get_or_insert(now);
        }
    }

    /// Returns whether an encoder that is still connected has a later epoch than another one.
    pub(super) fn stays_before(&self, encoder: u32, other: u32) -> bool {
        let on_air = self.0.get(&encoder).filter(|it| it.end.is_none());
        let epoch = on_air.and_then(|it| it.epoch);
        let other = self.0.get(&other).and_then(|it| it.epoch);
        epoch.zip(other).is_some_and(|(epoch, other)| epoch > other)
    }

    /// Marks an encoder as superseded. Returns whether there is another one, not superseded itself, that may have done so.
    pub(super) fn is_superseded(&mut self, encoder: u32, precedence: Precedence) -> bool {
        let Some(superseded) = self.0.get_mut(&encoder) else {
            return false;
        };
        superseded.is_superseded = true;
        let superseded = *superseded;
        let mut others = self.0.iter().filter(|(it, _)| **it != encoder);
        others.any(|(_, other)| {
            let ended = other
                .end
                .is_some_and(|end| end + NOTICED < superseded.begin);
            !other.is_superseded && !ended && precedence.allows(&superseded, other)
        })
    }
}

impl Precedence {
    /// Returns whether `other` may supersede an encoder.
    fn allows(self, superseded: &Attempt, other: &Attempt) -> bool {
        // It may have been accepted without knowing.
        let Some(accepted) = other.accepted.or(other.end) else {
            return true;
        };
        match self {
            Self::Later(before) => accepted + before >= superseded.begin,
            Self::AtOnce(time) => {
                let own = superseded.accepted.unwrap_or(superseded.begin);
                accepted.abs_diff(own) <= time
            }
            Self::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn both_accepted(first: Duration, second: Duration) -> Attempts {
        let mut attempts = Attempts::default();
        for (encoder, at) in [(1, first), (2, second)] {
            attempts.begin(encoder, at);
            attempts.accepted(encoder, None, at);
        }
        attempts
    }

    #[test]
    fn later_encoder_supersedes_and_none_supersedes_it() {
        let mut attempts = both_accepted(SECOND, 9 * SECOND);
        assert!(attempts.is_superseded(1, Precedence::Later(SECOND)));
        assert!(!attempts.is_superseded(2, Precedence::Later(SECOND)));
    }

    #[test]
    fn earlier_encoder_supersedes_only_by_a_clock_that_is_ahead() {
        let supersedes =
            |precedence| both_accepted(SECOND, 4 * SECOND).is_superseded(2, precedence);
        assert!(!supersedes(Precedence::Later(SECOND)));
        assert!(supersedes(Precedence::Later(5 * SECOND)));
        assert!(supersedes(Precedence::Any));
    }

    #[test]
    fn encoder_that_begins_at_the_same_time_supersedes_where_others_are_rejected() {
        let at_once = Precedence::AtOnce(SECOND);
        assert!(both_accepted(SECOND, 2 * SECOND).is_superseded(1, at_once));
        assert!(!both_accepted(SECOND, 3 * SECOND).is_superseded(1, at_once));
        assert!(!both_accepted(SECOND, 3 * SECOND).is_superseded(2, at_once));
    }

    #[test]
    fn encoder_with_the_latest_epoch_stays_until_its_connection_ends() {
        let mut attempts = Attempts::default();
        for (encoder, epoch) in [(1, Some(7)), (2, Some(5)), (3, None)] {
            attempts.begin(encoder, SECOND);
            attempts.accepted(encoder, epoch.map(Epoch), SECOND);
        }
        assert!(attempts.stays_before(1, 2));
        for (encoder, other) in [(2, 1), (1, 1), (1, 3), (3, 2)] {
            assert!(!attempts.stays_before(encoder, other));
        }
        attempts.ended(1, 2 * SECOND);
        assert!(!attempts.stays_before(1, 2));
    }

    #[test]
    fn encoder_that_left_long_ago_or_was_refused_supersedes_none() {
        let mut attempts = both_accepted(SECOND, 99 * SECOND);
        attempts.ended(1, 2 * SECOND);
        assert!(!attempts.is_superseded(2, Precedence::Any));
        let mut attempts = both_accepted(99 * SECOND, SECOND);
        attempts.refused(2);
        assert!(!attempts.is_superseded(1, Precedence::Any));
    }
}
