//! The state of a Pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use livecluster_api::names::{FULL, RETIRING_SINCE, SERVING};

/// Returns whether the Pod is terminating.
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Returns whether the Pod is ready.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|(status, _)| status == "True")
}

/// Returns whether a container of the Pod runs. One that is ready does.
pub fn is_running(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let state = |it: &ContainerStatus| it.state.as_ref().is_some_and(|it| it.running.is_some());
    is_ready(pod) || containers.is_some_and(|containers| containers.iter().any(state))
}

/// Returns whether the Pod keeps its clients until it is removed, and takes no new ones.
pub fn is_retiring(pod: &Pod) -> bool {
    !is_terminating(pod)
        && pod
            .labels()
            .get(SERVING)
            .is_some_and(|value| value != "true" && value != FULL)
}

/// Returns whether the Pod takes no new clients while emptier edges do.
pub fn is_full(pod: &Pod) -> bool {
    !is_terminating(pod) && pod.labels().get(SERVING).is_some_and(|value| value == FULL)
}

/// Returns the name of the node that runs a Pod; empty before it is scheduled.
pub fn node_name(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.node_name.clone())
        .unwrap_or_default()
}

/// Returns since when the Pod retires. One whose annotation was removed by hand has retired for long.
pub fn retiring_since(pod: &Pod) -> Option<Timestamp> {
    let since = pod.annotations().get(RETIRING_SINCE);
    let since = since.and_then(|since| since.parse().ok());
    is_retiring(pod).then(|| since.unwrap_or_default())
}

/// Returns the time from the creation of the Pod until it became ready.
pub fn ready_after(pod: &Pod) -> Option<Duration> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|found| found.type_ == "Ready")?;
    let since = ready.last_transition_time.as_ref()?;
    let created = pod.metadata.creation_timestamp.as_ref()?;
    let time = since.0.duration_since(created.0);
    is_ready(pod).then(|| time.unsigned_abs())
}

/// Returns status and message of a Pod's condition.
pub(super) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, &'a str)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|found| found.type_ == kind)?;
    Some((&found.status, found.message.as_deref().unwrap_or("")))
}
