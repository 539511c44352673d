//! When a cluster is reconciled again without a change.

use std::collections::HashMap;
use std::time::Duration;

use kube::ResourceExt;
use livecluster_api::names::ROLES;
use livecluster_api::{ClusterName, LiveCluster};
use parking_lot::Mutex;

use crate::status::input::{Reason, StatusInput};
use crate::status::routes::awaits_gateway;

/// Time until a settled cluster is reconciled again, in case that a change was missed, and for what is not watched: whether the
/// objects to which its spec refers still exist.
pub(super) const SETTLED_INTERVAL: Duration = Duration::from_secs(900);
/// First time until a cluster whose Pods start or terminate is reconciled again.
pub(super) const PROGRESSING_INTERVAL: Duration = Duration::from_secs(10);
/// First time until a cluster that waits for a foreign or missing object, or for the address of a Gateway, is reconciled again: these
/// are not watched.
pub(super) const WAITING_INTERVAL: Duration = Duration::from_secs(15);
/// First time until a cluster that waits for the garbage collector is reconciled again. It needs seconds, unless a finalizer
/// keeps the object.
pub(super) const LEFT_OVER_INTERVAL: Duration = Duration::from_secs(2);
/// Time until a cluster with a rejected object is reconciled again: only a change of the spec or of the API server helps.
pub(super) const REJECTED_INTERVAL: Duration = Duration::from_secs(60);
/// Time until the operator looks again whether another one still reconciles a cluster.
pub(super) const FOREIGN_INTERVAL: Duration = Duration::from_secs(30);
/// Longest time until a cluster that is not settled is reconciled again. The watches report everything else.
const MAX_UNSETTLED_INTERVAL: Duration = Duration::from_secs(60);

/// Chooses the time until the next reconciliation. It grows while a cluster neither settles nor changes: many clusters that
/// cannot settle would otherwise load the API server.
#[derive(Debug, Default)]
pub(super) struct RequeueBackoff {
    /// Consecutive reconciliations of each unsettled cluster that changed nothing.
    unchanged: Mutex<HashMap<ClusterName, u32>>,
}

impl RequeueBackoff {
    /// Returns the time until the next reconciliation. `has_changed` is whether this one found anything new.
    pub(super) fn interval(
        &self,
        cluster: &LiveCluster,
        input: &StatusInput,
        has_changed: bool,
    ) -> Duration {
        let name = ClusterName::of(cluster);
        let Some(first) = first_interval(cluster, input) else {
            self.forget(&name);
            return SETTLED_INTERVAL + jitter(&cluster.uid().unwrap_or_default());
        };
        let mut unchanged = self.unchanged.lock();
        let count = unchanged.entry(name).or_insert(0);
        *count = if has_changed {
            0
        } else {
            count.saturating_add(1)
        };
        let factor = 2_u32.saturating_pow(*count);
        first.saturating_mul(factor).min(MAX_UNSETTLED_INTERVAL)
    }

    /// Drops the state of a cluster.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.unchanged.lock().remove(cluster);
    }
}

/// Returns the first interval of a cluster that is not settled.
fn first_interval(cluster: &LiveCluster, input: &StatusInput) -> Option<Duration> {
    let is_progressing = ROLES.iter().any(|role| {
        let observed = input.observed.role(cluster, *role);
        !observed.is_settled() || observed.terminating > 0 || observed.retiring > 0
    });
    let has = |reason| input.errors.iter().any(|error| error.reason == reason);
    if has(Reason::LeftOver) {
        Some(LEFT_OVER_INTERVAL)
    } else if has(Reason::NameConflict)
        || !input.references.missing.is_empty()
        || awaits_gateway(cluster, &input.observed.gateways)
    {
        Some(WAITING_INTERVAL)
    } else if !input.errors.is_empty() || !input.edited.is_empty() {
        Some(REJECTED_INTERVAL)
    } else if !cluster.spec.paused && (is_progressing || !input.holds.is_empty()) {
        Some(PROGRESSING_INTERVAL)
    } else {
        None
    }
}

/// Returns up to five minutes that depend on the UID, so that many clusters are not reconciled in one moment.
pub(super) fn jitter(uid: &str) -> Duration {
    let hash: u64 = uid.bytes().fold(0, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(byte.into())
    });
    Duration::from_secs(hash % 300)
}
