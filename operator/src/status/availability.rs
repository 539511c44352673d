//! Which Pods and addresses are missing: `OriginsAvailable`, `EdgesAvailable` and `Degraded`.

use livecluster_api::LiveCluster;
use livecluster_api::names::{self, role_name};
use media_config::Role;

use super::condition_status::{ConditionStatus, counted, failed, joined, unavailable_reason};
use super::endpoints::awaits_load_balancer;
use super::input::{Reason, ReconcileError, StatusInput};
use super::progress::RECONCILE_FAILED;
use super::routes::{gateways_without_address, routes_accepted};

const ROLES: [Role; 2] = [Role::Origin, Role::Edge];

/// A role is available when it has the Pods that `Ready` requires. A cluster without edges is available: its origins serve
/// viewers. A cluster without origins is not: nothing can be published to it.
pub(super) fn available(cluster: &LiveCluster, input: &StatusInput, role: Role) -> ConditionStatus {
    if input.wanted(cluster, role) == 0 {
        let message = format!("spec.{}s.replicas is 0", role_name(role));
        return ConditionStatus::new(role == Role::Edge, "Stopped", message);
    }
    let observed = input.observed.role(cluster, role);
    let message = available_of_wanted(cluster, input, role);
    if observed.serving_available() >= required(cluster, input, role) {
        return ConditionStatus::new(true, "Available", message);
    }
    match observed.failure {
        Some(failure) => ConditionStatus::new(
            false,
            failure.reason,
            format!("{message}; {}", failure.message),
        ),
        None if observed.is_rolling() => ConditionStatus::new(false, "Rolling", message),
        None => ConditionStatus::new(false, "Starting", message),
    }
}

/// Returns the wanted Pods of a role when all of them were available for the last time.
pub(super) fn settled_replicas(cluster: &LiveCluster, input: &StatusInput, role: Role) -> i32 {
    let wanted = i32::from(input.wanted(cluster, role));
    if input.observed.role(cluster, role).serving_available() >= wanted {
        return wanted;
    }
    let old = cluster.status.as_ref().map(|status| match role {
        Role::Origin => status.origins.settled_replicas,
        Role::Edge => status.edges.settled_replicas,
    });
    old.unwrap_or(0).min(wanted)
}

/// Returns the available Pods that `Ready` requires: all until they have been available once, and then as many less as the
/// disruption budget or a rollout may take away. Pods that a scale-up adds do not count before they are available.
fn required(cluster: &LiveCluster, input: &StatusInput, role: Role) -> i32 {
    let settled = settled_replicas(cluster, input, role);
    if settled == 0 {
        return input.wanted(cluster, role).into();
    }
    let budget = &cluster.spec.pods(role).pod_disruption_budget;
    let disrupted = i32::from(budget.max_unavailable) * i32::from(budget.enabled);
    let rollout = cluster.spec.pods(role).rolling_update.max_unavailable();
    let replaced = rollout.of(input.wanted(cluster, role)).into();
    settled.saturating_sub(disrupted.max(replaced)).max(1)
}

/// `Degraded` is true while Pods or addresses are missing, whether or not the cluster is `Ready` without them, and while the
/// operator fails to carry out the spec, or the API server or another client keeps it from that. Pods that start are not missing unless
/// they fail.
pub(super) fn degraded(cluster: &LiveCluster, input: &StatusInput) -> ConditionStatus {
    let mut missing = Vec::new();
    let failure = input.failure.as_ref();
    missing.extend(failure.map(|it| ConditionStatus::new(true, RECONCILE_FAILED, it)));
    missing.extend(refused(input));
    let edited = input.edited.iter();
    missing.extend(edited.map(|it| ConditionStatus::new(true, EDITED_REPEATEDLY, it)));
    if !input.is_deleting {
        missing.extend(
            ROLES
                .iter()
                .filter_map(|role| missing_pods(cluster, input, *role)),
        );
        missing.extend(
            ROLES
                .iter()
                .filter_map(|role| missing_address(cluster, input, *role)),
        );
        missing.extend(missing_gateway(cluster, input));
    }
    joined(missing).unwrap_or_else(|| {
        ConditionStatus::new(false, "AsExpected", "no Pod and no address is missing")
    })
}

/// Returns which objects are refused, if any are. The garbage collector deletes those of a deleted cluster in a moment, as `Ready` says.
fn refused(input: &StatusInput) -> Option<ConditionStatus> {
    let is_refused = |error: &ReconcileError| error.reason != Reason::LeftOver;
    let refused = failed(input).filter(|_| input.errors.iter().any(is_refused))?;
    Some(ConditionStatus {
        is_true: true,
        ..refused
    })
}

/// Reason of `Degraded` while another client changes an object of the cluster again and again.
pub(super) const EDITED_REPEATEDLY: &str = "EditedRepeatedly";

fn missing_pods(cluster: &LiveCluster, input: &StatusInput, role: Role) -> Option<ConditionStatus> {
    if input.wanted(cluster, role) == 0 {
        return None;
    }
    let observed = input.observed.role(cluster, role);
    let message = available_of_wanted(cluster, input, role);
    let (reason, message) = if let Some(failure) = observed.failure {
        (failure.reason, format!("{message}; {}", failure.message))
    } else if observed.is_stuck {
        let message = format!(
            "{message}; the rollout of the {}s exceeded its progress deadline",
            role_name(role)
        );
        ("ProgressDeadlineExceeded", message)
    } else if observed.serving_available() < settled_replicas(cluster, input, role) {
        (unavailable_reason(role), message)
    } else {
        return None;
    };
    Some(ConditionStatus::new(true, reason, message))
}

fn missing_address(
    cluster: &LiveCluster,
    input: &StatusInput,
    role: Role,
) -> Option<ConditionStatus> {
    let is_pending = awaits_load_balancer(cluster, &input.observed, role);
    is_pending.then(|| {
        let service = names::deployment(cluster, role);
        let message = format!("the load balancer of Service {service} has no address yet");
        ConditionStatus::new(true, "LoadBalancerPending", message)
    })
}

fn missing_gateway(cluster: &LiveCluster, input: &StatusInput) -> Option<ConditionStatus> {
    let gateways = &input.observed.gateways;
    let routes = routes_accepted(cluster, gateways)?;
    if !routes.is_true {
        return Some(ConditionStatus {
            is_true: true,
            ..routes
        });
    }
    let pending = gateways_without_address(gateways);
    (!pending.is_empty()).then(|| {
        let message = format!("Gateways without an address yet: {}", pending.join(", "));
        ConditionStatus::new(true, "GatewayAddressPending", message)
    })
}

fn available_of_wanted(cluster: &LiveCluster, input: &StatusInput, role: Role) -> String {
    let wanted = input.wanted(cluster, role);
    let available = input.observed.role(cluster, role).serving_available();
    let available = available.min(wanted.into());
    format!("{available} of {} available", counted(wanted, role))
}
