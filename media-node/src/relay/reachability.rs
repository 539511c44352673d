//! Which origins reply. Relays doubt those that do not. [`super::health_check`] finds out when one of them replies again, and the relays
//! that wait for it continue.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Requests that are repeated at one time because their origin replies again.
const MAX_REPEATED: usize = 4;
/// Time for which the result of a check is reused.
const FRESH: Duration = Duration::from_secs(1);

/// What is known about the origins.
#[derive(Default)]
pub(super) struct Reachability {
    origins: Mutex<BTreeMap<SocketAddr, OriginState>>,
    round_trips: Mutex<BTreeMap<SocketAddr, Duration>>,
    due: Notify,
    recoveries: watch::Sender<u64>,
    /// The checks that had a result.
    results: watch::Sender<u64>,
}

#[derive(Clone, Copy, Debug)]
struct OriginState {
    /// When it last did not reply to a relay. The other origins are tried first.
    suspect: Option<Instant>,
    /// When a relay last had a reason to check it.
    doubted: Instant,
    check: Check,
    /// How often it replied again after it did not.
    recoveries: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Due,
    Running {
        /// A request has failed.
        failed: bool,
    },
    Ended {
        at: Instant,
        /// The origin replied. Otherwise the check was given up.
        replied: bool,
    },
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckEnd {
    Replied,
    /// The origin replied after it did not.
    Recovered,
    /// No relay needs the origin any more.
    GivenUp,
}

impl OriginState {
    fn new(now: Instant) -> Self {
        Self {
            suspect: None,
            doubted: now,
            check: Check::Due,
            recoveries: 0,
        }
    }
}

impl Reachability {
    /// Returns whether the origin did not reply within this time.
    pub(super) fn is_suspect(&self, origin: SocketAddr, suspicion: Duration) -> bool {
        let state = self.origins.lock().get(&origin).copied();
        let since = state.and_then(|state| state.suspect);
        since.is_some_and(|since| since.elapsed() < suspicion)
    }

    /// Returns whether the origin could take the place of one that hangs: it is no suspect, or has replied to a check since it became one,
    /// as after a short outage.
    pub(super) fn is_alternative(&self, origin: SocketAddr, suspicion: Duration) -> bool {
        let state = self.origins.lock().get(&origin).copied();
        let has_replied = state.is_some_and(|OriginState { suspect, check, .. }| {
            matches!(check, Check::Ended { at, replied: true } if Some(at) >= suspect)
        });
        has_replied || !self.is_suspect(origin, suspicion)
    }

    /// Returns whether the origin did not reply to the last request, however long ago that was.
    pub(super) fn is_silent(&self, origin: SocketAddr) -> bool {
        let state = self.origins.lock().get(&origin).copied();
        state.is_some_and(|state| state.suspect.is_some())
    }

    /// Records that the origin did not reply to a relay.
    pub(super) fn suspect(&self, origin: SocketAddr) {
        let now = Instant::now();
        let mut origins = self.origins.lock();
        let state = origins.entry(origin);
        let state = state.or_insert_with(|| OriginState::new(now));
        state.suspect = Some(now);
        // However fresh its result is, the origin has failed since.
        if matches!(state.check, Check::Ended { .. }) {
            state.check = Check::Due;
        }
        drop(origins);
        self.doubt(&[origin]);
    }

    /// Records that the origin replied to a relay.
    pub(super) fn trust(&self, origin: SocketAddr) {
        if let Some(state) = self.origins.lock().get_mut(&origin) {
            state.suspect = None;
        }
    }

    /// Records how long an origin took to reply. Longer times count for an eighth: a packet was lost, or one of both is busy.
    pub(super) fn observe_round_trip(&self, origin: SocketAddr, round_trip: Duration) {
        let mut known = self.round_trips.lock();
        let smoothed = known.entry(origin).or_insert(round_trip);
        *smoothed = round_trip.min(*smoothed + round_trip.saturating_sub(*smoothed) / 8);
    }

    /// Returns how long an origin takes to reply; zero when it never did.
    pub(super) fn round_trip(&self, origin: SocketAddr) -> Duration {
        let known = self.round_trips.lock();
        known.get(&origin).copied().unwrap_or_default()
    }

    /// Lets origins be checked, unless they just were.
    pub(super) fn doubt(&self, origins: &[SocketAddr]) {
        let now = Instant::now();
        let mut states = self.origins.lock();
        for origin in origins {
            let new = || OriginState::new(now);
            let state = states.entry(*origin).or_insert_with(new);
            state.doubted = now;
            if matches!(state.check, Check::Ended { at, .. } if at.elapsed() >= FRESH) {
                state.check = Check::Due;
            }
        }
        drop(states);
        self.due.notify_one();
    }

    /// Lets origins be checked, and waits until it is known which one is the first of them that replies.
    pub(super) async fn checked(&self, origins: &[SocketAddr]) {
        self.doubt(origins);
        let mut results = self.results.subscribe();
        loop {
            let mut replies = origins.iter().map(|origin| self.replies(*origin));
            match replies.find(|replies| *replies != Some(false)) {
                // The sender lives as long as `self`.
                Some(None) => drop(results.changed().await),
                Some(Some(_)) | None => return,
            }
        }
    }

    /// Returns whether an origin replies to checks, if that is known.
    pub(super) fn replies(&self, origin: SocketAddr) -> Option<bool> {
        match self.origins.lock().get(&origin)?.check {
            Check::Due | Check::Running { failed: false } => None,
            Check::Running { failed: true } => Some(false),
            Check::Ended { replied, .. } => Some(replied),
        }
    }

    /// Returns a receiver that is notified whenever an origin replies again.
    pub(super) fn recoveries(&self) -> watch::Receiver<u64> {
        self.recoveries.subscribe()
    }

    /// Waits until another origin replies again, since the receiver was made, while this one replies to no check.
    pub(super) async fn another_recovers(
        &self,
        origin: SocketAddr,
        mut recoveries: watch::Receiver<u64>,
    ) {
        loop {
            // The sender lives as long as `self`.
            drop(recoveries.changed().await);
            if self.replies(origin) != Some(true) {
                return;
            }
        }
    }

    /// Sends a request, and sends it again when its origin replies again: the first one may be lost, or sent again late. Returns the
    /// first success, or the last error.
    pub(super) async fn repeat<T, E, F>(
        &self,
        origin: SocketAddr,
        mut request: impl FnMut() -> F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut recoveries = self.recoveries();
        let mut known = self.recoveries_of(origin);
        let mut requests = FuturesUnordered::new();
        requests.push(request());
        loop {
            tokio::select! {
                Some(result) = requests.next() => match result {
                    Err(_) if !requests.is_empty() => {}
                    result => return result,
                },
                // The sender lives as long as `self`.
                _ = recoveries.changed() => {
                    let now = self.recoveries_of(origin);
                    if std::mem::replace(&mut known, now) != now && requests.len() < MAX_REPEATED {
                        requests.push(request());
                    }
                }
            }
        }
    }

    fn recoveries_of(&self, origin: SocketAddr) -> u64 {
        let state = self.origins.lock().get(&origin).copied();
        state.map_or(0, |state| state.recoveries)
    }

    /// Returns the origins whose check is due. It counts as begun.
    pub(super) fn begin(&self) -> Vec<SocketAddr> {
        let mut origins = self.origins.lock();
        let due = origins
            .iter_mut()
            .filter(|(_, state)| state.check == Check::Due);
        due.map(|(origin, state)| {
            state.check = Check::Running { failed: false };
            *origin
        })
        .collect()
    }

    /// Records that a request of a check has failed.
    pub(super) fn fail(&self, origin: SocketAddr) {
        if let Some(state) = self.origins.lock().get_mut(&origin) {
            state.check = Check::Running { failed: true };
        }
        self.results.send_modify(|count| *count += 1);
    }

    /// Records the end of a check.
    pub(super) fn end(&self, origin: SocketAddr, end: CheckEnd) {
        let at = Instant::now();
        if let Some(state) = self.origins.lock().get_mut(&origin) {
            let replied = end != CheckEnd::GivenUp;
            state.check = Check::Ended { at, replied };
            if end == CheckEnd::Recovered {
                state.suspect = None;
                state.recoveries += 1;
            }
        }
        self.results.send_modify(|count| *count += 1);
        if end == CheckEnd::Recovered {
            self.recoveries.send_modify(|count| *count += 1);
        }
    }

    /// Returns whether a relay had a reason to check the origin within this time.
    pub(super) fn is_doubted(&self, origin: SocketAddr, time: Duration) -> bool {
        let state = self.origins.lock().get(&origin).copied();
        state.is_some_and(|state| state.doubted.elapsed() < time)
    }

    /// Waits until a check is due.
    pub(super) async fn check_due(&self) {
        self.due.notified().await;
    }

    /// Forgets origins that are gone.
    pub(super) fn retain(&self, current: &[SocketAddr]) {
        self.origins.lock().retain(|origin, state| {
            current.contains(origin) || matches!(state.check, Check::Running { .. })
        });
        self.round_trips
            .lock()
            .retain(|origin, _| current.contains(origin));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn suspect_is_an_alternative_once_it_replies_to_a_check() {
        let (reachability, origin) = (Reachability::default(), ([127, 0, 0, 1], 9090).into());
        let suspicion = Duration::from_secs(10);
        let is_alternative = || reachability.is_alternative(origin, suspicion);
        assert!(is_alternative());
        for (end, expected) in [(CheckEnd::GivenUp, false), (CheckEnd::Replied, true)] {
            reachability.suspect(origin);
            assert!(!is_alternative());
            assert_eq!(reachability.begin(), [origin]);
            assert!(!is_alternative());
            reachability.end(origin, end);
            assert_eq!(is_alternative(), expected);
            assert!(reachability.is_suspect(origin, suspicion));
        }
    }
}
