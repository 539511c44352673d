//! `Progressing`: whether Pods are being created, replaced, added or removed.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use livecluster_api::LiveCluster;
use livecluster_api::names::role_name;
use media_config::Role;

use super::condition_status::{ConditionStatus, counted, deleting_message, failed, joined};
use super::input::{RolloutHold, StatusInput};
use crate::observe::observed::ObservedRole;
use crate::observe::pods::retiring_since;

/// Returns the status of `Progressing`: that of the first stuck rollout, else the first one, with the messages of all.
pub(super) fn progressing(cluster: &LiveCluster, input: &StatusInput) -> ConditionStatus {
    if input.is_deleting {
        return ConditionStatus::new(true, "Deleting", deleting_message(input));
    }
    if cluster.spec.paused {
        return ConditionStatus::new(false, "Paused", "spec.paused is true; no changes are made");
    }
    if let Some(failure) = &input.failure {
        return ConditionStatus::new(false, RECONCILE_FAILED, failure);
    }
    let mut roles = Vec::new();
    for role in [Role::Edge, Role::Origin] {
        let observed = input.observed.role(cluster, role);
        if !observed.exists {
            return failed(input).unwrap_or_else(|| {
                let message = format!("the {}s are being created", role_name(role));
                ConditionStatus::new(true, "Creating", message)
            });
        }
        let wanted = input.wanted(cluster, role);
        roles.extend(rolling(&observed, role, wanted));
        if role == Role::Edge && observed.is_settled() {
            roles.extend(retiring(cluster, input));
        }
        let hold = input.holds.iter().find(|(held, _)| *held == role);
        roles.extend(hold.map(|(_, hold)| on_hold(*hold, role)));
    }
    joined(roles).or_else(|| failed(input)).unwrap_or_else(|| {
        ConditionStatus::new(false, "RolloutComplete", "all Pods match the spec")
    })
}

/// Reason while reconciliations fail again and again.
pub(super) const RECONCILE_FAILED: &str = "ReconcileFailed";

/// Returns the progress of a role, or `None` when it is settled.
fn rolling(observed: &ObservedRole, role: Role, wanted: u16) -> Option<ConditionStatus> {
    let of = counted(wanted, role);
    let wanted = i32::from(wanted);
    let serving = observed.wanted.saturating_sub(observed.retiring);
    if observed.is_settled() && serving == wanted {
        return None;
    }
    let failure = observed
        .failure
        .as_ref()
        .map(|failure| format!("; {}: {}", failure.reason, failure.message))
        .unwrap_or_default();
    if observed.is_stuck {
        let message = format!(
            "the rollout of the {}s exceeded its progress deadline{failure}",
            role_name(role)
        );
        return Some(ConditionStatus::new(
            false,
            "ProgressDeadlineExceeded",
            message,
        ));
    }
    let is_edge = role == Role::Edge;
    let (reason, message) = if observed.is_rolling() && observed.replicas > 0 {
        let reason = if is_edge {
            "RollingEdges"
        } else {
            "RollingOrigins"
        };
        let updated = if observed.is_current {
            observed.updated
        } else {
            0
        };
        (reason, format!("{updated} of {of} updated"))
    } else if observed.serving() != wanted {
        let reason = if is_edge {
            "ScalingEdges"
        } else {
            "ScalingOrigins"
        };
        (reason, format!("{} of {of} exist", observed.serving()))
    } else {
        let reason = if is_edge {
            "StartingEdges"
        } else {
            "StartingOrigins"
        };
        (
            reason,
            format!("{} of {of} available", observed.serving_available()),
        )
    };
    Some(ConditionStatus::new(true, reason, message + &failure))
}

/// Returns how many edges retire, and until when, if any do.
fn retiring(cluster: &LiveCluster, input: &StatusInput) -> Option<ConditionStatus> {
    let timeout = Duration::from_secs(cluster.spec.edges.retire_timeout_seconds.into());
    let since: Vec<Timestamp> = input
        .observed
        .pods(Role::Edge)
        .filter_map(retiring_since)
        .collect();
    let until = since.iter().max()?.saturating_add(timeout).ok()?;
    let count = since.len();
    let message = format!(
        "edges that serve their last clients before they are removed: {count}, until {until} at the latest"
    );
    Some(ConditionStatus::new(true, "RetiringEdges", message))
}

fn on_hold(hold: RolloutHold, role: Role) -> ConditionStatus {
    let role = role_name(role);
    match hold {
        RolloutHold::Draining { terminating, until } => {
            let message = format!(
                "the next rollout of the {role}s waits for terminating {role} Pods, {terminating} now, until {until} at the \
                 latest"
            );
            ConditionStatus::new(true, "Draining", message)
        }
        RolloutHold::Queued => {
            let message = format!(
                "the rollout of the {role}s for this version of the operator waits until other LiveClusters have rolled, at \
                 most ten minutes for each of them"
            );
            ConditionStatus::new(true, "Queued", message)
        }
    }
}
