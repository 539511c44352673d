//! Names and labels of a cluster's objects.
//!
//! No object has the bare name of its cluster, and each kind has its own suffixes: the clusters `x` and `x-origin`
//! can live side by side.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::{Resource, ResourceExt};
use media_config::Role;

use crate::LiveCluster;

/// Namespace and name of a LiveCluster.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClusterName {
    /// Its namespace.
    pub namespace: String,
    /// Its name in that namespace.
    pub name: String,
}

impl ClusterName {
    /// Returns the name of a resource that has this name and namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Returns the name of `resource`, which is a LiveCluster or a view of one.
    pub fn of(resource: &impl ResourceExt) -> Self {
        Self::new(
            resource.namespace().unwrap_or_default(),
            resource.name_any(),
        )
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// The roles in the order in which they roll: edges read what origins write, so they learn it first.
pub const ROLES: [Role; 2] = [Role::Edge, Role::Origin];

/// The node's container in its Pod.
pub const CONTAINER: &str = "media-node";

/// Annotation of a Deployment: hash of its Pod template.
pub const TEMPLATE_HASH: &str = "livecluster.dev/template-hash";
/// Annotation of a Deployment whose image the spec does not name: the default that was chosen.
pub const DEFAULT_IMAGE: &str = "livecluster.dev/default-image";
/// Annotation of a Pod: hash of the configuration that it was started with.
pub const CONFIG_HASH: &str = "livecluster.dev/config-hash";

/// Label that tells whose cluster an object belongs to.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Label of a Pod's role.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Selects every object that this operator makes.
pub const MANAGED: &str = "app.kubernetes.io/managed-by=livecluster-operator";

/// The role as it stands in names and labels.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Origin => "origin",
        Role::Edge => "edge",
    }
}

/// Name of a role's Deployment, Service and PodDisruptionBudget.
pub fn deployment(cluster: &LiveCluster, role: Role) -> String {
    format!("{}-{}", cluster.name_any(), role_name(role))
}

/// Name of the headless Service that lists every origin, draining ones too.
pub fn headless_service(cluster: &LiveCluster) -> String {
    format!("{}-origin-headless", cluster.name_any())
}

/// Name of a role's ConfigMap.
pub fn config_map(cluster: &LiveCluster, role: Role) -> String {
    format!("{}-{}-config", cluster.name_any(), role_name(role))
}

/// Name of the NetworkPolicy.
pub fn network_policy(cluster: &LiveCluster) -> String {
    format!("{}-nodes", cluster.name_any())
}

/// Name of the ServiceAccount that the operator makes.
pub fn service_account(cluster: &LiveCluster) -> String {
    format!("{}-media-node", cluster.name_any())
}

/// Labels that select all nodes of a cluster. Frozen: selectors cannot change.
pub fn nodes_selector(cluster: &LiveCluster) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), CONTAINER.to_owned()),
        (INSTANCE.to_owned(), cluster.name_any()),
    ])
}

/// Labels that select the nodes of one role. Frozen: selectors cannot change.
pub fn selector(cluster: &LiveCluster, role: Role) -> BTreeMap<String, String> {
    let mut labels = nodes_selector(cluster);
    labels.insert(COMPONENT.to_owned(), role_name(role).to_owned());
    labels
}

/// [`selector`] in the form of a `LabelSelector`.
pub fn label_selector(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}

/// A selector as the text that the API's `labelSelector` takes.
pub fn selector_text(labels: &BTreeMap<String, String>) -> String {
    labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// Selects everything that the operator made for one cluster.
pub fn children_selector(cluster: &LiveCluster) -> String {
    format!("{MANAGED},{INSTANCE}={}", cluster.name_any())
}

/// Labels of every object and Pod of a cluster.
pub fn labels(cluster: &LiveCluster, role: Option<Role>) -> BTreeMap<String, String> {
    let mut labels = match role {
        Some(role) => selector(cluster, role),
        None => nodes_selector(cluster),
    };
    labels.insert(
        "app.kubernetes.io/managed-by".to_owned(),
        "livecluster-operator".to_owned(),
    );
    labels.insert(
        "app.kubernetes.io/part-of".to_owned(),
        "livecluster".to_owned(),
    );
    labels
}

/// Metadata of an object: the cluster owns it, so that it goes when the cluster goes.
pub fn metadata(cluster: &LiveCluster, name: String, role: Option<Role>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: cluster.namespace(),
        labels: Some(labels(cluster, role)),
        owner_references: cluster.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}
