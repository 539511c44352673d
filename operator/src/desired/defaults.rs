//! The options of the operator that shape a cluster's objects, and the choice of the image.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use livecluster_api::LiveCluster;
use livecluster_api::names::{self, ROLES};

use super::metrics_clients::MetricsClients;

/// The options of the operator that shape a cluster's objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    /// Image of clusters whose spec has none.
    pub image: String,
    /// Whether such clusters roll out a new default image, instead of keeping the one they were created with.
    pub roll_image: bool,
    /// Namespace of the operator, for the rule that admits it; unknown outside of a Kubernetes cluster.
    pub operator_namespace: Option<String>,
    /// Clients that may reach the metrics of the Pods.
    pub metrics_clients: MetricsClients,
    /// ServiceAccount of the operator, whose tokens the Pods accept; unknown outside of a Kubernetes cluster.
    pub operator_account: Option<String>,
}

/// The image of the Pods.
pub(super) struct PodImage {
    /// The image's name.
    pub(super) name: String,
    /// Whether the name is the operator's default, not the spec's.
    pub(super) is_default: bool,
}

impl PodImage {
    /// Returns the spec's image; else the default that the cluster was created with; else the operator's default.
    ///
    /// The default that the cluster was created with is read from its Deployments, never from its status: a status may
    /// be lost.
    pub(super) fn choose(cluster: &LiveCluster, defaults: &Defaults, live: &[Deployment]) -> Self {
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
