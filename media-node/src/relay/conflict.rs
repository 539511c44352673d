//! Before an encoder may begin: which epoch its publication gets, and whether the cluster lets it in.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use media_config::{DuplicatePublish, Role};
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::time::{Instant, sleep};

use super::body::is_published;
use super::survey::{Survey, Until};
use super::{Backoff, Refusal, Relay};

/// How long an encoder waits for an answer at most, beside one question that is under way.
const LIMIT: Duration = Duration::from_millis(1500);

/// How long the first answer of the name servers is waited for.
const RESOLVE: Duration = Duration::from_millis(500);

/// The lower bits of an epoch are taken by lot. Two nodes whose clocks are behind a third one's would otherwise both
/// take the number after its, and two publications of one epoch would be spliced into one. Costs 4 ms of the order of
/// events, which no encoder can reconnect in.
const LOT_BITS: u32 = 12;

impl Relay {
    /// The epoch that an encoder may publish `key` with.
    ///
    /// All origins are asked for what they know of the stream. The new epoch is above all that they say: a clock that
    /// is ahead elsewhere must not make the new publication look like the old one. With policy `reject`, one that has
    /// it refuses the encoder.
    ///
    /// An origin lets the encoder in whether or not others answer. An edge that reaches no origin refuses it, because
    /// nobody else could watch it and the encoder would not know; unless somebody watches the stream here, for whom it
    /// goes on, and which is forwarded as soon as there is an origin.
    ///
    /// # Errors
    /// With what the encoder is to be told.
    pub(crate) async fn admit(&self, key: &StreamKey) -> Result<Epoch, Refusal> {
        let reject = self.0.config.stream.duplicate_publish == DuplicatePublish::Reject;
        if reject && self.is_published_here(key) {
            return Err(Refusal::AlreadyPublished);
        }
        let mut known = self.known_here(key);
        if self.0.origins.is_some() {
            let survey = self.reach(key).await?;
            if reject && survey.newest().is_some() {
                return Err(Refusal::AlreadyPublished);
            }
            known = survey
                .answers
                .iter()
                .map(super::survey::Answer::epoch)
                .chain(known)
                .max();
        }
        Ok(after(known, now().0, lot(key)))
    }

    fn known_here(&self, key: &StreamKey) -> Option<Epoch> {
        let (epoch, _) = self.0.registry.find(key)?.position()?;
        Some(epoch)
    }

    fn is_published_here(&self, key: &StreamKey) -> bool {
        self.0
            .registry
            .find(key)
            .is_some_and(|stream| is_published(&stream.state()))
    }

    async fn reach(&self, key: &StreamKey) -> Result<Survey, Refusal> {
        let begun = Instant::now();
        if let Some(origins) = self.origins()
            && !self.is_watched(key)
        {
            // A node that has just started may not have resolved their name.
            origins.known(RESOLVE).await;
        }
        let mut backoff = Backoff::new();
        loop {
            let survey = self.survey(key, Duration::ZERO, Until::All).await;
            if !survey.answers.is_empty() || self.0.config.role == Role::Origin {
                return Ok(survey);
            }
            if self.is_watched(key) {
                return Ok(survey);
            }
            if begun.elapsed() >= LIMIT {
                return Err(Refusal::NoOrigin);
            }
            sleep(backoff.next()).await;
        }
    }

    fn is_watched(&self, key: &StreamKey) -> bool {
        self.0
            .registry
            .find(key)
            .is_some_and(|stream| stream.state().viewers > 0)
    }
}

/// An epoch that begins now.
fn now() -> Epoch {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Epoch(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// An epoch above `known` and not before `now`, with a lot in its lower bits.
fn after(known: Option<Epoch>, now: u64, lot: u64) -> Epoch {
    let least = known.map_or(now, |known| now.max(known.0.saturating_add(1)));
    let mask = (1 << LOT_BITS) - 1;
    Epoch((least | mask).saturating_add(1).saturating_add(lot & mask))
}

/// The standard library's hash maps are seeded by the system's random numbers: enough for a lot.
fn lot(key: &StreamKey) -> u64 {
    RandomState::new().hash_one(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_after_what_is_known_even_if_that_lies_in_the_future() {
        for known in [0, 999, 1_000_000, 5_000_000_000] {
            for lot in [0, 1, 4095, u64::MAX] {
                let epoch = after(Some(Epoch(known)), 1_000_000, lot);
                assert!(epoch.0 > known && epoch.0 > 1_000_000);
                assert!(epoch.0 <= known.max(1_000_000) + 2 * 4096);
            }
        }
    }

    #[test]
    fn two_nodes_with_late_clocks_do_not_take_the_same_epoch() {
        let known = Some(Epoch(1 << 40));
        assert_ne!(after(known, 5, 17), after(known, 6, 18));
    }
}
