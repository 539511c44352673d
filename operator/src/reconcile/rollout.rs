//! Limits a rollout: never more terminating Pods than wanted ones, and one cluster after another when the operator has changed.
//!
//! Origins and edges roll independently: relays of release N and N-1 understand each other.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use livecluster_api::names;
use livecluster_api::{ClusterName, LiveCluster};
use media_config::Role;

use super::upgrade_queue::UpgradeQueue;
use crate::desired::Desired;
use crate::desired::child::ChildKind;
use crate::observe::observed::{Observed, ObservedRole};
use crate::status::input::RolloutHold;

/// Returns why `role` keeps its current Pod template for now, if it does.
///
/// A role without a Deployment or Pods is never on hold, nor is one whose template is unchanged, nor one whose Pods are not all
/// available: the change may fix them. While Pods are only added, it waits for its turn all the same.
pub(super) fn hold(
    cluster: &LiveCluster,
    observed: &Observed,
    desired: &Desired,
    role: Role,
    queue: &UpgradeQueue,
    now: &Time,
) -> Option<RolloutHold> {
    if !changes(cluster, observed, desired, role) {
        return None;
    }
    let is_upgrade = queue.is_upgrade(cluster);
    let current = observed.role(cluster, role);
    let is_stopped = current.wanted == 0 && current.replicas == 0;
    let is_settled = current.is_settled();
    if is_stopped || current.is_stuck || !(is_settled || only_grows(cluster, &current, role)) {
        return None;
    }
    let draining = draining(observed, role, current.wanted, now);
    if is_settled && draining.is_some() {
        return draining;
    }
    (is_upgrade && !queue.may_roll(&ClusterName::of(cluster))).then_some(RolloutHold::Queued)
}

/// Returns whether a role lacks no other Pods than those that a scale-up adds.
fn only_grows(cluster: &LiveCluster, current: &ObservedRole, role: Role) -> bool {
    let settled = cluster.status.as_ref().map(|status| match role {
        Role::Origin => status.origins.settled_replicas,
        Role::Edge => status.edges.settled_replicas,
    });
    let has_all = settled.is_some_and(|settled| current.serving_available() >= settled.max(1));
    has_all && !current.is_rolling() && current.failure.is_none()
}

/// Returns the hold while more Pods than are wanted terminate within their grace period. After it, a Pod is on a node that does not
/// respond, and may exist forever.
fn draining(observed: &Observed, role: Role, wanted: i32, now: &Time) -> Option<RolloutHold> {
    // The API server adds the grace period to the time of the request.
    let deadlines = observed.pods(role).filter_map(|pod| {
        let deadline = pod.metadata.deletion_timestamp.as_ref()?.0;
        (deadline > now.0).then_some(deadline)
    });
    let mut deadlines: Vec<Timestamp> = deadlines.collect();
    deadlines.sort_unstable();
    let wanted = usize::try_from(wanted).unwrap_or(0);
    let to_end = deadlines.len().checked_sub(wanted + 1)?;
    Some(RolloutHold::Draining {
        terminating: i32::try_from(deadlines.len()).unwrap_or(i32::MAX),
        until: *deadlines.get(to_end)?,
    })
}

/// Returns whether the role's Deployment exists and its template differs from the desired one.
fn changes(cluster: &LiveCluster, observed: &Observed, desired: &Desired, role: Role) -> bool {
    let Some(live) = observed.deployment(cluster, role) else {
        return false;
    };
    let wanted = desired
        .children
        .iter()
        .filter(|child| child.kind == ChildKind::Deployment && child.held_with == Some(role))
        .find_map(|child| child.template_hash());
    live.annotations()
        .get(names::TEMPLATE_HASH)
        .map(String::as_str)
        != wanted
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use livecluster_api::LiveClusterStatus;
    use serde_json::{Value, json};

    use super::super::upgrade_queue::UpgradePace;
    use super::*;
    use crate::desired::defaults::Defaults;
    use crate::desired::desired;
    use crate::desired::gateway_kind::ServedGatewayApi;

    fn cluster(spec: Value) -> LiveCluster {
        serde_json::from_value(json!({
            "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
            "metadata": {"name": "demo", "namespace": "media", "uid": "u"}, "spec": spec
        }))
        .unwrap()
    }

    fn wanted(cluster: &LiveCluster) -> Desired {
        desired(
            cluster,
            &Defaults::default(),
            &[],
            "{}",
            &ServedGatewayApi::default(),
        )
        .unwrap()
    }

    /// Returns the observed state after `cluster` was rolled out.
    fn settled(cluster: &LiveCluster) -> Observed {
        let mut observed = Observed::default();
        for child in wanted(cluster).children {
            if child.kind == ChildKind::Deployment {
                let mut object = child.document;
                object["metadata"]["generation"] = 1.into();
                object["spec"]["replicas"] = 2.into();
                object["status"] = json!({
                    "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2,
                    "readyReplicas": 2, "availableReplicas": 2
                });
                observed
                    .deployments
                    .push(serde_json::from_value(object).unwrap());
            }
        }
        observed
    }

    /// Terminating Pods whose grace period ends at the second 100.
    fn terminating(role: &str, count: usize) -> Value {
        let pod = json!({"metadata": {
            "labels": {"app.kubernetes.io/component": role},
            "deletionTimestamp": "1970-01-01T00:01:40Z"
        }});
        vec![pod; count].into()
    }

    fn new_leader(pause: Duration) -> UpgradeQueue {
        UpgradeQueue::new(UpgradePace {
            concurrency: 1,
            pause,
        })
    }

    fn holds_at(second: i64, spec: Value, observed: &Observed) -> [Option<RolloutHold>; 2] {
        let (cluster, queue) = (cluster(spec), new_leader(Duration::ZERO));
        let wanted = wanted(&cluster);
        let now = Time(Timestamp::from_second(second).unwrap());
        [Role::Edge, Role::Origin].map(|role| hold(&cluster, observed, &wanted, role, &queue, &now))
    }

    fn holds(spec: Value, observed: &Observed) -> [Option<RolloutHold>; 2] {
        holds_at(0, spec, observed)
    }

    #[test]
    fn unchanged_template_is_never_on_hold() {
        let mut observed = settled(&cluster(json!({})));
        observed.pods = serde_json::from_value(terminating("edge", 9)).unwrap();
        assert_eq!(holds(json!({}), &observed), [None, None]);
    }

    #[test]
    fn roles_roll_independently() {
        let mut observed = settled(&cluster(json!({})));
        assert_eq!(holds(json!({"image": "x:2"}), &observed), [None, None]);
        let status = observed.deployments[0].status.as_mut().unwrap();
        (status.updated_replicas, status.available_replicas) = (Some(1), Some(0));
        assert_eq!(holds(json!({"image": "x:2"}), &observed), [None, None]);
        let spec = json!({"origins": {"drainTimeoutSeconds": 1}});
        assert_eq!(holds(spec, &observed), [None, None]);
    }

    #[test]
    fn rollout_waits_while_more_pods_terminate_than_are_wanted() {
        let mut observed = settled(&cluster(json!({})));
        observed.pods = serde_json::from_value(terminating("edge", 2)).unwrap();
        assert_eq!(holds(json!({"image": "x:2"}), &observed), [None, None]);
        observed.pods = serde_json::from_value(terminating("edge", 3)).unwrap();
        let held = Some(RolloutHold::Draining {
            terminating: 3,
            until: Timestamp::from_second(100).unwrap(),
        });
        assert_eq!(holds(json!({"image": "x:2"}), &observed), [held, None]);
    }

    #[test]
    fn pod_on_a_dead_node_holds_no_rollout_after_its_grace_period() {
        let mut observed = settled(&cluster(json!({})));
        observed.pods = serde_json::from_value(terminating("edge", 3)).unwrap();
        let held = |second| holds_at(second, json!({"image": "x:2"}), &observed)[0].is_some();
        assert!(held(99));
        assert!(!held(100));
    }

    #[test]
    fn role_without_pods_waits_for_nobody() {
        let mut observed = settled(&cluster(json!({})));
        let (cluster, queue) = (cluster(json!({"image": "x:2"})), new_leader(Duration::ZERO));
        assert!(queue.may_roll(&ClusterName::new("media", "other")));
        let wanted = wanted(&cluster);
        let held = |observed: &Observed| {
            let now = Time(Timestamp::UNIX_EPOCH);
            hold(&cluster, observed, &wanted, Role::Edge, &queue, &now)
        };
        assert_eq!(held(&observed), Some(RolloutHold::Queued));
        for deployment in &mut observed.deployments {
            deployment.spec.as_mut().unwrap().replicas = Some(0);
            let status = deployment.status.as_mut().unwrap();
            (status.replicas, status.updated_replicas) = (None, None);
            (status.ready_replicas, status.available_replicas) = (None, None);
        }
        assert_eq!(held(&observed), None);
    }

    #[tokio::test(start_paused = true)]
    async fn change_of_the_spec_that_waited_for_a_drain_is_no_upgrade() {
        let mut observed = settled(&cluster(json!({})));
        observed.pods = serde_json::from_value(terminating("edge", 3)).unwrap();
        let mut changed = cluster(json!({"image": "x:2"}));
        let wanted = wanted(&changed);
        let queue = new_leader(Duration::from_secs(60));
        let held = |cluster: &LiveCluster, queue: &UpgradeQueue, second| {
            let now = Time(Timestamp::from_second(second).unwrap());
            hold(cluster, &observed, &wanted, Role::Edge, queue, &now)
        };
        (changed.metadata.generation, changed.status) =
            (Some(2), Some(LiveClusterStatus::default()));
        assert!(matches!(
            held(&changed, &queue, 99),
            Some(RolloutHold::Draining { .. })
        ));
        // The status that says so is of this generation.
        changed.status.as_mut().unwrap().observed_generation = Some(2);
        assert_eq!(held(&changed, &queue, 100), None);
        // Another leader does not know what has changed.
        let other = new_leader(Duration::from_secs(60));
        assert_eq!(held(&changed, &other, 100), Some(RolloutHold::Queued));
    }

    #[test]
    fn role_that_only_grows_waits_for_its_turn_and_one_that_lacks_pods_does_not() {
        let mut observed = settled(&cluster(json!({})));
        let mut cluster = cluster(json!({"image": "x:2"}));
        let queue = new_leader(Duration::from_secs(60));
        let wanted = wanted(&cluster);
        cluster.status = Some(LiveClusterStatus::default());
        let status = cluster.status.as_mut().unwrap();
        status.edges.settled_replicas = 2;
        let held = |observed: &Observed| {
            let now = Time(Timestamp::UNIX_EPOCH);
            hold(&cluster, observed, &wanted, Role::Edge, &queue, &now)
        };
        observed.deployments[0].spec.as_mut().unwrap().replicas = Some(3);
        assert_eq!(held(&observed), Some(RolloutHold::Queued));
        let status = observed.deployments[0].status.as_mut().unwrap();
        (status.replicas, status.updated_replicas) = (Some(3), Some(3));
        assert_eq!(held(&observed), Some(RolloutHold::Queued));
        let status = observed.deployments[0].status.as_mut().unwrap();
        status.available_replicas = Some(1);
        assert_eq!(held(&observed), None);
    }

    #[test]
    fn change_of_a_template_that_is_not_available_does_not_wait() {
        let mut observed = settled(&cluster(json!({})));
        observed.pods = serde_json::from_value(terminating("edge", 3)).unwrap();
        observed.deployments[0]
            .status
            .as_mut()
            .unwrap()
            .available_replicas = Some(1);
        assert_eq!(holds(json!({"image": "x:2"}), &observed)[0], None);
    }
}
