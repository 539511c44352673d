//! The conditions of a cluster, each with one reason and one message.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use livecluster_api::conditions::{
    AUTOSCALING_ACTIVE, DEGRADED, EDGES_AVAILABLE, EVENT_CAPACITY_READY, MEMORY_PRESSURE,
    ORIGINS_AVAILABLE, PLAY_PROTECTED, PROGRESSING, PUBLISH_PROTECTED, READY, REFERENCES_RESOLVED,
    ROUTES_ACCEPTED,
};
use livecluster_api::{AccessSpec, Autoscaling, LiveCluster};
use media_config::Role;

use super::availability::{available, degraded};
use super::condition_status::{
    ConditionStatus, counted, deleting_message, failed, unavailable_reason,
};
use super::event_capacity::event_capacity;
use super::input::{AutoscalingReport, StatusInput};
use super::progress::progressing;
use super::protection::protection;
use super::routes::routes_accepted;
use crate::observe::references::MissingReference;
use crate::scale::autoscaler::ScalingState;

/// Returns `Ready`, `Degraded`, `OriginsAvailable`, `EdgesAvailable`, `Progressing`, `ReferencesResolved`,
/// `MemoryPressure`, `PublishProtected` and `PlayProtected`; with autoscaling `AutoscalingActive`; with announced events
/// `EventCapacityReady`; with a Gateway `RoutesAccepted`.
pub(super) fn conditions(cluster: &LiveCluster, input: &StatusInput, now: &Time) -> Vec<Condition> {
    let origins = available(cluster, input, Role::Origin);
    let edges = available(cluster, input, Role::Edge);
    let references = references_resolved(input);
    let statuses = [
        (READY, ready(input, &origins, &edges, &references)),
        (DEGRADED, degraded(cluster, input)),
        (ORIGINS_AVAILABLE, origins),
        (EDGES_AVAILABLE, edges),
        (PROGRESSING, progressing(cluster, input)),
        (REFERENCES_RESOLVED, references),
        (MEMORY_PRESSURE, memory_pressure(cluster, input)),
        (
            PUBLISH_PROTECTED,
            protected("publish", &cluster.spec.auth.publish),
        ),
        (PLAY_PROTECTED, protected("play", &cluster.spec.auth.play)),
    ];
    let autoscaling = input.autoscaling.as_ref();
    let autoscaling = cluster.spec.edges.autoscaling.as_ref().zip(autoscaling);
    let autoscaling =
        autoscaling.map(|(spec, report)| (AUTOSCALING_ACTIVE, autoscaling_active(spec, report)));
    let events = event_capacity(cluster, input).map(|status| (EVENT_CAPACITY_READY, status));
    let routes = routes_accepted(cluster, &input.observed.gateways);
    let routes = routes.map(|status| (ROUTES_ACCEPTED, status));
    let old = cluster.status.as_ref();
    let old = old.map_or(&[][..], |status| &status.conditions);
    statuses
        .into_iter()
        .chain(autoscaling)
        .chain(events)
        .chain(routes)
        .map(|(kind, status)| {
            let old = old.iter().find(|old| old.type_ == kind);
            condition(old, input.observed_generation(cluster), kind, status, now)
        })
        .collect()
}

/// Returns a condition. Its `lastTransitionTime` changes only when its status does.
fn condition(
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

/// Replaces the condition of the same type, or adds it.
pub(super) fn set_condition(
    conditions: &mut Vec<Condition>,
    generation: Option<i64>,
    kind: &str,
    new: ConditionStatus,
    now: &Time,
) {
    match conditions.iter_mut().find(|old| old.type_ == kind) {
        Some(old) => *old = condition(Some(old), generation, kind, new, now),
        None => conditions.push(condition(None, generation, kind, new, now)),
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
    input: &StatusInput,
    origins: &ConditionStatus,
    edges: &ConditionStatus,
    references: &ConditionStatus,
) -> ConditionStatus {
    if input.is_deleting {
        return ConditionStatus::new(false, "Deleting", deleting_message(input));
    }
    if let Some(failed) = failed(input) {
        return failed;
    }
    if !references.is_true {
        return ConditionStatus::new(false, references.reason, references.message.clone());
    }
    for (role, available) in [(Role::Origin, origins), (Role::Edge, edges)] {
        if !available.is_true {
            let reason = match available.reason {
                "Stopped" => "Stopped",
                _ => unavailable_reason(role),
            };
            return ConditionStatus::new(false, reason, available.message.clone());
        }
    }
    let message = format!("{}; {}", origins.message, edges.message);
    ConditionStatus::new(true, "Available", message)
}

fn memory_pressure(cluster: &LiveCluster, input: &StatusInput) -> ConditionStatus {
    let old = cluster.status.as_ref();
    let old = old.and_then(|status| status.streams.as_ref());
    let streams = input.streams.as_ref().or(old);
    let (origins, edges) = streams.map_or((0, 0), |streams| {
        (
            streams.memory_pressure_origins,
            streams.memory_pressure_edges,
        )
    });
    if (origins, edges) == (0, 0) {
        let message = "no Pod reports that its memory for streams is short";
        return ConditionStatus::new(false, "SufficientMemory", message);
    }
    let message = format!(
        "streams buffer less than configured, and publishers may be refused, on origins: {origins}, edges: {edges}; raise the \
         memory limit in spec.origins.resources or spec.edges.resources, or add Pods"
    );
    ConditionStatus::new(true, MEMORY_SHORT, message)
}

/// Reason of `MemoryPressure` while the memory of a Pod is short.
pub(crate) const MEMORY_SHORT: &str = "MediaMemoryShort";

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

fn autoscaling_active(spec: &Autoscaling, report: &AutoscalingReport) -> ConditionStatus {
    let edges = counted(report.status.desired_replicas, Role::Edge);
    match report.state {
        ScalingState::Active => {
            let message = format!(
                "wanted: {edges}; allowed: {} to {}",
                spec.min_replicas, spec.max_replicas
            );
            ConditionStatus::new(true, "Active", message)
        }
        ScalingState::AtMaximum => {
            let message = format!("the load needs more than maxReplicas, {edges}");
            ConditionStatus::new(true, AT_MAXIMUM, message)
        }
        ScalingState::NoMetrics => {
            let message = format!("fewer than half of the edges respond; {edges} stay");
            ConditionStatus::new(false, "MetricsUnavailable", message)
        }
    }
}

/// Reason of `AutoscalingActive` while the load needs more edges than are allowed.
pub(crate) const AT_MAXIMUM: &str = "AtMaxReplicas";

fn missing_message(missing: &MissingReference) -> String {
    let MissingReference { kind, name, field } = missing;
    format!("{field}: {} \"{name}\" does not exist", kind.name())
}

/// Kubernetes accepts messages of up to 32,768 characters; a reader wants far fewer.
fn shorten(mut message: String) -> String {
    const MAX_CHARS: usize = 2000;
    if let Some((end, _)) = message.char_indices().nth(MAX_CHARS) {
        message.truncate(end);
    }
    message
}
