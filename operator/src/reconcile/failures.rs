//! Failed reconciliations of each cluster: when one is retried, and when the status reports it.

use std::collections::HashMap;
use std::time::Duration;

use livecluster_api::ClusterName;
use parking_lot::Mutex;

use super::apply::ApplyError;

/// Time until a cluster is retried that the operator itself cannot help.
const ONE_MINUTE: Duration = Duration::from_secs(60);
/// Failures in a row from which on the status reports them. One or two are a restart of the API server or of a webhook.
const PERSISTENT: u32 = 3;

/// Consecutive failures of each cluster.
#[derive(Debug, Default)]
pub(super) struct Failures {
    counts: Mutex<HashMap<ClusterName, u32>>,
}

impl Failures {
    /// Counts a failure, and returns how many there have been in a row.
    pub(super) fn add(&self, cluster: &ClusterName) -> u32 {
        let mut counts = self.counts.lock();
        let count = counts.entry(cluster.clone()).or_insert(0);
        *count = count.saturating_add(1);
        *count
    }

    /// Returns how many failures there have been in a row.
    pub(super) fn count(&self, cluster: &ClusterName) -> u32 {
        self.counts.lock().get(cluster).copied().unwrap_or(0)
    }

    /// Returns whether one more failure is a persistent one.
    pub(super) fn is_persistent(&self, cluster: &ClusterName) -> bool {
        self.count(cluster) + 1 >= PERSISTENT
    }

    /// Drops the failures of a cluster: it was reconciled, or is deleted.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.counts.lock().remove(cluster);
    }
}

/// Returns the time until a cluster is retried after `count` failures in a row.
pub(super) fn retry_interval(error: &ApplyError, count: u32) -> Duration {
    let status = match error {
        ApplyError::NamespaceTerminating => return ONE_MINUTE,
        ApplyError::TimedOut => None,
        ApplyError::Call(call) => call.status(),
    };
    match status {
        Some(status) if status.is_forbidden() => ONE_MINUTE,
        Some(status) if status.is_conflict() && count < 4 => Duration::from_secs(1),
        _ => backoff(count),
    }
}

/// Returns 1, 2, 4 ... 256, 300 seconds.
fn backoff(failures: u32) -> Duration {
    let seconds = 1_u64
        .checked_shl(failures.saturating_sub(1))
        .unwrap_or(u64::MAX);
    Duration::from_secs(seconds.clamp(1, 300))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_up_to_five_minutes() {
        let waits: Vec<_> = [1, 2, 3, 9, 10, 64, u32::MAX]
            .map(|count| retry_interval(&ApplyError::TimedOut, count).as_secs())
            .to_vec();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300, 300]);
    }

    #[test]
    fn third_failure_in_a_row_is_persistent() {
        let (failures, demo) = (Failures::default(), ClusterName::new("media", "demo"));
        failures.add(&demo);
        assert!(!failures.is_persistent(&demo));
        failures.add(&demo);
        assert!(failures.is_persistent(&demo));
        failures.forget(&demo);
        assert!(!failures.is_persistent(&demo));
    }
}
