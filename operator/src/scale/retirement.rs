//! Which edges retire when there are more than are wanted.
//!
//! A retiring edge has left its Service: it keeps its connections, and gets no new ones. It is removed when its last client has
//! disconnected, or after the retire timeout. Until then the Deployment keeps its replicas, so that no Pod is terminated.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// Time until a Pod that has left its Service gets no further connection: every node has to learn it first.
pub const SETTLE_TIME: Duration = Duration::from_secs(5);

/// An edge Pod that is not terminating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgePod {
    /// Name of the Pod.
    pub name: String,
    /// Whether it is ready.
    pub is_ready: bool,
    /// Whether its container runs. One that is not ready may still serve clients.
    pub is_running: bool,
    /// Since when it retires.
    pub retiring_since: Option<Timestamp>,
    /// Whether it has the lowest deletion cost: it is deleted when the Deployment gets fewer replicas.
    pub is_chosen: bool,
    /// Its viewers and publishers; unknown while it does not respond.
    pub clients: Option<u64>,
}

/// The edges of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeFleet {
    /// Edges that are to serve new clients.
    pub wanted: i32,
    /// Replicas of the Deployment.
    pub replicas: i32,
    /// The Pods.
    pub pods: Vec<EdgePod>,
    /// Time after which a retiring edge is removed although it has clients.
    pub retire_timeout: Duration,
    /// Whether Pods are being replaced. The Deployment would choose the Pods to remove among old and new ones.
    pub is_rolling: bool,
    /// Whether the rollout exceeded its progress deadline. It may stay so without end.
    pub is_stuck: bool,
}

/// The next step from a fleet to its wanted size. Lists are names of Pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetirementPlan {
    /// Pods that leave the Service.
    pub retire: Vec<String>,
    /// Retiring Pods that return to the Service.
    pub restore: Vec<String>,
    /// Retiring Pods that the Deployment removes when it gets its new replicas.
    pub remove: Vec<String>,
    /// New replicas of the Deployment.
    pub replicas: i32,
}

/// Returns the next step at `now`.
///
/// # Guarantees
/// A Pod with clients is removed only after the retire timeout. Pods that are not ready retire first, then the emptiest. When more
/// edges are wanted, retiring ones return before new Pods are created, the fullest first.
pub fn plan(fleet: &EdgeFleet, now: Timestamp) -> RetirementPlan {
    let excess = count(fleet.replicas.saturating_sub(fleet.wanted));
    let pods = remaining(fleet);
    // Pods that the Deployment has not created yet.
    let absent = count(fleet.replicas).saturating_sub(pods.len());
    let absent = if fleet.is_rolling {
        0
    } else {
        absent.min(excess)
    };
    let (mut retiring, mut serving): (Vec<&EdgePod>, Vec<&EdgePod>) = pods
        .iter()
        .copied()
        .partition(|pod| pod.retiring_since.is_some());
    retiring.sort_by_key(|pod| emptiest_first(pod));
    serving.sort_by_key(|pod| emptiest_first(pod));
    let to_retire = excess - absent;
    let restored = retiring.split_off(retiring.len().min(to_retire));
    serving.truncate(to_retire - retiring.len());

    let to_remove: Vec<&EdgePod> = retiring
        .into_iter()
        .chain(serving.iter().copied())
        .filter(|pod| may_be_removed(pod, fleet, now))
        .collect();
    let remove = without_risk(to_remove, &pods, fleet, now);
    let removed = i32::try_from(absent + remove.len()).unwrap_or(i32::MAX);
    RetirementPlan {
        retire: names(&serving),
        restore: names(&restored),
        replicas: fleet.replicas.max(fleet.wanted).saturating_sub(removed),
        remove: names(&remove),
    }
}

/// Returns the Pods without those that the ReplicaSet has yet to delete: its replicas do not include them any more.
fn remaining(fleet: &EdgeFleet) -> Vec<&EdgePod> {
    let mut surplus = if fleet.is_rolling {
        // Those that replace others.
        0
    } else {
        fleet.pods.len().saturating_sub(count(fleet.replicas))
    };
    let mut pods: Vec<&EdgePod> = fleet.pods.iter().collect();
    pods.retain(|pod| {
        let is_deleted = pod.is_chosen && surplus > 0;
        surplus -= usize::from(is_deleted);
        !is_deleted
    });
    pods
}

fn may_be_removed(pod: &EdgePod, fleet: &EdgeFleet, now: Timestamp) -> bool {
    if fleet.is_rolling {
        return fleet.is_stuck && is_overdue(pod, fleet, now);
    }
    let since = pod.retiring_since.unwrap_or(now);
    let is_empty = pod.clients == Some(0) && since + SETTLE_TIME <= now;
    !pod.is_running || is_empty || is_overdue(pod, fleet, now)
}

fn is_overdue(pod: &EdgePod, fleet: &EdgeFleet, now: Timestamp) -> bool {
    let since = pod.retiring_since.unwrap_or(now);
    since + fleet.retire_timeout <= now
}

/// Leaves out Pods in whose place the ReplicaSet would remove another one that may have clients: it removes Pods that are not ready
/// before those of the lowest deletion cost.
fn without_risk<'a>(
    mut remove: Vec<&'a EdgePod>,
    pods: &[&EdgePod],
    fleet: &EdgeFleet,
    now: Timestamp,
) -> Vec<&'a EdgePod> {
    let mut others = pods.iter();
    let is_at_risk = others.any(|pod| !pod.is_ready && pod.is_running && !remove.contains(pod));
    if is_at_risk {
        remove.retain(|pod| !pod.is_ready || is_overdue(pod, fleet, now));
    }
    remove
}

/// A Pod that does not respond may have many clients.
fn emptiest_first(pod: &EdgePod) -> (bool, u64, &str) {
    (pod.is_ready, pod.clients.unwrap_or(u64::MAX), &pod.name)
}

fn names(pods: &[&EdgePod]) -> Vec<String> {
    pods.iter().map(|pod| pod.name.clone()).collect()
}

fn count(replicas: i32) -> usize {
    usize::try_from(replicas).unwrap_or(0)
}

#[cfg(test)]
mod tests;
