//! The status of a `LiveCluster`: a pure function of the observed state.

mod conditions;
mod endpoints;
pub mod input;
mod protection;
pub mod transitions;
pub mod unreadable;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use livecluster_api::names;
use livecluster_api::{LiveCluster, LiveClusterStatus, RoleStatus};
use media_config::Role;

use crate::observe::observed::Observed;
use input::StatusInput;

/// Returns the status of a cluster. It equals `cluster.status` when nothing has changed: `now` is used only as the
/// `lastTransitionTime` of conditions whose status changes.
pub fn status(cluster: &LiveCluster, input: &StatusInput, now: &Time) -> LiveClusterStatus {
    let old = cluster.status.as_ref();
    LiveClusterStatus {
        observed_generation: cluster.metadata.generation,
        image: input
            .image
            .clone()
            .or_else(|| old.and_then(|old| old.image.clone())),
        origins: role_status(cluster, &input.observed, Role::Origin),
        edges: role_status(cluster, &input.observed, Role::Edge),
        // An operator that has just started has no samples yet.
        streams: input
            .streams
            .clone()
            .or_else(|| old.and_then(|old| old.streams.clone())),
        endpoints: endpoints::endpoints(cluster, &input.observed),
        conditions: conditions::conditions(cluster, input, now),
    }
}

fn role_status(cluster: &LiveCluster, observed: &Observed, role: Role) -> RoleStatus {
    let observed = observed.role(cluster, role);
    RoleStatus {
        replicas: observed.replicas,
        ready_replicas: observed.ready,
        updated_replicas: observed.updated,
        terminating_replicas: observed.terminating,
        selector: Some(names::selector_text(&names::selector(cluster, role))),
    }
}

#[cfg(test)]
mod tests;
