//! Why Pods do not become ready.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use livecluster_api::names::CONTAINER;

use super::pods::{condition, is_ready, is_terminating};

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
            reason: if message.contains("exceeded quota") {
                "QuotaExceeded"
            } else {
                "ReplicaFailure"
            },
            message: message.to_owned(),
        }
    }

    /// Returns the failure of a Pod that should be ready and is not.
    ///
    /// Kubernetes alternates between reasons while it retries (`ErrImagePull` and `ImagePullBackOff`, `Running` and
    /// `CrashLoopBackOff`). The failure stays the same, or every retry would cause a write of the status.
    pub(super) fn of_pod(pod: &Pod) -> Option<Self> {
        if is_terminating(pod) || is_ready(pod) {
            return None;
        }
        let name = pod.name_any();
        if let Some(("False", message)) = condition(pod, "PodScheduled") {
            return Some(Self {
                reason: "Unschedulable",
                message: message.to_owned(),
            });
        }
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        statuses
            .iter()
            .find_map(|container| Self::of_container(&name, container))
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
        Some(last) => format!("Pod {pod}{container} exited with code {}", last.exit_code),
        None => format!("Pod {pod}{container} exits repeatedly"),
    }
}
