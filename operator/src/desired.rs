//! What a `LiveCluster` needs in Kubernetes: a pure function, one file for each kind of object.
//!
//! No clock, no client, no randomness: equal input gives equal bytes, and `spec.replicas` of a Deployment is in no
//! document: only `/scale` sets it.

mod config_map;
mod deployment;
mod disruption_budget;
mod network_policy;
mod overlay;
mod pod;
mod service;
mod service_account;

use k8s_openapi::api::apps::v1::Deployment;
use kube::core::ApiResource;
use kube::{Resource, ResourceExt};
use livecluster_api::LiveCluster;
use livecluster_api::names::{self, ROLES};
use media_config::{ConfigError, Role};
use serde::Serialize;
use serde_json::Value;

/// What the operator itself was told, as far as it shapes the objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    /// Image of clusters that name none.
    pub image: String,
    /// Whether such clusters follow a new default at once, instead of keeping the image they were started with.
    pub roll_image: bool,
    /// Where the operator runs, for the rule that lets it in; unknown outside of a cluster.
    pub operator_namespace: Option<String>,
}

/// Why a spec cannot be made into objects.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A raw object does not have the form that Kubernetes wants.
    #[error("{field}: {message}")]
    Malformed {
        /// Path of the field.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// The node would refuse its configuration.
    #[error("the nodes' configuration: {0}")]
    NodeConfig(#[from] ConfigError),
    /// An object cannot be written as JSON.
    #[error("an object cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The kinds of objects that a cluster is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What the nodes run as.
    ServiceAccount,
    /// What the nodes are told.
    ConfigMap,
    /// How they are reached.
    Service,
    /// Who may reach them.
    NetworkPolicy,
    /// How many may be away.
    PodDisruptionBudget,
    /// The nodes.
    Deployment,
}

impl Kind {
    /// All kinds, in the order in which they are applied.
    pub const ALL: [Self; 6] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Service,
        Self::NetworkPolicy,
        Self::PodDisruptionBudget,
        Self::Deployment,
    ];

    /// Where the API has it.
    pub fn resource(self) -> ApiResource {
        use k8s_openapi::api;
        match self {
            Self::ServiceAccount => ApiResource::erase::<api::core::v1::ServiceAccount>(&()),
            Self::ConfigMap => ApiResource::erase::<api::core::v1::ConfigMap>(&()),
            Self::Service => ApiResource::erase::<api::core::v1::Service>(&()),
            Self::NetworkPolicy => ApiResource::erase::<api::networking::v1::NetworkPolicy>(&()),
            Self::PodDisruptionBudget => {
                ApiResource::erase::<api::policy::v1::PodDisruptionBudget>(&())
            }
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
        }
    }
}

/// One object, as it is applied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Child {
    /// What it is.
    #[serde(skip)]
    pub kind: Kind,
    /// The role whose rollout it belongs to: it waits while that role is held back.
    #[serde(skip)]
    pub role: Option<Role>,
    /// The whole document of the server-side apply.
    #[serde(flatten)]
    pub document: Value,
}

impl Child {
    /// The object's name.
    pub fn name(&self) -> &str {
        self.document["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
    }

    /// Hash of the Pod template, when the object is a Deployment.
    pub fn template_hash(&self) -> Option<&str> {
        self.document["metadata"]["annotations"][names::TEMPLATE_HASH].as_str()
    }

    fn new<K>(kind: Kind, role: Option<Role>, object: &K) -> Result<Self, SpecError>
    where
        K: Resource + Serialize,
    {
        Ok(Self {
            kind,
            role,
            document: serde_json::to_value(object)?,
        })
    }
}

/// Everything that a cluster needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The nodes' image.
    pub image: String,
    /// The objects, in the order in which they are applied: edges before origins.
    pub children: Vec<Child>,
}

impl Desired {
    /// Whether an object is wanted.
    pub fn contains(&self, kind: Kind, name: &str) -> bool {
        self.children
            .iter()
            .any(|child| child.kind == kind && child.name() == name)
    }
}

/// What `cluster` needs. `live` are its Deployments as they are: a cluster that names no image keeps its own.
///
/// # Errors
/// When a raw part of the spec (`podTemplate`, `affinity`, ...) is not what Kubernetes takes.
pub fn desired(
    cluster: &LiveCluster,
    defaults: &Defaults,
    live: &[Deployment],
) -> Result<Desired, SpecError> {
    let image = Image::choose(cluster, defaults, live);
    let mut children = Vec::new();
    if let Some(account) = service_account::service_account(cluster) {
        children.push(Child::new(Kind::ServiceAccount, None, &account)?);
    }
    let mut config_hashes = Vec::new();
    for role in ROLES {
        let (config, hash) = config_map::config_map(cluster, role)?;
        children.push(Child::new(Kind::ConfigMap, Some(role), &config)?);
        config_hashes.push((role, hash));
    }
    for role in ROLES {
        let service = service::service(cluster, role);
        children.push(Child::new(Kind::Service, None, &service)?);
    }
    children.push(Child::new(
        Kind::Service,
        None,
        &service::headless(cluster),
    )?);
    if cluster.spec.network_policy.enabled {
        let policy = network_policy::network_policy(cluster, defaults)?;
        children.push(Child::new(Kind::NetworkPolicy, None, &policy)?);
    }
    for role in ROLES {
        if let Some(budget) = disruption_budget::disruption_budget(cluster, role) {
            children.push(Child::new(Kind::PodDisruptionBudget, None, &budget)?);
        }
    }
    for (role, hash) in config_hashes {
        let deployment = deployment::deployment(cluster, role, &image, &hash)?;
        children.push(Child::new(Kind::Deployment, Some(role), &deployment)?);
    }
    Ok(Desired {
        image: image.name,
        children,
    })
}

/// The nodes' image, and whether it was the operator that chose it.
pub(crate) struct Image {
    /// The image.
    pub(crate) name: String,
    /// Whether the spec names none.
    pub(crate) is_default: bool,
}

impl Image {
    /// The spec's image; else the default that the cluster was started with; else the operator's default.
    ///
    /// What the cluster was started with is read from its Deployments, never from its status: it must be possible
    /// to lose the status.
    fn choose(cluster: &LiveCluster, defaults: &Defaults, live: &[Deployment]) -> Self {
        if let Some(name) = cluster.spec.image.clone() {
            return Self {
                name,
                is_default: false,
            };
        }
        let kept = ROLES
            .iter()
            .filter_map(|role| {
                let name = names::deployment(cluster, *role);
                live.iter().find(|deployment| deployment.name_any() == name)
            })
            .find_map(|deployment| deployment.annotations().get(names::DEFAULT_IMAGE))
            .filter(|_| !defaults.roll_image);
        Self {
            name: kept.unwrap_or(&defaults.image).clone(),
            is_default: true,
        }
    }
}

#[cfg(test)]
mod tests;
