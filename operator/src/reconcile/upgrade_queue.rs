//! Limits the rollouts that the operator itself causes: its upgrade may change the Pod template of every cluster. A few clusters
//! roll at a time, so that a fault shows at these.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use livecluster_api::ClusterName;
use tokio::time::Instant;

/// Clusters that roll at a time.
const CONCURRENCY: usize = 3;
/// Time between the end of one cluster's rollout and the begin of the next one's.
const PAUSE: Duration = Duration::from_secs(30);
/// Longest time that a cluster takes a place: one that cannot settle does not hold the others forever. It is the progress
/// deadline of a Deployment.
const PLACE_LIMIT: Duration = Duration::from_secs(600);

/// The clusters that roll because the operator has changed.
#[derive(Debug, Default)]
pub(super) struct UpgradeQueue {
    /// Until when each cluster takes a place.
    places: Mutex<HashMap<ClusterName, Instant>>,
}

impl UpgradeQueue {
    /// Returns whether a cluster may roll now. It then takes a place until it is settled.
    pub(super) fn may_roll(&self, cluster: &ClusterName) -> bool {
        let now = Instant::now();
        let mut places = self.lock();
        places.retain(|_, until| now < *until);
        if places.contains_key(cluster) {
            return true;
        }
        if places.len() >= CONCURRENCY {
            return false;
        }
        places.insert(cluster.clone(), now + PLACE_LIMIT);
        true
    }

    /// Frees the place of a settled cluster after a pause.
    pub(super) fn settle(&self, cluster: &ClusterName) {
        if let Some(until) = self.lock().get_mut(cluster) {
            *until = (*until).min(Instant::now() + PAUSE);
        }
    }

    /// Drops the state of a cluster.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.lock().remove(cluster);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterName, Instant>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> ClusterName {
        ClusterName::new("media", format!("demo-{number}"))
    }

    #[tokio::test(start_paused = true)]
    async fn few_clusters_roll_at_a_time() {
        let queue = UpgradeQueue::default();
        let rolling = || {
            (0..9)
                .filter(|number| queue.may_roll(&name(*number)))
                .count()
        };
        assert_eq!((rolling(), rolling()), (CONCURRENCY, CONCURRENCY));
        queue.settle(&name(0));
        assert!(!queue.may_roll(&name(5)));
        tokio::time::advance(PAUSE).await;
        assert!(queue.may_roll(&name(5)));
        assert!(!queue.may_roll(&name(6)));
        queue.forget(&name(5));
        assert!(queue.may_roll(&name(6)));
    }

    #[tokio::test(start_paused = true)]
    async fn cluster_that_cannot_settle_holds_the_others_for_ten_minutes() {
        let queue = UpgradeQueue::default();
        assert!((0..CONCURRENCY).all(|number| queue.may_roll(&name(number))));
        tokio::time::advance(PLACE_LIMIT - Duration::from_secs(1)).await;
        assert!(!queue.may_roll(&name(8)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(queue.may_roll(&name(8)));
    }
}
