//! Names, labels and annotations of the objects of a LiveCluster.
//!
//! No object has the bare name of its LiveCluster, and each kind has its own suffixes: the LiveClusters `x` and `x-origin`
//! can exist side by side.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use media_config::Role;

use crate::cluster_name::ClusterName;
use crate::gateway::GatewayRoute;
pub use crate::role::{ROLES, role_name};
use crate::spec::LiveCluster;

/// Name of the media node's container in each Pod.
pub const CONTAINER: &str = "media-node";
/// Volume of a Pod with the media node's configuration file.
pub const CONFIG_VOLUME: &str = "config";
/// Volume of a Pod with the settings that change while it runs.
pub const LIVE_VOLUME: &str = "live";

/// Annotation of a Deployment: hash of its Pod template.
pub const TEMPLATE_HASH: &str = "livecluster.dev/template-hash";
/// Annotation of a Deployment: its image, when the spec names none and the operator chose its default.
pub const DEFAULT_IMAGE: &str = "livecluster.dev/default-image";

/// Label of an edge Pod: whether the Service of the edges routes new clients to it. `true`, [`FULL`] while emptier edges take
/// them, or `false` when it retires.
pub const SERVING: &str = "livecluster.dev/serving";
/// Value of [`SERVING`].
pub const FULL: &str = "full";
/// Annotation of an edge Pod that retires: since when.
pub const RETIRING_SINCE: &str = "livecluster.dev/retiring-since";

/// Label of an object: the name of its LiveCluster.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Label of an object: the role of the Pods that it belongs to.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Label selector of every object that the operator makes.
pub const MANAGED: &str = "app.kubernetes.io/managed-by=livecluster-operator";

/// Returns the name of a role's Deployment, Service and PodDisruptionBudget.
pub fn deployment(cluster: &LiveCluster, role: Role) -> String {
    format!("{}-{}", cluster.name_any(), role_name(role))
}

/// Returns the name of the headless Service that lists every origin Pod, draining ones too.
pub fn headless_service(cluster: &LiveCluster) -> String {
    ClusterName::of(cluster).headless_service()
}

/// Returns the name of a role's ConfigMap with the content of this hash.
pub fn config_map(cluster: &LiveCluster, role: Role, hash: &str) -> String {
    format!("{}-{}-config-{hash}", cluster.name_any(), role_name(role))
}

/// Returns the name of the ConfigMap with the settings that change under running Pods.
pub fn live_config_map(cluster: &LiveCluster) -> String {
    format!("{}-live", cluster.name_any())
}

/// Returns the name of the ConfigMap with the API server's public keys.
pub fn identity(cluster: &LiveCluster) -> String {
    format!("{}-identity", cluster.name_any())
}

/// Returns the name of a route of the Gateway API.
pub fn gateway_route(cluster: &LiveCluster, route: GatewayRoute) -> String {
    format!("{}-{}", cluster.name_any(), route.name())
}

/// Returns the name of the NetworkPolicy.
pub fn network_policy(cluster: &LiveCluster) -> String {
    format!("{}-nodes", cluster.name_any())
}

/// Returns the name of the ServiceAccount that the operator makes.
pub fn service_account(cluster: &LiveCluster) -> String {
    format!("{}-media-node", cluster.name_any())
}

/// Returns the labels that select all Pods of a LiveCluster. They never change: selectors are immutable.
pub fn pods_selector(cluster: &LiveCluster) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), CONTAINER.to_owned()),
        (INSTANCE.to_owned(), cluster.name_any()),
    ])
}

/// Returns the labels that select the Pods of one role. They never change: selectors are immutable.
pub fn selector(cluster: &LiveCluster, role: Role) -> BTreeMap<String, String> {
    let mut labels = pods_selector(cluster);
    labels.insert(COMPONENT.to_owned(), role_name(role).to_owned());
    labels
}

/// Returns the labels that select the Pods of one role that take new clients.
pub fn service_selector(cluster: &LiveCluster, role: Role) -> BTreeMap<String, String> {
    let mut labels = selector(cluster, role);
    if role == Role::Edge {
        labels.insert(SERVING.to_owned(), "true".to_owned());
    }
    labels
}

/// Returns the label selector of the Pods of one role that an autoscaler counts: those that do not retire, in the form of the
/// API's `labelSelector` parameter. `kubectl scale` does not read `!=`.
pub fn scale_selector(cluster: &LiveCluster, role: Role) -> String {
    let all = selector_text(&selector(cluster, role));
    match role {
        Role::Origin => all,
        Role::Edge => format!("{all},{SERVING} notin (false)"),
    }
}

/// Returns `labels` as a `LabelSelector`.
pub fn label_selector(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}

/// Returns `labels` in the form of the API's `labelSelector` parameter.
pub fn selector_text(labels: &BTreeMap<String, String>) -> String {
    labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// Returns the label selector of every object that the operator made for one LiveCluster.
pub fn children_selector(cluster: &LiveCluster) -> String {
    format!("{MANAGED},{INSTANCE}={}", cluster.name_any())
}

/// Returns the labels of every object and Pod of a LiveCluster.
pub fn labels(cluster: &LiveCluster, role: Option<Role>) -> BTreeMap<String, String> {
    let mut labels = match role {
        Some(role) => selector(cluster, role),
        None => pods_selector(cluster),
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

/// Returns the metadata of an object. The LiveCluster owns it, so that it is deleted with the LiveCluster, and before it when the
/// deletion is a foreground one.
pub fn metadata(cluster: &LiveCluster, name: String, role: Option<Role>) -> ObjectMeta {
    let owner = cluster
        .controller_owner_ref(&())
        .map(|owner| OwnerReference {
            block_owner_deletion: Some(true),
            ..owner
        });
    ObjectMeta {
        name: Some(name),
        namespace: cluster.namespace(),
        labels: Some(labels(cluster, role)),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}
