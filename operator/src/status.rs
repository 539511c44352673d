//! The status of a `LiveCluster`: a pure function of the observed state.

mod availability;
mod condition_status;
mod conditions;
mod draining;
mod endpoints;
mod event_capacity;
mod gateway_addresses;
pub mod input;
mod progress;
mod protection;
pub(crate) mod routes;
pub mod transitions;
mod unobserved;
pub mod unreadable;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use livecluster_api::names;
use livecluster_api::{LiveCluster, LiveClusterStatus, RoleStatus};
use media_config::Role;

use crate::observe::observed::Observed;
pub(crate) use conditions::AT_MAXIMUM;
pub(crate) use draining::draining_event;
use input::StatusInput;
pub(crate) use unobserved::unobserved_status;

/// Returns the status of a cluster. It equals `cluster.status` when nothing has changed: `now` is used only as the
/// `lastTransitionTime` of conditions whose status changes.
pub fn status(cluster: &LiveCluster, input: &StatusInput, now: &Time) -> LiveClusterStatus {
    let old = cluster.status.as_ref();
    LiveClusterStatus {
        observed_generation: input.observed_generation(cluster),
        // The operator has claimed the cluster before.
        operator: old.and_then(|old| old.operator.clone()),
        takeover: None,
        image: input
            .image
            .clone()
            .or_else(|| old.and_then(|old| old.image.clone())),
        origins: role_status(cluster, input, Role::Origin),
        edges: role_status(cluster, input, Role::Edge),
        draining_pods: draining_pods(cluster, &input.observed),
        draining: draining::draining(cluster, input),
        // An operator that has just started has no samples yet.
        streams: input
            .streams
            .clone()
            .or_else(|| old.and_then(|old| old.streams.clone())),
        autoscaling: input
            .autoscaling
            .as_ref()
            .map(|report| report.status.clone()),
        endpoints: endpoints::endpoints(cluster, &input.observed),
        conditions: conditions::conditions(cluster, input, now),
    }
}

fn role_status(cluster: &LiveCluster, input: &StatusInput, role: Role) -> RoleStatus {
    let observed = input.observed.role(cluster, role);
    RoleStatus {
        ready: format!(
            "{}/{}",
            observed.serving_ready(),
            input.wanted(cluster, role)
        ),
        replicas: observed.serving(),
        ready_replicas: observed.serving_ready(),
        updated_replicas: observed.updated.min(observed.serving()),
        terminating_replicas: observed.terminating,
        retiring_replicas: observed.retiring,
        settled_replicas: availability::settled_replicas(cluster, input, role),
        selector: Some(names::scale_selector(cluster, role)),
    }
}

fn draining_pods(cluster: &LiveCluster, observed: &Observed) -> i32 {
    let draining = names::ROLES.map(|role| {
        let observed = observed.role(cluster, role);
        observed.terminating.saturating_add(observed.retiring)
    });
    draining.into_iter().fold(0, i32::saturating_add)
}

#[cfg(test)]
mod tests;
