//! The conditions of a cluster, each with one reason and one message.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use livecluster_api::conditions::{
    EDGES_AVAILABLE, ORIGINS_AVAILABLE, PLAY_PROTECTED, PROGRESSING, PUBLISH_PROTECTED, READY,
    REFERENCES_RESOLVED,
};
use livecluster_api::names::role_name;
use livecluster_api::{AccessSpec, LiveCluster};
use media_config::Role;

use super::input::{RolloutHold, StatusInput};
use super::protection::protection;
use crate::observe::observed::ObservedRole;
use crate::observe::references::MissingReference;

/// Status, reason and message of a condition.
pub(super) struct ConditionStatus {
    is_true: bool,
    reason: &'static str,
    message: String,
}

impl ConditionStatus {
    pub(super) fn new(is_true: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            is_true,
            reason,
            message: message.into(),
        }
    }
}

/// Returns `Ready`, `OriginsAvailable`, `EdgesAvailable`, `Progressing`, `ReferencesResolved`, `PublishProtected` and
/// `PlayProtected`.
pub(super) fn conditions(cluster: &LiveCluster, input: &StatusInput, now: &Time) -> Vec<Condition> {
    let origins = available(cluster, input, Role::Origin);
    let edges = available(cluster, input, Role::Edge);
    let references = references_resolved(input);
    let statuses = [
        (READY, ready(cluster, input, &origins, &edges, &references)),
        (ORIGINS_AVAILABLE, origins),
        (EDGES_AVAILABLE, edges),
        (PROGRESSING, progressing(cluster, input)),
        (REFERENCES_RESOLVED, references),
        (
            PUBLISH_PROTECTED,
            protected("publish", &cluster.spec.auth.publish),
        ),
        (PLAY_PROTECTED, protected("play", &cluster.spec.auth.play)),
    ];
    let old = cluster.status.as_ref();
    let old = old.map_or(&[][..], |status| &status.conditions);
    statuses
        .into_iter()
        .map(|(kind, status)| {
            let old = old.iter().find(|old| old.type_ == kind);
            condition(old, cluster.metadata.generation, kind, status, now)
        })
        .collect()
}

/// Returns a condition. Its `lastTransitionTime` changes only when its status does.
pub(super) fn condition(
    old: Option<&Condition>,
    generation: Option<i64>,
    kind: &str,
    new: ConditionStatus,
    now: &Time,
) -> Condition {
    let status = if new.is_true { "True" } else { "False" };
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: new.reason.to_owned(),
        message: shorten(new.message),
        observed_generation: generation,
        last_transition_time: old
            .filter(|old| old.status == status)
            .map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
    }
}

fn protected(action: &str, access: &AccessSpec) -> ConditionStatus {
    let protection = protection(action, access);
    ConditionStatus::new(
        protection.is_protected,
        protection.reason,
        protection.message,
    )
}

fn ready(
    cluster: &LiveCluster,
    input: &StatusInput,
    origins: &ConditionStatus,
    edges: &ConditionStatus,
    references: &ConditionStatus,
) -> ConditionStatus {
    if let Some(failed) = failed(input) {
        return failed;
    }
    if !references.is_true {
        return ConditionStatus::new(false, references.reason, references.message.clone());
    }
    for (role, available) in [(Role::Origin, origins), (Role::Edge, edges)] {
        if !available.is_true {
            let reason = match (available.reason, role) {
                ("Stopped", _) => "Stopped",
                (_, Role::Origin) => "OriginsUnavailable",
                (_, Role::Edge) => "EdgesUnavailable",
            };
            return ConditionStatus::new(false, reason, available.message.clone());
        }
    }
    let count = |role| counted(cluster.spec.replicas(role), role);
    ConditionStatus::new(
        true,
        "Available",
        format!(
            "{} and {} are available",
            count(Role::Origin),
            count(Role::Edge)
        ),
    )
}

/// Returns the reason of the first reconcile error with the messages of all.
fn failed(input: &StatusInput) -> Option<ConditionStatus> {
    let first = input.errors.first()?;
    let messages: Vec<_> = input
        .errors
        .iter()
        .map(|error| error.message.as_str())
        .collect();
    Some(ConditionStatus::new(
        false,
        first.reason.as_str(),
        messages.join("; "),
    ))
}

/// A role is available when as many Pods are available as the spec wants. A cluster without edges is available: its
/// origins serve viewers. A cluster without origins is not: nothing can be published to it.
fn available(cluster: &LiveCluster, input: &StatusInput, role: Role) -> ConditionStatus {
    let wanted = cluster.spec.replicas(role);
    let observed = input.observed.role(cluster, role);
    if wanted == 0 {
        let message = format!("spec.{}s.replicas is 0", role_name(role));
        return ConditionStatus::new(role == Role::Edge, "Stopped", message);
    }
    let message = format!(
        "{} of {} available",
        observed.available,
        counted(wanted, role)
    );
    if observed.available >= i32::from(wanted) {
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

fn progressing(cluster: &LiveCluster, input: &StatusInput) -> ConditionStatus {
    if cluster.spec.paused {
        return ConditionStatus::new(false, "Paused", "spec.paused is true; no changes are made");
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
        roles.extend(rolling(cluster, &observed, role));
        let hold = input.holds.iter().find(|(held, _)| *held == role);
        roles.extend(hold.map(|(_, hold)| on_hold(*hold, role)));
    }
    joined(roles).or_else(|| failed(input)).unwrap_or_else(|| {
        ConditionStatus::new(false, "RolloutComplete", "all Pods match the spec")
    })
}

/// Returns one status for several: that of the first stuck rollout, else the first one, with the messages of all.
fn joined(statuses: Vec<ConditionStatus>) -> Option<ConditionStatus> {
    let stuck = statuses.iter().find(|status| !status.is_true);
    let first = stuck.or(statuses.first())?;
    let messages: Vec<_> = statuses.iter().map(|status| &*status.message).collect();
    Some(ConditionStatus::new(
        first.is_true,
        first.reason,
        messages.join("; "),
    ))
}

/// Returns the progress of a role, or `None` when it is settled.
fn rolling(cluster: &LiveCluster, observed: &ObservedRole, role: Role) -> Option<ConditionStatus> {
    let wanted = i32::from(cluster.spec.replicas(role));
    if observed.is_settled() && observed.wanted == wanted {
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
    let of = counted(cluster.spec.replicas(role), role);
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
    } else if observed.replicas != wanted {
        let reason = if is_edge {
            "ScalingEdges"
        } else {
            "ScalingOrigins"
        };
        (reason, format!("{} of {of} exist", observed.replicas))
    } else {
        let reason = if is_edge {
            "StartingEdges"
        } else {
            "StartingOrigins"
        };
        (reason, format!("{} of {of} available", observed.available))
    };
    Some(ConditionStatus::new(true, reason, message + &failure))
}

fn on_hold(hold: RolloutHold, role: Role) -> ConditionStatus {
    let message = format!(
        "the next rollout of the {role}s waits until {} terminating {role} Pods are gone, at most for their drain",
        hold.terminating,
        role = role_name(role)
    );
    ConditionStatus::new(true, "Draining", message)
}

fn references_resolved(input: &StatusInput) -> ConditionStatus {
    let missing = &input.references.missing;
    if let Some(first) = missing.first() {
        let messages: Vec<_> = missing.iter().map(missing_message).collect();
        return ConditionStatus::new(false, first.kind.reason(), messages.join("; "));
    }
    if input.references.secrets_unchecked {
        return ConditionStatus::new(
            true,
            "SecretsNotChecked",
            "the operator may not read Secrets; references to them are not verified",
        );
    }
    ConditionStatus::new(true, "Resolved", "all referenced objects exist")
}

fn missing_message(missing: &MissingReference) -> String {
    let MissingReference { kind, name, field } = missing;
    format!("{field}: {} \"{name}\" does not exist", kind.name())
}

/// Returns "1 origin" or "2 edges".
fn counted(count: u16, role: Role) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {}{plural}", role_name(role))
}

/// Kubernetes accepts messages of up to 32,768 characters; a reader wants far fewer.
fn shorten(mut message: String) -> String {
    const MAX_CHARS: usize = 2000;
    if let Some((end, _)) = message.char_indices().nth(MAX_CHARS) {
        message.truncate(end);
    }
    message
}
