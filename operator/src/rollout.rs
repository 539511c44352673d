//! Which role may get a new Pod template now: edges first, origins last, and never more drains than nodes.

use kube::ResourceExt;
use media_config::Role;

use crate::crd::LiveCluster;
use crate::desired::{Desired, Kind, names};
use crate::observe::Observed;

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
