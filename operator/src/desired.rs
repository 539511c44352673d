//! The objects that a `LiveCluster` needs: a pure function, with one file for each kind of object.
//!
//! No clock, no client, no randomness: equal input gives equal bytes. No document contains `spec.replicas` of a
//! Deployment, which is set through `/scale` only.

pub mod child;
mod config_map;
pub mod defaults;
mod deployment;
mod disruption_budget;
pub mod gateway_kind;
pub mod gateway_routes;
pub mod identity;
mod live_settings;
pub mod metrics_clients;
mod mounts;
mod network_policy;
mod overlay;
mod pod;
mod service;
mod service_account;
pub mod spec_error;
mod tolerations;

use k8s_openapi::api::apps::v1::Deployment;
use livecluster_api::LiveCluster;
use livecluster_api::names::ROLES;

use child::{Child, ChildKind};
use defaults::{Defaults, PodImage};
use gateway_kind::ServedGatewayApi;
use spec_error::SpecError;

/// The objects that a cluster needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The image of the Pods.
    pub image: String,
    /// The objects in the order in which they are applied: edges before origins.
    pub children: Vec<Child>,
}

impl Desired {
    /// Returns whether the cluster needs the object.
    pub fn contains(&self, kind: ChildKind, name: &str) -> bool {
        self.children
            .iter()
            .any(|child| child.kind == kind && child.name() == name)
    }
}

/// Returns the objects that `cluster` needs. `live` are its existing Deployments: a cluster whose spec has no image keeps
/// theirs. `keys` are the API server's public keys, a JSON Web Key Set. `served` are the kinds of the Gateway API.
///
/// # Errors
/// When a raw part of the spec (`podTemplate`, `affinity`, ...) is not of its Kubernetes type.
pub fn desired(
    cluster: &LiveCluster,
    defaults: &Defaults,
    live: &[Deployment],
    keys: &str,
    served: &ServedGatewayApi,
) -> Result<Desired, SpecError> {
    let image = PodImage::choose(cluster, defaults, live);
    let mut children = Vec::new();
    if let Some(account) = service_account::service_account(cluster) {
        children.push(Child::new(ChildKind::ServiceAccount, None, &account)?);
    }
    let keys = identity::config_map(cluster, keys);
    children.push(Child::new(ChildKind::ConfigMap, None, &keys)?);
    let live_settings = live_settings::config_map(cluster)?;
    children.push(Child::new(ChildKind::ConfigMap, None, &live_settings)?);
    let mut config_hashes = Vec::new();
    for role in ROLES {
        let (config, hash) = config_map::config_map(cluster, defaults, role)?;
        // It is new where its content is: a role on hold keeps the one that it has.
        children.push(Child::new(ChildKind::ConfigMap, None, &config)?);
        config_hashes.push((role, hash));
    }
    for role in ROLES {
        let service = service::service(cluster, role);
        children.push(Child::new(ChildKind::Service, None, &service)?);
    }
    children.push(Child::new(
        ChildKind::Service,
        None,
        &service::headless(cluster),
    )?);
    children.extend(gateway_routes::gateway_routes(cluster, served)?);
    if cluster.spec.network_policy.enabled {
        let policy = network_policy::network_policy(cluster, defaults)?;
        children.push(Child::new(ChildKind::NetworkPolicy, None, &policy)?);
    }
    for role in ROLES {
        if let Some(budget) = disruption_budget::disruption_budget(cluster, role) {
            children.push(Child::new(ChildKind::PodDisruptionBudget, None, &budget)?);
        }
    }
    for (role, hash) in config_hashes {
        let deployment = deployment::deployment(cluster, role, &image, &hash)?;
        children.push(Child::new(ChildKind::Deployment, Some(role), &deployment)?);
    }
    Ok(Desired {
        image: image.name,
        children,
    })
}

#[cfg(test)]
mod tests;
