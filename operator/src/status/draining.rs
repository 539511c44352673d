//! The Pods that are terminating or retire: how many viewers each of them still serves, and until when.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::events::{Event, EventType};
use livecluster_api::{DrainingPod, LiveCluster};

use super::input::StatusInput;
use super::transitions::event;
use crate::observe::pods::{is_retiring, is_terminating, node_name, retiring_since};

/// Pods that the status lists. An upgrade of a thousand edges drains a quarter of them at a time.
const MAX_PODS: usize = 20;

/// Returns the Pods that drain: those that are removed first, in this order.
pub(super) fn draining(cluster: &LiveCluster, input: &StatusInput) -> Vec<DrainingPod> {
    let timeout = Duration::from_secs(cluster.spec.edges.retire_timeout_seconds.into());
    let pods = input.observed.pods.iter();
    let mut draining: Vec<DrainingPod> = pods
        .filter_map(|pod| draining_pod(pod, timeout))
        .map(|(pod, draining)| DrainingPod {
            viewers: viewers(cluster, input, pod),
            ..draining
        })
        .collect();
    draining.sort_by(|a, b| {
        let key = |pod: &DrainingPod| pod.until.as_ref().map(|until| until.0);
        key(a).cmp(&key(b)).then_with(|| a.pod.cmp(&b.pod))
    });
    draining.truncate(MAX_PODS);
    draining
}

/// Returns the viewers of a Pod. An operator that has just started keeps those that the former one reported.
fn viewers(cluster: &LiveCluster, input: &StatusInput, pod: &Pod) -> Option<i64> {
    match &input.viewers {
        Some(viewers) => viewers.get(&pod.uid()?).copied(),
        None => {
            let name = pod.name_any();
            let mut old = cluster.status.iter().flat_map(|status| &status.draining);
            old.find(|old| old.pod == name)?.viewers
        }
    }
}

fn draining_pod(pod: &Pod, retire_timeout: Duration) -> Option<(&Pod, DrainingPod)> {
    let (reason, until) = if is_terminating(pod) {
        ("Terminating", pod.metadata.deletion_timestamp.clone())
    } else if is_retiring(pod) {
        let since = retiring_since(pod)?;
        ("Retiring", since.checked_add(retire_timeout).ok().map(Time))
    } else {
        return None;
    };
    let draining = DrainingPod {
        pod: pod.name_any(),
        node: node_name(pod),
        reason: reason.to_owned(),
        viewers: None,
        until,
    };
    Some((pod, draining))
}

/// Returns an event about the Pods that have begun to drain with viewers.
pub(crate) fn draining_event(old: &[DrainingPod], new: &[DrainingPod]) -> Option<Event> {
    let is_known = |pod: &DrainingPod| {
        let mut old = old.iter();
        old.any(|old| old.pod == pod.pod && old.reason == pod.reason && old.viewers.is_some())
    };
    let begun = new.iter().filter(|pod| !is_known(pod));
    let lines: Vec<String> = begun.filter_map(line).collect();
    let note = lines.join("; ");
    (!lines.is_empty()).then(|| event(EventType::Normal, "Draining", &note))
}

fn line(pod: &DrainingPod) -> Option<String> {
    let viewers = pod.viewers.filter(|viewers| *viewers > 0)?;
    let until = pod.until.as_ref()?.0;
    Some(format!(
        "{} serves its {viewers} viewers until {until} at the latest",
        pod.pod
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster() -> LiveCluster {
        serde_json::from_value(json!({
            "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
            "metadata": {"name": "demo"}, "spec": {"edges": {"retireTimeoutSeconds": 600}}
        }))
        .unwrap()
    }

    fn pod(name: &str, metadata: Value) -> Pod {
        let mut metadata = metadata;
        metadata["name"] = name.into();
        metadata["uid"] = format!("uid-{name}").into();
        serde_json::from_value(
            json!({"metadata": metadata, "spec": {"nodeName": "n1", "containers": []}}),
        )
        .unwrap()
    }

    fn terminating(name: &str, at: &str) -> Pod {
        pod(name, json!({ "deletionTimestamp": at }))
    }

    fn retiring(name: &str, since: &str) -> Pod {
        let labels = json!({"livecluster.dev/serving": "false"});
        let annotations = json!({"livecluster.dev/retiring-since": since});
        pod(name, json!({"labels": labels, "annotations": annotations}))
    }

    fn input(pods: Vec<Pod>, viewers: &[(&str, i64)]) -> StatusInput {
        let mut input = StatusInput::default();
        input.observed.pods = pods;
        let viewers = viewers.iter();
        let viewers = viewers.map(|(name, viewers)| (format!("uid-{name}"), *viewers));
        input.viewers = Some(viewers.collect());
        input
    }

    fn shown(pods: &[DrainingPod]) -> Vec<String> {
        let shown = |pod: &DrainingPod| {
            let until = pod.until.as_ref().unwrap().0;
            format!(
                "{} {} {} {:?} {until}",
                pod.pod, pod.node, pod.reason, pod.viewers
            )
        };
        pods.iter().map(shown).collect()
    }

    #[test]
    fn draining_pods_are_listed_by_their_end_with_their_viewers() {
        let full = pod("c", json!({"labels": {"livecluster.dev/serving": "full"}}));
        let pods = vec![
            retiring("a", "2026-01-01T10:00:00Z"),
            terminating("b", "2026-01-01T10:05:00Z"),
            full,
            pod("d", json!({})),
        ];
        let draining = draining(&cluster(), &input(pods, &[("a", 120), ("c", 9)]));
        assert_eq!(
            shown(&draining),
            [
                "b n1 Terminating None 2026-01-01T10:05:00Z",
                "a n1 Retiring Some(120) 2026-01-01T10:10:00Z"
            ]
        );
    }

    #[test]
    fn operator_that_has_just_started_keeps_the_reported_viewers() {
        let pods = vec![terminating("b", "2026-01-01T10:05:00Z")];
        let mut cluster = cluster();
        let mut input = input(pods, &[("b", 50)]);
        cluster.status.get_or_insert_default().draining = draining(&cluster, &input);
        input.viewers = None;
        assert_eq!(draining(&cluster, &input)[0].viewers, Some(50));
    }

    #[test]
    fn list_of_draining_pods_is_bounded() {
        let pods = (0..50).map(|number| terminating(&format!("p{number}"), "2026-01-01T10:05:00Z"));
        assert_eq!(
            draining(&cluster(), &input(pods.collect(), &[])).len(),
            MAX_PODS
        );
    }

    #[test]
    fn pods_that_begin_to_drain_with_viewers_cause_one_event() {
        let pods = vec![
            terminating("a", "2026-01-01T10:05:00Z"),
            terminating("b", "2026-01-01T10:05:00Z"),
        ];
        let unknown = draining(&cluster(), &input(pods.clone(), &[]));
        let known = draining(&cluster(), &input(pods.clone(), &[("a", 120), ("b", 0)]));
        let fewer = draining(&cluster(), &input(pods, &[("a", 90), ("b", 0)]));
        assert!(draining_event(&[], &unknown).is_none());
        let event = draining_event(&unknown, &known).unwrap();
        let note = "a serves its 120 viewers until 2026-01-01T10:05:00Z at the latest";
        assert_eq!(event.note.as_deref(), Some(note));
        assert!(draining_event(&known, &fewer).is_none());
    }
}
