//! Limits the rollouts that the operator itself causes: its upgrade may change the Pod template of every cluster. The clusters roll one
//! after another, or a few at a time, so that a fault shows at the first ones.

use std::collections::HashMap;
use std::time::Duration;

use livecluster_api::{ClusterName, LiveCluster, LiveClusterSpec};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use super::apply_cache::fingerprint;

/// Longest time that a cluster takes a place: one that cannot settle does not hold the others forever. It is the progress
/// deadline of a Deployment.
const PLACE_LIMIT: Duration = Duration::from_secs(600);

/// How fast the clusters roll when the operator has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradePace {
    /// Clusters that roll at a time.
    pub concurrency: usize,
    /// Time between the end of one cluster's rollout and the begin of the next one's, and before the first one.
    pub pause: Duration,
}

/// The clusters that roll because the operator has changed.
#[derive(Debug)]
pub(super) struct UpgradeQueue {
    pace: UpgradePace,
    /// End of the first pause. Until then a new leader finds the clusters that roll already.
    begin: Instant,
    /// Until when each cluster takes a place.
    places: Mutex<HashMap<ClusterName, Instant>>,
    /// The spec of each cluster whose Pods are to change.
    specs: Mutex<HashMap<ClusterName, SeenSpec>>,
}

/// The spec of a cluster as this leader saw it last.
#[derive(Clone, Copy, Debug)]
struct SeenSpec {
    /// Fingerprint of what may change Pods.
    fingerprint: u64,
    /// Whether it has changed under this leader.
    is_changed: bool,
}

impl UpgradeQueue {
    /// Returns a queue of a new leader.
    pub(super) fn new(pace: UpgradePace) -> Self {
        Self {
            pace,
            begin: Instant::now() + pace.pause,
            places: Mutex::default(),
            specs: Mutex::default(),
        }
    }

    /// Returns whether it is the operator, and not the spec of the cluster, that has changed its Pods. A change of the spec stays one
    /// while it waits, although the status is about it already. Another number of Pods is none: all clusters with an autoscaler would
    /// roll at its next decision, however many there are.
    pub(super) fn is_upgrade(&self, cluster: &LiveCluster) -> bool {
        let status = cluster.status.as_ref();
        let observed = status.and_then(|status| status.observed_generation);
        let fingerprint = pods_fingerprint(&cluster.spec);
        let mut specs = self.specs.lock();
        let name = ClusterName::of(cluster);
        let is_changed = match specs.get(&name) {
            Some(seen) => seen.is_changed || seen.fingerprint != fingerprint,
            None => observed != cluster.metadata.generation,
        };
        let seen = SeenSpec {
            fingerprint,
            is_changed,
        };
        specs.insert(name, seen);
        !is_changed
    }

    /// Returns whether a cluster may roll now. It then takes a place until it is settled.
    pub(super) fn may_roll(&self, cluster: &ClusterName) -> bool {
        let now = Instant::now();
        let mut places = self.places.lock();
        places.retain(|_, until| now < *until);
        if places.contains_key(cluster) {
            return true;
        }
        if now < self.begin || places.len() >= self.pace.concurrency {
            return false;
        }
        places.insert(cluster.clone(), now + PLACE_LIMIT);
        true
    }

    /// Gives a place to a cluster that rolls already while this leader is new: the former one may have let it.
    pub(super) fn found_rolling(&self, cluster: &ClusterName) {
        let now = Instant::now();
        if now < self.begin {
            let mut places = self.places.lock();
            places.entry(cluster.clone()).or_insert(now + PLACE_LIMIT);
        }
    }

    /// Frees the place of a settled cluster after a pause.
    pub(super) fn settle(&self, cluster: &ClusterName) {
        if let Some(until) = self.places.lock().get_mut(cluster) {
            *until = (*until).min(Instant::now() + self.pace.pause);
        }
    }

    /// Drops the state of a cluster.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.places.lock().remove(cluster);
        self.specs.lock().remove(cluster);
    }
}

/// Returns a fingerprint of a spec without the numbers of its Pods.
fn pods_fingerprint(spec: &LiveClusterSpec) -> u64 {
    let mut spec = spec.clone();
    (spec.origins.replicas, spec.edges.replicas) = (0, 0);
    fingerprint(&json!(spec))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    fn name(number: usize) -> ClusterName {
        ClusterName::new("media", format!("demo-{number}"))
    }

    fn new_leader(concurrency: usize) -> UpgradeQueue {
        UpgradeQueue::new(UpgradePace {
            concurrency,
            pause: PAUSE,
        })
    }

    /// Returns the clusters that may roll.
    fn rolling(queue: &UpgradeQueue) -> Vec<usize> {
        let may_roll = |number: &usize| queue.may_roll(&name(*number));
        (0..9).filter(may_roll).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn clusters_roll_one_after_another_with_a_pause() {
        let queue = new_leader(1);
        assert!(rolling(&queue).is_empty());
        tokio::time::advance(PAUSE).await;
        assert_eq!(rolling(&queue), [0]);
        queue.settle(&name(0));
        tokio::time::advance(PAUSE - Duration::from_secs(1)).await;
        // Settling again does not prolong the pause.
        queue.settle(&name(0));
        assert_eq!(rolling(&queue), [0]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(queue.may_roll(&name(5)));
        assert_eq!(rolling(&queue), [5]);
        queue.forget(&name(5));
        assert_eq!(rolling(&queue), [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn few_clusters_roll_at_a_time_where_that_is_allowed() {
        let queue = new_leader(3);
        tokio::time::advance(PAUSE).await;
        assert_eq!(rolling(&queue), [0, 1, 2]);
        assert_eq!(rolling(&queue), [0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn new_leader_waits_for_the_clusters_that_roll_already() {
        let queue = new_leader(1);
        queue.found_rolling(&name(7));
        tokio::time::advance(PAUSE).await;
        assert_eq!(rolling(&queue), [7]);
        // A rollout of the spec is none of the operator's.
        queue.found_rolling(&name(8));
        queue.settle(&name(7));
        tokio::time::advance(PAUSE).await;
        assert_eq!(rolling(&queue), [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn cluster_that_cannot_settle_holds_the_others_for_ten_minutes() {
        let queue = new_leader(1);
        tokio::time::advance(PAUSE).await;
        assert_eq!(rolling(&queue), [0]);
        tokio::time::advance(PLACE_LIMIT - Duration::from_secs(1)).await;
        assert!(!queue.may_roll(&name(8)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(queue.may_roll(&name(8)));
    }
}
