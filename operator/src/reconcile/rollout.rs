//! Which role may get a new Pod template now: edges first, origins last, and never more drains than nodes.

use kube::ResourceExt;
use livecluster_api::LiveCluster;
use livecluster_api::names;
use media_config::Role;

use crate::desired::{Desired, Kind};
use crate::observe::observed::Observed;

/// Why a role keeps its present Pod template for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Origins wait until every edge has the new template: readers learn a new format before writers use it.
    EdgesFirst,
    /// More nodes are leaving than there are: another rollout would pile up a further generation.
    Draining,
}

/// Whether `role` keeps its present Pod template for now.
///
/// Held back are the role's Deployment and ConfigMap together: a node that restarts meanwhile reads the file that it
/// was made for. A role that has no Deployment yet is never held back, nor is one whose template stays the same.
pub fn hold(
    cluster: &LiveCluster,
    observed: &Observed,
    desired: &Desired,
    role: Role,
) -> Option<Hold> {
    if !changes(cluster, observed, desired, role) {
        return None;
    }
    if role == Role::Origin {
        let edges = observed.nodes(cluster, Role::Edge);
        let is_new = !changes(cluster, observed, desired, Role::Edge);
        if !is_new || !edges.is_updated() {
            return Some(Hold::EdgesFirst);
        }
    }
    let nodes = observed.nodes(cluster, role);
    // A template that does not come up is never kept: the change may be its cure.
    let is_sound = nodes.is_settled() && !nodes.is_stuck;
    (is_sound && nodes.terminating > nodes.wanted).then_some(Hold::Draining)
}

/// Whether the role's Deployment exists and has another template than the wanted one.
fn changes(cluster: &LiveCluster, observed: &Observed, desired: &Desired, role: Role) -> bool {
    let Some(live) = observed.deployment(cluster, role) else {
        return false;
    };
    let wanted = desired
        .children
        .iter()
        .filter(|child| child.kind == Kind::Deployment && child.role == Some(role))
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
    use crate::desired::{Defaults, desired};

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

    /// What there is after `cluster` was rolled out.
    fn settled(cluster: &LiveCluster) -> Observed {
        let mut observed = Observed::default();
        for child in wanted(cluster).children {
            if child.kind == Kind::Deployment {
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

    fn leaving(role: &str, count: usize) -> Value {
        let pod = json!({"metadata": {
            "labels": {"app.kubernetes.io/component": role},
            "deletionTimestamp": "2026-11-22T10:00:00Z"
        }});
        vec![pod; count].into()
    }

    fn holds(spec: Value, observed: &Observed) -> [Option<Hold>; 2] {
        let cluster = cluster(spec);
        let wanted = wanted(&cluster);
        [Role::Edge, Role::Origin].map(|role| hold(&cluster, observed, &wanted, role))
    }

    #[test]
    fn a_template_that_stays_is_never_held_back() {
        let mut observed = settled(&cluster(json!({})));
        observed.pods = serde_json::from_value(leaving("edge", 9)).unwrap();
        assert_eq!(holds(json!({}), &observed), [None, None]);
    }

    #[test]
    fn origins_wait_for_edges() {
        let observed = settled(&cluster(json!({})));
        let held = Some(Hold::EdgesFirst);
        assert_eq!(holds(json!({"image": "x:2"}), &observed), [None, held]);
    }

    #[test]
    fn origins_that_change_alone_wait_for_nobody() {
        let observed = settled(&cluster(json!({})));
        let spec = json!({"origins": {"drainTimeoutSeconds": 1}});
        assert_eq!(holds(spec, &observed), [None, None]);
    }

    #[test]
    fn edges_that_only_grow_keep_no_origin_waiting() {
        let mut observed = settled(&cluster(json!({})));
        let status = observed.deployments[0].status.as_mut().unwrap();
        (status.replicas, status.updated_replicas) = (Some(50), Some(50));
        let spec = json!({"origins": {"drainTimeoutSeconds": 1}, "edges": {"replicas": 50}});
        assert_eq!(holds(spec, &observed), [None, None]);
    }

    #[test]
    fn a_further_rollout_waits_while_more_nodes_leave_than_there_are() {
        let mut observed = settled(&cluster(json!({})));
        observed.pods = serde_json::from_value(leaving("edge", 2)).unwrap();
        assert_eq!(holds(json!({"image": "x:2"}), &observed)[0], None);
        observed.pods = serde_json::from_value(leaving("edge", 3)).unwrap();
        let held = Some(Hold::Draining);
        assert_eq!(holds(json!({"image": "x:2"}), &observed)[0], held);
    }

    #[test]
    fn a_cure_does_not_wait() {
        let mut observed = settled(&cluster(json!({})));
        observed.pods = serde_json::from_value(leaving("edge", 3)).unwrap();
        observed.deployments[0]
            .status
            .as_mut()
            .unwrap()
            .available_replicas = Some(1);
        assert_eq!(holds(json!({"image": "x:2"}), &observed)[0], None);
    }
}
