//! Why Pods do not become ready.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, Volume};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use livecluster_api::ClusterName;
use livecluster_api::names::{
    COMPONENT, CONFIG_VOLUME, CONTAINER, INSTANCE, LIVE_VOLUME, role_name,
};
use media_config::Role;

use super::pods::{condition, is_ready, is_terminating, node_name};
use crate::k8s::refusals::refused_by;

/// Time after which an edge that runs and is not ready has found no origin. Readiness takes a few seconds otherwise.
const ORIGIN_LIMIT: Duration = Duration::from_secs(10);

/// Time after which a Pod whose volumes are not mounted may lack a Secret or a ConfigMap. Others are mounted within seconds.
const MOUNT_LIMIT: Duration = Duration::from_secs(15);

/// A failure that keeps Pods from becoming ready.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodFailure {
    /// The reason for a condition.
    pub reason: &'static str,
    /// The details. They stay the same while the failure does.
    pub message: String,
}

impl PodFailure {
    /// Returns the failure behind the condition `ReplicaFailure` of a Deployment.
    pub(super) fn of_deployment(message: &str) -> Self {
        Self {
            reason: refused_by(message).unwrap_or("ReplicaFailure"),
            message: message.to_owned(),
        }
    }

    /// Returns the failure of a Deployment with a rollout that somebody else has paused.
    pub(super) fn of_paused(deployment: &Deployment) -> Option<Self> {
        let is_paused = deployment.spec.as_ref()?.paused.unwrap_or(false);
        let status = deployment.status.as_ref()?;
        let is_updated = status.updated_replicas >= status.replicas;
        (is_paused && !is_updated).then(|| {
            let name = deployment.name_any();
            Self {
                reason: "DeploymentPaused",
                message: format!(
                    "Deployment {name} is paused, which `kubectl rollout resume deployment/{name}` ends"
                ),
            }
        })
    }

    /// Returns the failure of a Pod that should be ready at `now` and is not.
    ///
    /// Kubernetes alternates between reasons while it retries (`ErrImagePull` and `ImagePullBackOff`, `Running` and
    /// `CrashLoopBackOff`). The failure stays the same, or every retry would cause a write of the status.
    pub(super) fn of_pod(pod: &Pod, now: Timestamp) -> Option<Self> {
        if is_terminating(pod) || is_ready(pod) {
            return None;
        }
        let name = pod.name_any();
        if is_on_lost_node(pod) {
            let node = node_name(pod);
            return Some(Self {
                reason: "NodeUnreachable",
                message: format!(
                    "Pod {name} is on node {node}, which does not respond; it is replaced when its tolerationSeconds are over"
                ),
            });
        }
        if let Some(("False", message)) = condition(pod, "PodScheduled") {
            return Some(Self {
                reason: "Unschedulable",
                message: message.to_owned(),
            });
        }
        if let Some(failure) = Self::unmounted(pod, now) {
            return Some(failure);
        }
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        statuses
            .iter()
            .find_map(|container| Self::of_container(&name, container))
            .or_else(|| has_found_no_origin(pod, statuses, now).then(|| Self::no_origin(pod)))
    }

    /// Returns the failure of a Pod that waits for its volumes. Only an event of the Pod says which one is missing.
    fn unmounted(pod: &Pod, now: Timestamp) -> Option<Self> {
        let status = pod.status.as_ref()?;
        let conditions = status.conditions.as_ref()?;
        let begins = conditions
            .iter()
            .find(|found| found.type_ == "PodReadyToStartContainers" && found.status == "False")?;
        let since = begins.last_transition_time.as_ref()?.0;
        let is_pending = status.phase.as_deref() == Some("Pending");
        let volumes = referenced_volumes(pod);
        if !is_pending || since + MOUNT_LIMIT > now || volumes.is_empty() {
            return None;
        }
        Some(Self {
            reason: "VolumesNotMounted",
            message: format!(
                "Pod {} waits for its volumes, of which an object or a key of it may not exist: {}",
                pod.name_any(),
                volumes.join(", ")
            ),
        })
    }

    fn no_origin(pod: &Pod) -> Self {
        let namespace = pod.namespace().unwrap_or_default();
        let cluster = pod.labels().get(INSTANCE).cloned().unwrap_or_default();
        let service = ClusterName::new(&namespace, cluster).headless_service();
        Self {
            reason: "NoOriginFound",
            message: format!(
                "Pod {} runs and has found no origin at {service}.{namespace}.svc yet",
                pod.name_any()
            ),
        }
    }

    fn of_container(pod: &str, container: &ContainerStatus) -> Option<Self> {
        let waiting = container
            .state
            .as_ref()
            .and_then(|state| state.waiting.as_ref());
        let reason = waiting
            .and_then(|waiting| waiting.reason.as_deref())
            .unwrap_or("");
        match reason {
            "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" => {
                Some(Self {
                    reason: "ImageUnavailable",
                    message: format!("Pod {pod} cannot pull image {}", container.image),
                })
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                Some(Self {
                    reason: "ContainerCannotStart",
                    message: format!(
                        "Pod {pod}: {}",
                        waiting
                            .and_then(|waiting| waiting.message.as_deref())
                            .unwrap_or(reason)
                    ),
                })
            }
            _ if container.restart_count > 0 && !container.ready => Some(Self {
                reason: "CrashLooping",
                message: crash_message(pod, container),
            }),
            _ => None,
        }
    }
}

/// Returns whether the node of a Pod does not respond. Kubernetes then takes back that the Pod is ready, and leaves what the node said
/// about its containers. A node itself says that of Pods with readiness gates only.
fn is_on_lost_node(pod: &Pod) -> bool {
    let gates = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.readiness_gates.as_ref());
    let has_gates = gates.is_some_and(|gates| !gates.is_empty());
    let is = |kind: &str, status: &str| condition(pod, kind).is_some_and(|(it, _)| it == status);
    !has_gates && is("Ready", "False") && is("ContainersReady", "True")
}

/// Returns the Secrets and ConfigMaps that a Pod mounts and the operator does not make.
fn referenced_volumes(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    let name = |volume: &Volume| {
        let secret = volume.secret.as_ref();
        let secret = secret.and_then(|it| Some(format!("Secret {}", it.secret_name.as_ref()?)));
        let config_map = volume.config_map.as_ref();
        let is_own = matches!(volume.name.as_str(), CONFIG_VOLUME | LIVE_VOLUME);
        let config_map = config_map.filter(|_| !is_own);
        secret.or_else(|| config_map.map(|it| format!("ConfigMap {}", it.name)))
    };
    volumes.into_iter().flatten().filter_map(name).collect()
}

/// Returns whether an edge has found no origin: nothing else keeps a running edge from being ready.
fn has_found_no_origin(pod: &Pod, containers: &[ContainerStatus], now: Timestamp) -> bool {
    let is_edge = pod.labels().get(COMPONENT).map(String::as_str) == Some(role_name(Role::Edge));
    let media_node = containers.iter().find(|found| found.name == CONTAINER);
    let running = media_node
        .filter(|container| !container.ready)
        .and_then(|container| container.state.as_ref()?.running.as_ref());
    let started = running.and_then(|running| running.started_at.as_ref());
    is_edge && started.is_some_and(|started| started.0 + ORIGIN_LIMIT <= now)
}

fn crash_message(pod: &str, container: &ContainerStatus) -> String {
    let last = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let container = if container.name == CONTAINER {
        String::new()
    } else {
        format!(" (container {})", container.name)
    };
    match last {
        Some(last) if last.reason.as_deref() == Some("OOMKilled") => format!(
            "Pod {pod}{container} was killed: it needs more memory than resources.limits.memory"
        ),
        Some(last) => format!("Pod {pod}{container} exited with code {}", last.exit_code),
        None => format!("Pod {pod}{container} exits repeatedly"),
    }
}
