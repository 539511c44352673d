//! The order of a rollout: edges first, origins last, and never more terminating Pods than wanted ones.

use kube::ResourceExt;
use livecluster_api::LiveCluster;
use livecluster_api::names;
use media_config::Role;

use crate::desired::Desired;
use crate::desired::child::ChildKind;
use crate::observe::observed::Observed;
use crate::status::input::RolloutHold;

/// Returns why `role` keeps its current Pod template for now, if it does.
///
/// The hold applies to the role's Deployment and ConfigMap together: a container that restarts meanwhile reads the file
/// that belongs to its template. A role without a Deployment is never on hold, nor is one whose template is unchanged.
pub(super) fn hold(
    cluster: &LiveCluster,
    observed: &Observed,
    desired: &Desired,
    role: Role,
) -> Option<RolloutHold> {
    if !changes(cluster, observed, desired, role) {
        return None;
    }
    if role == Role::Origin {
        let edges = observed.role(cluster, Role::Edge);
        let is_new = !changes(cluster, observed, desired, Role::Edge);
        if !is_new || !edges.is_updated() {
            return Some(RolloutHold::EdgesFirst);
        }
    }
    let current = observed.role(cluster, role);
    // A template whose Pods do not become ready is never kept: the change may fix it.
    let is_healthy = current.is_settled() && !current.is_stuck;
    (is_healthy && current.terminating > current.wanted).then_some(RolloutHold::Draining)
}

/// Returns whether the role's Deployment exists and its template differs from the desired one.
fn changes(cluster: &LiveCluster, observed: &Observed, desired: &Desired, role: Role) -> bool {
    let Some(live) = observed.deployment(cluster, role) else {
        return false;
    };
    let wanted = desired
        .children
        .iter()
        .filter(|child| child.kind == ChildKind::Deployment && child.role == Some(role))
        .find_map(|child| child.template_hash());
    live.annotations()
        .get(names::TEMPLATE_HASH)
        .map(String::as_str)
        != wanted
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::desired::defaults::Defaults;
    use crate::desired::desired;

    fn cluster(spec: Value) -> LiveCluster {
        serde_json::from_value(json!({
            "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
            "metadata": {"name": "demo", "namespace": "media", "uid": "u"}, "spec": spec
        }))
        .unwrap()
    }

    fn wanted(cluster: &LiveCluster) -> Desired {
        desired(cluster, &Defaults::default(), &[]).unwrap()
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

    fn terminating(role: &str, count: usize) -> Value {
        let pod = json!({"metadata": {
            "labels": {"app.kubernetes.io/component": role},
            "deletionTimestamp": "2026-11-22T10:00:00Z"
        }});
        vec![pod; count].into()
    }

    fn holds(spec: Value, observed: &Observed) -> [Option<RolloutHold>; 2] {
        let cluster = cluster(spec);
        let wanted = wanted(&cluster);
        [Role::Edge, Role::Origin].map(|role| hold(&cluster, observed, &wanted, role))
    }

    #[test]
    fn unchanged_template_is_never_on_hold() {
        let mut observed = settled(&cluster(json!({})));
        observed.pods = serde_json::from_value(terminating("edge", 9)).unwrap();
        assert_eq!(holds(json!({}), &observed), [None, None]);
    }

    #[test]
    fn origins_wait_for_edges() {
        let observed = settled(&cluster(json!({})));
        let held = Some(RolloutHold::EdgesFirst);
        assert_eq!(holds(json!({"image": "x:2"}), &observed), [None, held]);
    }

    #[test]
    fn origins_that_change_alone_do_not_wait() {
        let observed = settled(&cluster(json!({})));
        let spec = json!({"origins": {"drainTimeoutSeconds": 1}});
        assert_eq!(holds(spec, &observed), [None, None]);
    }

    #[test]
    fn origins_do_not_wait_for_edges_that_only_scale() {
        let mut observed = settled(&cluster(json!({})));
        let status = observed.deployments[0].status.as_mut().unwrap();
        (status.replicas, status.updated_replicas) = (Some(50), Some(50));
        let spec = json!({"origins": {"drainTimeoutSeconds": 1}, "edges": {"replicas": 50}});
        assert_eq!(holds(spec, &observed), [None, None]);
    }

    #[test]
    fn rollout_waits_while_more_pods_terminate_than_are_wanted() {
        let mut observed = settled(&cluster(json!({})));
        observed.pods = serde_json::from_value(terminating("edge", 2)).unwrap();
        assert_eq!(holds(json!({"image": "x:2"}), &observed)[0], None);
        observed.pods = serde_json::from_value(terminating("edge", 3)).unwrap();
        let held = Some(RolloutHold::Draining);
        assert_eq!(holds(json!({"image": "x:2"}), &observed)[0], held);
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
