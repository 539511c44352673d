//! Whether the operator still does its work: the truth behind `/livez`.
//!
//! Operators have been seen wedged for days while their process answered every probe. So the loops themselves report
//! here, and the probe fails when one of them has not been round for too long.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time that a pass may take: each of its calls has a limit, so that all of them together have one, too.
const LONGEST_PASS: Duration = Duration::from_secs(300);

/// Who is alive.
#[derive(Debug, Default)]
pub struct Watchdog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    beats: HashMap<String, (Instant, Duration)>,
    passes: HashMap<u64, (String, Instant)>,
    last_pass: u64,
}

impl Watchdog {
    /// A loop has been round; it is missed when it is not round again within `limit`.
    pub fn beat(&self, name: &str, limit: Duration) {
        let mut state = self.lock();
        state.beats.insert(name.to_owned(), (Instant::now(), limit));
    }

    /// A loop has ended on purpose.
    pub fn ended(&self, name: &str) {
        self.lock().beats.remove(name);
    }

    /// A pass over a cluster begins; it ends with the guard.
    pub fn pass(&self, cluster: &str) -> PassGuard<'_> {
        let mut state = self.lock();
        state.last_pass += 1;
        let number = state.last_pass;
        state
            .passes
            .insert(number, (cluster.to_owned(), Instant::now()));
        PassGuard {
            watchdog: self,
            number,
        }
    }

    /// What does not go on any more; nothing when all is well.
    pub fn complaint(&self) -> Option<String> {
        let state = self.lock();
        let late_beat = state.beats.iter().find_map(|(name, (at, limit))| {
            let silent = at.elapsed();
            (silent > *limit).then(|| format!("{name} is silent for {} s", silent.as_secs()))
        });
        late_beat.or_else(|| {
            state.passes.values().find_map(|(cluster, at)| {
                let takes = at.elapsed();
                (takes > LONGEST_PASS)
                    .then(|| format!("the pass over {cluster} takes {} s", takes.as_secs()))
            })
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pass that goes on.
#[derive(Debug)]
pub struct PassGuard<'a> {
    watchdog: &'a Watchdog,
    number: u64,
}

impl Drop for PassGuard<'_> {
    fn drop(&mut self) {
        self.watchdog.lock().passes.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_is_missed() {
        let watchdog = Watchdog::default();
        assert_eq!(watchdog.complaint(), None);
        watchdog.beat("lease", Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(watchdog.complaint(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(
            watchdog.complaint().as_deref(),
            Some("lease is silent for 11 s")
        );
        watchdog.beat("lease", Duration::from_secs(10));
        assert_eq!(watchdog.complaint(), None);
        tokio::time::advance(Duration::from_secs(11)).await;
        watchdog.ended("lease");
        assert_eq!(watchdog.complaint(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_never_ends_is_missed() {
        let watchdog = Watchdog::default();
        let pass = watchdog.pass("media/demo");
        tokio::time::advance(LONGEST_PASS + Duration::from_secs(1)).await;
        assert_eq!(
            watchdog.complaint().as_deref(),
            Some("the pass over media/demo takes 301 s")
        );
        drop(pass);
        assert_eq!(watchdog.complaint(), None);
    }
}
