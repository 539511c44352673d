//! The objects of a cluster, as they are applied.

use k8s_openapi::api;
use kube::Resource;
use kube::core::ApiResource;
use livecluster_api::names;
use media_config::Role;
use serde::Serialize;
use serde_json::Value;

use super::gateway_kind::GatewayResource;
use super::spec_error::SpecError;

/// The kinds of a cluster's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildKind {
    /// The identity of the Pods.
    ServiceAccount,
    /// The configuration of the media nodes.
    ConfigMap,
    /// The addresses of the Pods.
    Service,
    /// The way from Gateways to the Services, where the Kubernetes cluster serves the Gateway API.
    Route(GatewayResource),
    /// The clients that may reach the Pods.
    NetworkPolicy,
    /// The Pods that may be unavailable during voluntary disruptions.
    PodDisruptionBudget,
    /// The Pods.
    Deployment,
}

impl ChildKind {
    /// The kinds that every Kubernetes cluster serves, in the order in which they are applied.
    pub const ALL: [Self; 6] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Service,
        Self::NetworkPolicy,
        Self::PodDisruptionBudget,
        Self::Deployment,
    ];

    /// Returns whether a cluster has all objects of this kind to its end, so that the operator needs no right to delete them.
    pub fn is_kept(self) -> bool {
        matches!(self, Self::Service | Self::Deployment)
    }

    /// Returns whether Pods do not start without the objects of this kind.
    pub fn is_mounted(self) -> bool {
        matches!(self, Self::ServiceAccount | Self::ConfigMap)
    }

    /// Returns the kind as a resource of the API.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => ApiResource::erase::<api::core::v1::ServiceAccount>(&()),
            Self::ConfigMap => ApiResource::erase::<api::core::v1::ConfigMap>(&()),
            Self::Service => ApiResource::erase::<api::core::v1::Service>(&()),
            Self::Route(route) => route.resource(),
            Self::NetworkPolicy => ApiResource::erase::<api::networking::v1::NetworkPolicy>(&()),
            Self::PodDisruptionBudget => {
                ApiResource::erase::<api::policy::v1::PodDisruptionBudget>(&())
            }
            Self::Deployment => ApiResource::erase::<api::apps::v1::Deployment>(&()),
        }
    }
}

/// An object of a cluster, as it is applied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Child {
    /// The object's kind.
    #[serde(skip)]
    pub kind: ChildKind,
    /// The role whose rollout includes the object: while that role is on hold, the object is not applied.
    #[serde(skip)]
    pub held_with: Option<Role>,
    /// The whole document of the server-side apply.
    #[serde(flatten)]
    pub document: Value,
}

impl Child {
    /// Returns `object` as a child.
    pub(super) fn new<K>(
        kind: ChildKind,
        held_with: Option<Role>,
        object: &K,
    ) -> Result<Self, SpecError>
    where
        K: Resource + Serialize,
    {
        Ok(Self {
            kind,
            held_with,
            document: serde_json::to_value(object)?,
        })
    }

    /// Returns the object's name.
    pub fn name(&self) -> &str {
        self.document["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
    }

    /// Returns the hash of the Pod template, if the object is a Deployment.
    pub fn template_hash(&self) -> Option<&str> {
        self.document["metadata"]["annotations"][names::TEMPLATE_HASH].as_str()
    }
}
