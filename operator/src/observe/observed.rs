//! What there is of a cluster: its Deployments, Services and Pods, read once for a pass.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, Service};
use kube::core::DynamicObject;
use kube::{Resource, ResourceExt};
use livecluster_api::LiveCluster;
use livecluster_api::names::{self, COMPONENT, CONTAINER, role_name};
use media_config::Role;
use serde::de::DeserializeOwned;

use crate::desired::Kind;

/// What there is of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Its Deployments.
    pub deployments: Vec<Deployment>,
    /// Its Services.
    pub services: Vec<Service>,
    /// Its Pods, leaving ones too.
    pub pods: Vec<Pod>,
}

impl Observed {
    /// Takes a Deployment or Service as it is now, in place of what was known of it.
    pub fn take(&mut self, kind: Kind, object: &DynamicObject) {
        match kind {
            Kind::Deployment => replace(&mut self.deployments, object),
            Kind::Service => replace(&mut self.services, object),
            _ => {}
        }
    }

    /// Notes that a Deployment was scaled: what its status says is about the number before.
    pub fn scaled(&mut self, name: &str, replicas: i32) {
        let found = self
            .deployments
            .iter_mut()
            .find(|found| found.name_any() == name);
        if let Some(deployment) = found {
            deployment.spec.get_or_insert_default().replicas = Some(replicas);
            let generation = deployment.metadata.generation.get_or_insert_default();
            *generation = generation.saturating_add(1);
        }
    }

    /// The Deployment of a role.
    pub fn deployment(&self, cluster: &LiveCluster, role: Role) -> Option<&Deployment> {
        let name = names::deployment(cluster, role);
        self.deployments
            .iter()
            .find(|found| found.name_any() == name)
    }

    /// The Service of a role.
    pub fn service(&self, cluster: &LiveCluster, role: Role) -> Option<&Service> {
        let name = names::deployment(cluster, role);
        self.services.iter().find(|found| found.name_any() == name)
    }

    /// The Pods of a role.
    pub fn pods(&self, role: Role) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(move |pod| {
            pod.labels().get(COMPONENT).map(String::as_str) == Some(role_name(role))
        })
    }

    /// How the nodes of a role are.
    pub fn nodes(&self, cluster: &LiveCluster, role: Role) -> NodesObserved {
        let terminating = self.pods(role).filter(|pod| is_leaving(pod)).count();
        let deployment = self.deployment(cluster, role);
        let mut nodes = deployment.map(NodesObserved::new).unwrap_or_default();
        nodes.terminating = i32::try_from(terminating).unwrap_or(i32::MAX);
        nodes.trouble = nodes.trouble.take().or_else(|| {
            let mut troubles: Vec<_> = self.pods(role).filter_map(pod_trouble).collect();
            troubles.sort();
            troubles.into_iter().next()
        });
        nodes
    }
}

/// An object that cannot be read as its kind counts as missing.
fn replace<K>(known: &mut Vec<K>, object: &DynamicObject)
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    known.retain(|known| known.name_any() != object.name_any());
    known.extend(object.clone().try_parse::<K>().ok());
}

/// How the nodes of a role are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodesObserved {
    /// Whether there is a Deployment.
    pub exists: bool,
    /// Nodes that the Deployment wants.
    pub wanted: i32,
    /// Nodes that exist and are not leaving.
    pub replicas: i32,
    /// Nodes that are ready.
    pub ready: i32,
    /// Nodes that have been ready for a while.
    pub available: i32,
    /// Nodes of the newest template.
    pub updated: i32,
    /// Nodes that are leaving.
    pub terminating: i32,
    /// Whether the numbers are those of the newest Deployment.
    pub is_current: bool,
    /// Whether Kubernetes gave the rollout up.
    pub is_stuck: bool,
    /// What keeps nodes from becoming ready.
    pub trouble: Option<Trouble>,
}

impl NodesObserved {
    fn new(deployment: &Deployment) -> Self {
        let status = deployment.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let condition = |kind: &str| conditions.iter().find(|found| found.type_ == kind);
        Self {
            exists: true,
            wanted: deployment
                .spec
                .as_ref()
                .and_then(|spec| spec.replicas)
                .unwrap_or(1),
            replicas: status.replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            terminating: 0,
            is_current: status.observed_generation >= deployment.metadata.generation,
            is_stuck: condition("Progressing")
                .is_some_and(|found| found.reason.as_deref() == Some("ProgressDeadlineExceeded")),
            trouble: condition("ReplicaFailure")
                .filter(|found| found.status == "True")
                .map(|found| Trouble::replica_failure(found.message.as_deref().unwrap_or(""))),
        }
    }

    /// Whether every node is of the newest template. There may be too few of them.
    pub fn is_updated(&self) -> bool {
        self.exists && self.is_current && self.updated == self.replicas
    }

    /// Whether nodes of an older template are still to be replaced. Numbers that are not current are those of the
    /// template before, unless the number of nodes is what changed.
    pub fn is_rolling(&self) -> bool {
        let is_new = !self.is_current && self.replicas == self.wanted;
        self.exists && (self.updated < self.replicas || is_new)
    }

    /// Whether there is nothing left to do: all nodes are new, available and as many as wanted.
    pub fn is_settled(&self) -> bool {
        self.is_updated() && self.replicas == self.wanted && self.available >= self.wanted
    }
}

/// What keeps a node from becoming ready.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trouble {
    /// One word for it, as a condition's reason.
    pub reason: &'static str,
    /// What is known about it. It does not change while the trouble stays the same.
    pub message: String,
}

impl Trouble {
    fn replica_failure(message: &str) -> Self {
        Self {
            reason: if message.contains("exceeded quota") {
                "QuotaExceeded"
            } else {
                "ReplicaFailure"
            },
            message: message.to_owned(),
        }
    }
}

/// Whether a Pod was asked to leave.
pub fn is_leaving(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether a Pod serves.
pub fn is_ready(pod: &Pod) -> bool {
    pod_condition(pod, "Ready").is_some_and(|(status, _)| status == "True")
}

/// Status and message of a Pod's condition.
fn pod_condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, &'a str)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|found| found.type_ == kind)?;
    Some((&found.status, found.message.as_deref().unwrap_or("")))
}

/// Why a Pod that should serve does not.
///
/// What Kubernetes says alternates while it tries again (`ErrImagePull` and `ImagePullBackOff`, `Running` and
/// `CrashLoopBackOff`); what is said here stays, or the status would be written at every attempt.
fn pod_trouble(pod: &Pod) -> Option<Trouble> {
    if is_leaving(pod) || is_ready(pod) {
        return None;
    }
    let name = pod.name_any();
    if let Some(("False", message)) = pod_condition(pod, "PodScheduled") {
        return Some(Trouble {
            reason: "Unschedulable",
            message: message.to_owned(),
        });
    }
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses
        .iter()
        .find_map(|container| container_trouble(&name, container))
}

fn container_trouble(pod: &str, container: &ContainerStatus) -> Option<Trouble> {
    let waiting = container
        .state
        .as_ref()
        .and_then(|state| state.waiting.as_ref());
    let reason = waiting
        .and_then(|waiting| waiting.reason.as_deref())
        .unwrap_or("");
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" => {
            Some(Trouble {
                reason: "ImageUnavailable",
                message: format!("Pod {pod} cannot get the image {}", container.image),
            })
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(Trouble {
                reason: "ContainerCannotStart",
                message: format!(
                    "Pod {pod}: {}",
                    waiting
                        .and_then(|waiting| waiting.message.as_deref())
                        .unwrap_or(reason)
                ),
            })
        }
        _ if container.restart_count > 0 && !container.ready => Some(Trouble {
            reason: "CrashLooping",
            message: crash_message(pod, container),
        }),
        _ => None,
    }
}

fn crash_message(pod: &str, container: &ContainerStatus) -> String {
    let last = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let whose = if container.name == CONTAINER {
        String::new()
    } else {
        format!(" (container {})", container.name)
    };
    match last {
        Some(last) => format!("Pod {pod}{whose} exits with code {}", last.exit_code),
        None => format!("Pod {pod}{whose} exits again and again"),
    }
}
