//! Which of several encoders of one stream is on air, with the policy `standby`.
//!
//! The newest publication is on air, as with every policy. An encoder begins one only if it may be on air: nothing else is, or
//! what is on air is silent, or its own priority is higher and it has been steady. So no media node has to agree with another
//! one: two encoders that begin at the same time are one takeover, and the older one stands by.

use std::time::Duration;

use http::HeaderValue;
use media_wire::relay::Epoch;
use tokio::time::Instant;

/// An encoder that would publish a stream.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) priority: u8,
    /// Whether media has arrived from it without silence for long enough to prefer it.
    pub(crate) steady: bool,
    /// What was on air when this encoder began to stand by.
    pub(crate) previous: Option<CurrentPublication>,
}

/// A publication that is on air.
#[derive(Clone, Debug)]
pub(crate) struct CurrentPublication {
    pub(super) epoch: Epoch,
    pub(super) priority: u8,
    /// The time of its last message.
    pub(super) silent_since: Instant,
    pub(super) holder: PublicationHolder,
}

/// The media node that has a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublicationHolder {
    /// This one.
    Here,
    Origin {
        /// Its id.
        node: HeaderValue,
        /// The number of the message that it needed next.
        sequence: u64,
    },
    Unknown,
}

/// Whether an encoder may publish now.
#[derive(Clone, Debug)]
pub(crate) enum Resolution {
    /// It may, with this epoch.
    OnAir(Epoch, SwitchReason),
    /// It stands by. This is what is on air.
    Standby(CurrentPublication),
}

/// Why an encoder may be on air.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SwitchReason {
    /// No other one is.
    Free,
    /// The other one is silent.
    Silent,
    /// The other one has a lower priority, or the policy takes no account of it.
    Preferred,
}

impl SwitchReason {
    /// Value of the metric's label `reason`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Free => "gone",
            Self::Silent => "silent",
            Self::Preferred => "priority",
        }
    }
}

impl Contender {
    /// Returns an encoder that has just connected.
    pub(crate) fn new(priority: u8) -> Self {
        Self {
            priority,
            steady: false,
            previous: None,
        }
    }

    /// Returns an encoder whose publication of `epoch` was superseded. It does not know yet by which one.
    pub(crate) fn superseded(priority: u8, epoch: Epoch) -> Self {
        let previous = CurrentPublication {
            epoch,
            priority: u8::MAX,
            silent_since: Instant::now(),
            holder: PublicationHolder::Unknown,
        };
        Self {
            previous: Some(previous),
            ..Self::new(priority)
        }
    }

    /// Returns why this encoder may be on air, or the publication for which it stands by. `on_air` is the newest publication that
    /// was found. Where none was found, `is_over` returns whether a media node reports the end of the previous one: an origin that does
    /// not reply may still have it, or its edge may be about to move.
    pub(super) fn compare(
        &self,
        on_air: Option<CurrentPublication>,
        is_over: impl FnOnce(&CurrentPublication) -> bool,
        failover_after: Duration,
    ) -> Result<SwitchReason, CurrentPublication> {
        let on_air = match (on_air, &self.previous) {
            (Some(on_air), _) => on_air,
            (None, Some(previous)) if !is_over(previous) => previous.clone(),
            (None, _) => return Ok(SwitchReason::Free),
        };
        if on_air.silent_since.elapsed() >= failover_after {
            return Ok(SwitchReason::Silent);
        }
        if self.steady && self.priority > on_air.priority {
            Ok(SwitchReason::Preferred)
        } else {
            Err(on_air)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(2);

    fn on_air(priority: u8, silent: Duration) -> CurrentPublication {
        CurrentPublication {
            epoch: Epoch(1),
            priority,
            silent_since: Instant::now() - silent,
            holder: PublicationHolder::Here,
        }
    }

    fn steady(priority: u8) -> Contender {
        Contender {
            steady: true,
            ..Contender::new(priority)
        }
    }

    fn reason(contender: &Contender, on_air: Option<CurrentPublication>) -> Option<SwitchReason> {
        let unknown = |_: &CurrentPublication| false;
        contender.compare(on_air, unknown, AFTER).ok()
    }

    #[test]
    fn only_a_higher_priority_that_is_steady_is_preferred() {
        let lively = || Some(on_air(5, Duration::ZERO));
        assert_eq!(reason(&steady(6), lively()), Some(SwitchReason::Preferred));
        assert_eq!(reason(&steady(5), lively()), None);
        assert_eq!(reason(&steady(4), lively()), None);
        assert_eq!(reason(&Contender::new(6), lively()), None);
    }

    #[test]
    fn silent_publication_gives_way_to_any_priority() {
        let silent = |time| Some(on_air(9, time));
        assert_eq!(
            reason(&Contender::new(0), silent(AFTER)),
            Some(SwitchReason::Silent)
        );
        assert_eq!(reason(&Contender::new(0), silent(AFTER / 2)), None);
    }

    #[test]
    fn publication_that_is_not_found_counts_as_silent_until_its_media_node_says_that_it_is_over() {
        let waits = |silent| Contender {
            previous: Some(on_air(9, silent)),
            ..Contender::new(0)
        };
        assert_eq!(reason(&waits(AFTER / 2), None), None);
        assert_eq!(reason(&waits(AFTER), None), Some(SwitchReason::Silent));
        let over = waits(Duration::ZERO).compare(None, |_| true, AFTER);
        assert_eq!(over.ok(), Some(SwitchReason::Free));
        assert_eq!(reason(&Contender::new(0), None), Some(SwitchReason::Free));
    }

    #[test]
    fn superseded_encoder_waits_until_it_knows_what_is_on_air() {
        let superseded = Contender::superseded(9, Epoch(1));
        assert_eq!(reason(&superseded, None), None);
    }
}
