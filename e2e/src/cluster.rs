//! The Kubernetes cluster under test.
//!
//! [`Cluster`] is what all scenarios share: the API, the nodes, the operator's release. A [`Namespace`] is one scenario's own, with
//! everything that the scenario does there.

mod audit;
mod diagnosis;
mod faults;
mod livecluster;
mod namespace;
mod reach;
mod release;
mod repairs;
mod watched_stream;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::process;
use crate::wait::{DEADLINE, eventually};

pub use audit::AuditedRequest;
pub(crate) use diagnosis::diagnose;
pub use faults::container;
pub use livecluster::{condition, condition_of, describe, ready_since};
pub use namespace::{Namespace, is_ready};
pub use reach::{Reach, connects};
pub use release::{LEASE, Release, set};
pub use watched_stream::{STREAM, WatchedStream};

/// Which cluster, and the images under test.
#[derive(clap::Args, Clone, Debug)]
pub struct TargetCluster {
    /// The kind cluster's name, if this is one that may be broken.
    #[arg(long, env = "LIVECLUSTER_KIND")]
    pub kind: Option<String>,
    /// The folder of the Gateway API's definitions.
    #[arg(long, env = "LIVECLUSTER_GATEWAY_API")]
    gateway_api: Option<PathBuf>,
    /// The operator's image; the chart's when absent.
    #[arg(long, env = "LIVECLUSTER_OPERATOR_IMAGE")]
    operator_image: Option<String>,
    /// The media node's image; the chart's when absent.
    #[arg(long, env = "LIVECLUSTER_MEDIA_NODE_IMAGE")]
    media_node_image: Option<String>,
}

/// What all scenarios on a cluster share.
pub struct Cluster {
    /// The API, as the user of KUBECONFIG.
    pub client: Client,
    /// The cluster's nodes.
    pub nodes: Vec<ClusterNode>,
    /// The kind cluster's name, if this is one that may be broken.
    pub kind: Option<String>,
    /// The operator's Helm release.
    pub release: Release,
    /// The folder of the Gateway API's definitions.
    pub gateway_api: Option<PathBuf>,
}

/// A node of the cluster.
#[derive(Clone, Debug)]
pub struct ClusterNode {
    /// Its name, which is also that of its container if this is a kind cluster.
    pub name: String,
    /// An address that this host reaches.
    pub address: String,
    /// Whether it is the control plane.
    pub control_plane: bool,
}

impl Cluster {
    /// Connects to the cluster of KUBECONFIG, and installs the operator there.
    pub async fn prepare(target: &TargetCluster) -> Result<Self> {
        let client = Client::try_default().await;
        let client = client.context("no Kubernetes cluster; KUBECONFIG names one")?;
        let (api, every) = (Api::<Node>::all(client.clone()), ListParams::default());
        let nodes = api.list(&every).await.context("list the cluster's nodes")?;
        let nodes: Vec<ClusterNode> = nodes.items.iter().filter_map(cluster_node).collect();
        ensure!(!nodes.is_empty(), "the cluster has no nodes");
        let cluster = Self {
            client,
            nodes,
            kind: target.kind.clone(),
            release: Release::of(target),
            gateway_api: target.gateway_api.clone(),
        };
        namespace::create_restricted(&cluster.release.namespace, "operator").await?;
        cluster.release.restore().await?;
        // The API server accepts the definition a moment before it serves the resource.
        let list = || process::run("kubectl get lc -A");
        eventually("kubectl lists LiveClusters", DEADLINE, list).await?;
        Ok(cluster)
    }

    /// The node through which scenarios reach Services: the one that no scenario breaks.
    pub fn front(&self) -> &ClusterNode {
        let control_plane = self.nodes.iter().find(|node| node.control_plane);
        control_plane.unwrap_or(&self.nodes[0])
    }

    /// The nodes that run Pods and may be broken.
    pub fn workers(&self) -> impl DoubleEndedIterator<Item = &ClusterNode> {
        self.nodes.iter().filter(|node| !node.control_plane)
    }
}

/// Waits until no namespace of any scenario is left.
pub(crate) async fn namespaces_are_gone() -> Result<()> {
    let own = format!("namespaces -l {}=scenario", namespace::PURPOSE);
    let line = format!("kubectl wait --for=delete {own} --timeout=400s");
    process::run(&line).await.map(drop)
}

fn cluster_node(node: &Node) -> Option<ClusterNode> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let address = ["ExternalIP", "InternalIP"]
        .iter()
        .find_map(|kind| addresses.iter().find(|address| address.type_ == *kind))?;
    let control_plane = "node-role.kubernetes.io/control-plane";
    Some(ClusterNode {
        name: node.name_any(),
        address: address.address.clone(),
        control_plane: node.labels().contains_key(control_plane),
    })
}

/// The name of the node that a Pod runs on.
pub fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}
