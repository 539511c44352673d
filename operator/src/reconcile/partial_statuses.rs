//! Statuses of which a CustomResourceDefinition that is older than this operator keeps only a part. What it keeps never equals what the
//! operator computes, so the operator remembers what it has written.

use std::collections::HashMap;
use std::time::Duration;

use livecluster_api::{ClusterName, LiveClusterStatus};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Time after which an unchanged status is written again: the definition may have been upgraded.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(600);

/// The last status of each cluster that was kept only in part.
#[derive(Debug, Default)]
pub(super) struct PartialStatuses {
    written: Mutex<HashMap<ClusterName, PartialStatus>>,
}

#[derive(Debug)]
struct PartialStatus {
    at: Instant,
    whole: Value,
    /// The part that the API server has kept.
    kept: LiveClusterStatus,
}

impl PartialStatuses {
    /// Notes that the API server has kept only `kept` of a status. A part that this version cannot read is not noted.
    pub(super) fn insert(&self, cluster: &ClusterName, whole: Value, kept: Value) {
        if let Ok(kept) = serde_json::from_value(kept) {
            let at = Instant::now();
            let status = PartialStatus { at, whole, kept };
            self.written.lock().insert(cluster.clone(), status);
        }
    }

    /// Returns whether `whole` has been written, and the cluster has still what was kept of it.
    pub(super) fn is_written(
        &self,
        cluster: &ClusterName,
        whole: &LiveClusterStatus,
        present: Option<&LiveClusterStatus>,
    ) -> bool {
        let written = self.written.lock();
        written.get(cluster).is_some_and(|status| {
            status.at.elapsed() < RETRY_INTERVAL
                && present == Some(&status.kept)
                && status.whole == json!(whole)
        })
    }

    /// Drops the state of a cluster.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.written.lock().remove(cluster);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(image: Option<&str>, draining_pods: i32) -> LiveClusterStatus {
        LiveClusterStatus {
            image: image.map(str::to_owned),
            draining_pods,
            ..LiveClusterStatus::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn status_is_written_again_when_either_part_changes_and_after_ten_minutes() {
        let (partial, demo) = (
            PartialStatuses::default(),
            ClusterName::new("media", "demo"),
        );
        let (whole, kept) = (status(Some("a"), 1), status(None, 1));
        assert!(!partial.is_written(&demo, &whole, Some(&kept)));
        partial.insert(&demo, json!(whole), json!(kept));
        assert!(partial.is_written(&demo, &whole, Some(&kept)));
        let other = ClusterName::new("media", "other");
        assert!(!partial.is_written(&other, &whole, Some(&kept)));
        assert!(!partial.is_written(&demo, &status(Some("b"), 1), Some(&kept)));
        assert!(!partial.is_written(&demo, &whole, Some(&status(None, 2))));
        assert!(!partial.is_written(&demo, &whole, None));
        tokio::time::advance(RETRY_INTERVAL).await;
        assert!(!partial.is_written(&demo, &whole, Some(&kept)));
    }
}
