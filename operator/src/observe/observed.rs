//! The observed state of a cluster: its Deployments, Services and Pods, read once for each reconciliation.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::jiff::Timestamp;
use kube::core::DynamicObject;
use kube::{Resource, ResourceExt};
use livecluster_api::LiveCluster;
use livecluster_api::names::{self, COMPONENT, role_name};
use media_config::Role;
use serde::de::DeserializeOwned;

use super::gateways::ObservedGateways;
use super::pod_failure::PodFailure;
use super::pods::{is_full, is_ready, is_retiring, is_terminating};
use crate::desired::child::ChildKind;

/// The observed state of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// When it was read.
    pub at: Timestamp,
    /// Its Deployments.
    pub deployments: Vec<Deployment>,
    /// Its Services.
    pub services: Vec<Service>,
    /// Its Pods, terminating ones included.
    pub pods: Vec<Pod>,
    /// Its routes, and the Gateways that they are attached to.
    pub gateways: ObservedGateways,
}

impl Observed {
    /// Replaces a Deployment, Service or route by its current version.
    pub fn update(&mut self, kind: ChildKind, object: &DynamicObject) {
        match kind {
            ChildKind::Deployment => replace(&mut self.deployments, object),
            ChildKind::Service => replace(&mut self.services, object),
            ChildKind::Route(_) => self.gateways.update_route(object),
            _ => {}
        }
    }

    /// Updates a Deployment that was scaled. Its status belongs to the generation before.
    pub fn update_scale(&mut self, name: &str, replicas: i32) {
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

    /// Replaces a Pod by its current version.
    pub fn update_pod(&mut self, current: Pod) {
        let name = current.name_any();
        let found = self.pods.iter_mut().find(|pod| pod.name_any() == name);
        if let Some(pod) = found {
            *pod = current;
        }
    }

    /// Returns the Deployment of a role.
    pub fn deployment(&self, cluster: &LiveCluster, role: Role) -> Option<&Deployment> {
        let name = names::deployment(cluster, role);
        self.deployments
            .iter()
            .find(|found| found.name_any() == name)
    }

    /// Returns the Service of a role.
    pub fn service(&self, cluster: &LiveCluster, role: Role) -> Option<&Service> {
        let name = names::deployment(cluster, role);
        self.services.iter().find(|found| found.name_any() == name)
    }

    /// Returns the Pods of a role.
    pub fn pods(&self, role: Role) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(move |pod| {
            pod.labels().get(COMPONENT).map(String::as_str) == Some(role_name(role))
        })
    }

    /// Returns the number of edges that take no new clients while emptier ones do.
    pub fn full_edges(&self) -> usize {
        self.pods(Role::Edge).filter(|pod| is_full(pod)).count()
    }

    /// Returns the names of the ConfigMaps that Pods mount, or will mount by the template of their Deployment.
    pub fn mounted_config_maps(&self) -> BTreeSet<String> {
        let templates = self.deployments.iter().filter_map(|deployment| {
            let spec = deployment.spec.as_ref()?;
            spec.template.spec.as_ref()
        });
        let pods = self.pods.iter().filter_map(|pod| pod.spec.as_ref());
        let volumes = templates
            .chain(pods)
            .flat_map(|spec| spec.volumes.iter().flatten());
        let config_maps = volumes.filter_map(|volume| volume.config_map.as_ref());
        config_maps
            .map(|config_map| config_map.name.clone())
            .collect()
    }

    /// Returns the observed state of a role.
    pub fn role(&self, cluster: &LiveCluster, role: Role) -> ObservedRole {
        let count = |is_counted: fn(&Pod) -> bool| {
            let count = self.pods(role).filter(|pod| is_counted(pod)).count();
            i32::try_from(count).unwrap_or(i32::MAX)
        };
        let deployment = self.deployment(cluster, role);
        let mut observed = deployment.map(ObservedRole::new).unwrap_or_default();
        observed.terminating = count(is_terminating);
        observed.retiring = count(is_retiring);
        observed.retiring_ready = count(|pod| is_retiring(pod) && is_ready(pod));
        observed.failure = observed.failure.take().or_else(|| {
            let failures = self
                .pods(role)
                .filter_map(|pod| PodFailure::of_pod(pod, self.at));
            failures.min()
        });
        observed
    }
}

/// An object that does not parse as its kind counts as missing.
fn replace<K>(objects: &mut Vec<K>, object: &DynamicObject)
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    objects.retain(|other| other.name_any() != object.name_any());
    objects.extend(object.clone().try_parse::<K>().ok());
}

/// The observed state of a role. The numbers of its Deployment include retiring Pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedRole {
    /// Whether the Deployment exists.
    pub exists: bool,
    /// Replicas in the spec of the Deployment.
    pub wanted: i32,
    /// Pods that are not terminating.
    pub replicas: i32,
    /// Ready Pods.
    pub ready: i32,
    /// Pods that have been ready for `minReadySeconds`.
    pub available: i32,
    /// Pods with the current template.
    pub updated: i32,
    /// Terminating Pods.
    pub terminating: i32,
    /// Pods that take no new clients and are to be removed.
    pub retiring: i32,
    /// Those of them that are ready.
    pub retiring_ready: i32,
    /// Whether the numbers are about the Deployment's current generation.
    pub is_current: bool,
    /// Whether the rollout exceeded its progress deadline.
    pub is_stuck: bool,
    /// A failure that keeps Pods from becoming ready.
    pub failure: Option<PodFailure>,
}

impl ObservedRole {
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
            retiring: 0,
            retiring_ready: 0,
            is_current: status.observed_generation >= deployment.metadata.generation,
            is_stuck: condition("Progressing")
                .is_some_and(|found| found.reason.as_deref() == Some("ProgressDeadlineExceeded")),
            failure: condition("ReplicaFailure")
                .filter(|found| found.status == "True")
                .map(|found| PodFailure::of_deployment(found.message.as_deref().unwrap_or("")))
                .or_else(|| PodFailure::of_paused(deployment)),
        }
    }

    /// Returns the Pods that take new clients or will do so.
    pub fn serving(&self) -> i32 {
        self.replicas.saturating_sub(self.retiring).max(0)
    }

    /// Returns the ready Pods that take new clients.
    pub fn serving_ready(&self) -> i32 {
        self.ready.saturating_sub(self.retiring_ready).max(0)
    }

    /// Returns the Pods that take new clients and have been ready for `minReadySeconds`.
    pub fn serving_available(&self) -> i32 {
        self.available.saturating_sub(self.retiring_ready).max(0)
    }

    /// Returns whether all existing Pods have the current template. There may be too few of them.
    pub fn is_updated(&self) -> bool {
        self.exists && self.is_current && self.updated == self.replicas
    }

    /// Returns whether Pods of an older template are still to be replaced. Numbers that are not current are about the
    /// template before, unless only the number of replicas changed.
    pub fn is_rolling(&self) -> bool {
        let is_new = !self.is_current && self.replicas == self.wanted;
        self.exists && (self.updated < self.replicas || is_new)
    }

    /// Returns whether all wanted Pods are updated and available.
    pub fn is_settled(&self) -> bool {
        self.is_updated() && self.replicas == self.wanted && self.available >= self.wanted
    }
}
