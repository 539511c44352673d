//! The Kubernetes cluster under test.
//!
//! [`Cluster`] is what all scenarios share: the API, the machines, the operator's release. A [`Stage`] is one scenario's own
//! namespace with everything that it does there. [`runner`] runs scenarios: those that disturb nobody beside one another,
//! those that do alone.

mod audience;
mod audit;
mod breakage;
mod command;
mod diagnosis;
mod reach;
mod release;
mod runner;
mod scenario;
mod stage;
mod wait;

use std::path::PathBuf;

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

pub use audit::{ObjectRef, Request, ResponseStatus, User};
pub use command::{Finished, beginning, command};
pub use reach::Reach;
pub use release::{Release, SYSTEM_NAMESPACE};
pub use runner::{Options, run};
pub use scenario::{Scenario, Steps};
pub use stage::{Stage, conditions, describe, is_ready};
pub use wait::{eventually, holds};

/// What all scenarios share.
pub struct Cluster {
    /// The API, as the user of KUBECONFIG.
    pub client: Client,
    /// The machines.
    pub machines: Vec<Machine>,
    /// The kind cluster's name, if this is one that may be broken.
    pub kind: Option<String>,
    /// The operator's Helm release.
    pub release: Release,
    /// Where the story of a failure goes.
    pub out: PathBuf,
}

/// A machine of the cluster.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its name, which is also that of its container if this is a kind cluster.
    pub name: String,
    /// An address that this host reaches.
    pub address: String,
    /// Whether it is the control plane.
    pub control_plane: bool,
}

impl Cluster {
    async fn connect(options: &Options) -> anyhow::Result<Self> {
        let client = Client::try_default()
            .await
            .context("no Kubernetes cluster; KUBECONFIG names one")?;
        let nodes = Api::<Node>::all(client.clone())
            .list(&ListParams::default())
            .await
            .context("cannot list the cluster's nodes")?;
        let machines: Vec<Machine> = nodes.items.iter().filter_map(machine).collect();
        anyhow::ensure!(!machines.is_empty(), "the cluster has no nodes");
        Ok(Self {
            client,
            machines,
            kind: options.kind.clone(),
            release: Release::of(options),
            out: options.out.clone(),
        })
    }

    /// The machine through which scenarios reach Services: the one that no scenario takes away.
    pub fn front(&self) -> &Machine {
        self.machines
            .iter()
            .find(|machine| machine.control_plane)
            .unwrap_or(&self.machines[0])
    }

    /// The machines that run pods and may be taken away.
    pub fn workers(&self) -> impl Iterator<Item = &Machine> {
        self.machines
            .iter()
            .filter(|machine| !machine.control_plane)
    }

    /// The container of a machine, for scenarios that break it.
    ///
    /// # Errors
    /// When the cluster is not one of kind.
    pub fn container(&self, machine: &str) -> anyhow::Result<String> {
        anyhow::ensure!(
            self.kind.is_some(),
            "this scenario breaks machines, so it needs a kind cluster"
        );
        Ok(machine.to_owned())
    }
}

fn machine(node: &Node) -> Option<Machine> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let address = ["ExternalIP", "InternalIP"]
        .iter()
        .find_map(|kind| addresses.iter().find(|address| address.type_ == *kind))?;
    Some(Machine {
        name: node.name_any(),
        address: address.address.clone(),
        control_plane: node
            .labels()
            .contains_key("node-role.kubernetes.io/control-plane"),
    })
}
