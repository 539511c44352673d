//! Detects loops and reconciliations that stand still: the check behind `/livez`.
//!
//! A process that answers its probes may still do no work. So the loops themselves report here, and the probe fails
//! when one of them has not reported for too long.

use std::collections::HashMap;
use std::time::Duration;

use livecluster_api::ClusterName;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Time that a reconciliation may take. Each of its requests has a time limit, so all of them together have one.
const RECONCILIATION_LIMIT: Duration = Duration::from_secs(300);

/// The heartbeats of the loops, and the reconciliations in progress.
#[derive(Debug, Default)]
pub struct Watchdog {
    activity: Mutex<Activity>,
}

#[derive(Debug, Default)]
struct Activity {
    /// Time of each loop's last heartbeat, and the time until its next one.
    heartbeats: HashMap<String, (Instant, Duration)>,
    reconciliations: HashMap<u64, (ClusterName, Instant)>,
    last_id: u64,
}

impl Watchdog {
    /// Records a heartbeat of a loop. The next one is due within `limit`.
    pub fn heartbeat(&self, name: &str, limit: Duration) {
        let heartbeat = (Instant::now(), limit);
        self.activity
            .lock()
            .heartbeats
            .insert(name.to_owned(), heartbeat);
    }

    /// Expects no further heartbeat of a loop: it has ended on purpose.
    pub fn remove(&self, name: &str) {
        self.activity.lock().heartbeats.remove(name);
    }

    /// Records the start of a reconciliation. It ends when the guard is dropped.
    pub fn start_reconciliation(&self, cluster: &ClusterName) -> ReconciliationGuard<'_> {
        let mut activity = self.activity.lock();
        activity.last_id += 1;
        let id = activity.last_id;
        activity
            .reconciliations
            .insert(id, (cluster.clone(), Instant::now()));
        ReconciliationGuard { watchdog: self, id }
    }

    /// Returns what stands still, if anything does.
    pub fn stalled(&self) -> Option<String> {
        let activity = self.activity.lock();
        let heartbeat = activity.heartbeats.iter().find_map(|(name, (at, limit))| {
            let age = at.elapsed();
            (age > *limit).then(|| format!("no heartbeat of {name} for {} s", age.as_secs()))
        });
        heartbeat.or_else(|| {
            activity.reconciliations.values().find_map(|(cluster, at)| {
                let age = at.elapsed();
                (age > RECONCILIATION_LIMIT)
                    .then(|| format!("the reconciliation of {cluster} takes {} s", age.as_secs()))
            })
        })
    }
}

/// A reconciliation in progress.
#[derive(Debug)]
pub struct ReconciliationGuard<'a> {
    watchdog: &'a Watchdog,
    id: u64,
}

impl Drop for ReconciliationGuard<'_> {
    fn drop(&mut self) {
        self.watchdog
            .activity
            .lock()
            .reconciliations
            .remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn loop_without_heartbeat_is_stalled() {
        let watchdog = Watchdog::default();
        assert_eq!(watchdog.stalled(), None);
        watchdog.heartbeat("lease", Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(watchdog.stalled(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(
            watchdog.stalled().as_deref(),
            Some("no heartbeat of lease for 11 s")
        );
        watchdog.heartbeat("lease", Duration::from_secs(10));
        assert_eq!(watchdog.stalled(), None);
        tokio::time::advance(Duration::from_secs(11)).await;
        watchdog.remove("lease");
        assert_eq!(watchdog.stalled(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn reconciliation_that_never_ends_is_stalled() {
        let watchdog = Watchdog::default();
        let guard = watchdog.start_reconciliation(&ClusterName::new("media", "demo"));
        tokio::time::advance(RECONCILIATION_LIMIT + Duration::from_secs(1)).await;
        assert_eq!(
            watchdog.stalled().as_deref(),
            Some("the reconciliation of media/demo takes 301 s")
        );
        drop(guard);
        assert_eq!(watchdog.stalled(), None);
    }
}
