//! `EventCapacityReady`: whether the edges of announced events are ready, or will be added in time.

use k8s_openapi::jiff::SignedDuration;
use livecluster_api::{Autoscaling, LiveCluster};
use media_config::Role;

use super::condition_status::ConditionStatus;
use super::input::StatusInput;
use crate::scale::events::{EventPhase, EventReport, LEAD_TIME};

/// Returns the condition of a cluster with announced events.
pub(super) fn event_capacity(
    cluster: &LiveCluster,
    input: &StatusInput,
) -> Option<ConditionStatus> {
    let autoscaling = cluster.spec.edges.autoscaling.as_ref()?;
    let report = input.autoscaling.as_ref()?;
    if autoscaling.events.is_empty() {
        return None;
    }
    let Some(event) = report.event else {
        let message = "no announced event is ahead";
        return Some(ConditionStatus::new(true, "NoEvent", message));
    };
    Some(capacity_for(autoscaling, &event, cluster, input))
}

fn capacity_for(
    autoscaling: &Autoscaling,
    event: &EventReport,
    cluster: &LiveCluster,
    input: &StatusInput,
) -> ConditionStatus {
    let EventReport {
        starts_at,
        viewers,
        edges,
        phase,
    } = event;
    let what = format!("{viewers} viewers from {starts_at} need {edges} edges");
    if *edges > autoscaling.max_replicas.into() {
        let message = format!("{what}; maxReplicas is {}", autoscaling.max_replicas);
        return ConditionStatus::new(false, EXCEEDS_MAXIMUM, message);
    }
    if *phase == EventPhase::Ahead {
        let lead = SignedDuration::try_from(LEAD_TIME).unwrap_or_default();
        let added_at = starts_at.saturating_sub(lead).unwrap_or(*starts_at);
        let message = format!("{what}; they will be added at {added_at}");
        return ConditionStatus::new(true, "Scheduled", message);
    }
    let observed = input.observed.role(cluster, Role::Edge);
    let available = observed.serving_available();
    if u32::try_from(available).is_ok_and(|available| available >= *edges) {
        return ConditionStatus::new(true, "CapacityReady", format!("{what}, which are ready"));
    }
    let message = format!("{what}; {available} are available");
    match observed.failure {
        Some(failure) => {
            let message = format!("{message}; {}", failure.message);
            ConditionStatus::new(false, failure.reason, message)
        }
        None if *phase == EventPhase::Begun => ConditionStatus::new(false, LATE, message),
        None => ConditionStatus::new(false, "AddingEdges", message),
    }
}

/// Reason while an announced event needs more edges than are allowed.
pub(super) const EXCEEDS_MAXIMUM: &str = "EventExceedsMaxReplicas";

/// Reason while an announced event has begun, and not all of its edges are ready.
pub(super) const LATE: &str = "EventCapacityLate";

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use livecluster_api::AutoscalingStatus;
    use serde_json::json;

    use super::*;
    use crate::observe::observed::Observed;
    use crate::scale::autoscaler::ScalingState;
    use crate::scale::events::event_demand;
    use crate::status::input::AutoscalingReport;

    /// The condition at a time, with so many available edges, some of which cannot be scheduled.
    fn condition(now: &str, max: u16, available: i32, unschedulable: bool) -> String {
        let cluster: LiveCluster = serde_json::from_value(json!({
            "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
            "metadata": {"name": "demo", "namespace": "media"},
            "spec": {"edges": {"autoscaling": {
                "maxReplicas": max, "targetViewers": 500,
                "events": [{"startsAt": "2027-01-31T20:00:00Z", "duration": "2h", "viewers": 10_000}]
            }}}
        }))
        .unwrap();
        let autoscaling = cluster.spec.edges.autoscaling.as_ref().unwrap();
        let mut edges: Deployment = serde_json::from_value(json!({
            "metadata": {"name": "demo-edge"}, "spec": {"replicas": 22, "selector": {}, "template": {}},
            "status": {"replicas": 22, "availableReplicas": available}
        }))
        .unwrap();
        if unschedulable {
            let quota = json!([{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: a"}]);
            edges.status.as_mut().unwrap().conditions = serde_json::from_value(quota).unwrap();
        }
        let input = StatusInput {
            observed: Observed {
                deployments: vec![edges],
                ..Observed::default()
            },
            autoscaling: Some(AutoscalingReport {
                status: AutoscalingStatus::default(),
                state: ScalingState::Active,
                event: event_demand(autoscaling, now.parse().unwrap()).event,
            }),
            ..StatusInput::default()
        };
        let status = event_capacity(&cluster, &input).unwrap();
        format!("{} {}: {}", status.is_true, status.reason, status.message)
    }

    #[test]
    fn edges_of_an_event_are_scheduled_added_and_ready() {
        let what = "10000 viewers from 2027-01-31T20:00:00Z need 22 edges";
        for (now, available, expected) in [
            (
                "2027-01-31T10:00:00Z",
                2,
                format!("true Scheduled: {what}; they will be added at 2027-01-31T19:50:00Z"),
            ),
            (
                "2027-01-31T19:51:00Z",
                4,
                format!("false AddingEdges: {what}; 4 are available"),
            ),
            (
                "2027-01-31T19:52:00Z",
                22,
                format!("true CapacityReady: {what}, which are ready"),
            ),
            (
                "2027-01-31T20:00:01Z",
                21,
                format!("false EventCapacityLate: {what}; 21 are available"),
            ),
            (
                "2027-01-31T22:00:00Z",
                2,
                "true NoEvent: no announced event is ahead".to_owned(),
            ),
        ] {
            assert_eq!(condition(now, 30, available, false), expected);
        }
    }

    #[test]
    fn event_that_cannot_have_its_edges_is_reported() {
        let early = condition("2027-01-01T00:00:00Z", 20, 2, false);
        assert!(
            early.starts_with("false EventExceedsMaxReplicas: "),
            "{early}"
        );
        assert!(early.ends_with("; maxReplicas is 20"), "{early}");
        let near = condition("2027-01-31T19:51:00Z", 30, 4, true);
        assert!(near.starts_with("false QuotaExceeded: "), "{near}");
        assert!(
            near.ends_with("4 are available; exceeded quota: a"),
            "{near}"
        );
    }
}
