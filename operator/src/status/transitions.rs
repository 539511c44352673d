//! Events for the transitions of conditions: a pure function.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};
use livecluster_api::conditions::{DEGRADED, PROGRESSING, READY};

use super::availability::EDITED_REPEATEDLY;
use super::conditions::{AT_MAXIMUM, MEMORY_SHORT};
use super::event_capacity::{EXCEEDS_MAXIMUM, LATE};
use super::progress::RECONCILE_FAILED;
use crate::k8s::refusals::{ADMISSION_DENIED, QUOTA_EXCEEDED};

/// Reasons that need attention.
pub(super) const WARNING_REASONS: [&str; 28] = [
    ADMISSION_DENIED,
    AT_MAXIMUM,
    EDITED_REPEATEDLY,
    EXCEEDS_MAXIMUM,
    LATE,
    "ContainerCannotStart",
    "CrashLooping",
    "DeploymentPaused",
    "Forbidden",
    "GatewayApiMissing",
    "GatewayNotFound",
    "HostnameMissing",
    "ImageUnavailable",
    "InvalidSpec",
    MEMORY_SHORT,
    "MetricsUnavailable",
    "NameConflict",
    "NoOriginFound",
    "PortClosed",
    "ProgressDeadlineExceeded",
    QUOTA_EXCEEDED,
    RECONCILE_FAILED,
    "ReplicaFailure",
    "RoutesNotAccepted",
    "SecretNotFound",
    "ServiceAccountNotFound",
    "UnreadableSpec",
    "VolumesNotMounted",
];

/// Reasons that explain a wait, also at the first status of a cluster.
const QUIET_REASONS: [&str; 2] = ["Deleting", "LeftOver"];

/// Returns the events for the transitions between the conditions of two statuses.
///
/// `Ready` causes an event when its status changes, `Progressing` and a true `Degraded` when their reason changes, and every
/// condition when its new reason needs attention. Two conditions with the same reason and message cause one event.
pub fn transitions(old: &[Condition], new: &[Condition]) -> Vec<Event> {
    let mut events: Vec<(EventType, &str, &str)> = Vec::new();
    // While a role scales up, missing replicas are expected.
    let is_scaling = new.iter().any(|new| new.reason.starts_with("Scaling"));
    for condition in new {
        let before = old.iter().find(|old| old.type_ == condition.type_);
        if let Some((kind, reason)) = transition(before, condition, is_scaling)
            && !events.contains(&(kind, reason, &condition.message))
        {
            events.push((kind, reason, &condition.message));
        }
    }
    events
        .into_iter()
        .map(|(kind, reason, message)| event(kind, reason, message))
        .collect()
}

/// Returns an event about a reconciliation.
pub fn event(type_: EventType, reason: &str, note: &str) -> Event {
    /// Kubernetes accepts notes of 1,024 bytes; a character has up to four.
    const MAX_NOTE_CHARS: usize = 256;
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note.chars().take(MAX_NOTE_CHARS).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
}

fn transition<'a>(
    before: Option<&Condition>,
    now: &'a Condition,
    is_scaling: bool,
) -> Option<(EventType, &'a str)> {
    let is_new = before.is_none_or(|before| before.reason != now.reason);
    let flips = before.is_some_and(|before| before.status != now.status);
    let reason = now.reason.as_str();
    let is_degraded = now.type_ == DEGRADED && now.status == "True";
    let is_unschedulable = reason == "Unschedulable" && (is_degraded || now.status == "False");
    let needs_attention = WARNING_REASONS.contains(&reason) || is_unschedulable;
    if needs_attention {
        return is_new.then_some((EventType::Warning, reason));
    }
    match (now.type_.as_str(), now.status.as_str()) {
        _ if is_degraded => is_new.then_some((EventType::Normal, reason)),
        (READY, "False") if is_new && QUIET_REASONS.contains(&reason) => {
            Some((EventType::Normal, reason))
        }
        (READY, "True") if flips => Some((EventType::Normal, "Ready")),
        (READY, _) if flips && is_scaling => Some((EventType::Normal, reason)),
        (READY, _) if flips => Some((EventType::Warning, reason)),
        // The first status of a cluster is not a transition.
        (PROGRESSING, _) if is_new && before.is_some() => Some((EventType::Normal, reason)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn condition(text: &str) -> Condition {
        let parts: Vec<_> = text.splitn(4, ' ').map(str::to_owned).collect();
        let [type_, status, reason, message] = parts.try_into().unwrap();
        Condition {
            type_,
            status,
            reason,
            message,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: None,
        }
    }

    fn events(old: &[&str], new: &[&str]) -> Vec<String> {
        let list = |texts: &[&str]| texts.iter().map(|text| condition(text)).collect::<Vec<_>>();
        transitions(&list(old), &list(new))
            .into_iter()
            .map(|event| format!("{:?} {}", event.type_, event.reason))
            .collect()
    }

    #[test]
    fn unchanged_conditions_cause_no_event() {
        let same = [
            "Ready True Available x",
            "Progressing False RolloutComplete x",
        ];
        assert!(events(&same, &same).is_empty());
    }

    #[test]
    fn starting_cluster_causes_no_warning() {
        let first = [
            "Ready False OriginsUnavailable 0 of 1",
            "Progressing True Creating x",
        ];
        assert!(events(&[], &first).is_empty());
        let ready = [
            "Ready True Available 1 of 1",
            "Progressing False RolloutComplete x",
        ];
        assert_eq!(
            events(&first, &ready),
            ["Normal Ready", "Normal RolloutComplete"]
        );
    }

    #[test]
    fn cluster_that_stops_being_ready_causes_warning() {
        let (before, after) = (
            ["Ready True Available x"],
            ["Ready False EdgesUnavailable x"],
        );
        assert_eq!(events(&before, &after), ["Warning EdgesUnavailable"]);
        assert!(events(&after, &after).is_empty());
    }

    #[test]
    fn cluster_that_scales_up_causes_no_warning() {
        let before = [
            "Ready True Available x",
            "Progressing False RolloutComplete x",
        ];
        let after = [
            "Ready False EdgesUnavailable x",
            "Progressing True ScalingEdges x",
        ];
        assert_eq!(
            events(&before, &after),
            ["Normal EdgesUnavailable", "Normal ScalingEdges"]
        );
    }

    #[test]
    fn cluster_that_is_degraded_causes_an_event() {
        let before = ["Ready True Available x", "Degraded False AsExpected x"];
        let after = [
            "Ready True Available x",
            "Degraded True EdgesUnavailable 3 of 4",
        ];
        assert_eq!(events(&before, &after), ["Normal EdgesUnavailable"]);
        assert!(events(&after, &before).is_empty());
        let failing = ["Ready True Available x", "Degraded True Unschedulable x"];
        assert_eq!(events(&after, &failing), ["Warning Unschedulable"]);
    }

    #[test]
    fn deletion_and_the_wait_for_it_cause_an_event() {
        let deleting = ["Ready False Deleting x", "Progressing True Deleting x"];
        let before = [
            "Ready True Available x",
            "Progressing False RolloutComplete x",
        ];
        assert_eq!(events(&before, &deleting), ["Normal Deleting"]);
        assert_eq!(
            events(&[], &["Ready False LeftOver x"]),
            ["Normal LeftOver"]
        );
    }

    #[test]
    fn failure_in_two_conditions_causes_one_event() {
        let before = ["Ready False Starting x", "Progressing True Creating x"];
        let after = [
            "Ready False NameConflict a",
            "Progressing False NameConflict a",
        ];
        assert_eq!(events(&before, &after), ["Warning NameConflict"]);
    }
}
