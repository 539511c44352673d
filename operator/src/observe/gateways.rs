//! The Gateways that a cluster's routes are attached to: their listeners and addresses.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt};
use livecluster_api::LiveCluster;
use livecluster_api::names;
use serde::Deserialize;
use serde_json::Value;

use crate::desired::gateway_kind::{GatewayKind, ServedGatewayApi};
use crate::k8s::call_error::CallError;

/// The Gateway API from the view of a cluster.
#[derive(Clone, Debug, Default)]
pub struct ObservedGateways {
    /// The kinds that the Kubernetes cluster serves.
    pub served: ServedGatewayApi,
    /// The cluster's routes.
    pub routes: Vec<DynamicObject>,
    /// The Gateways of `spec.gateway`.
    pub gateways: Vec<ObservedGateway>,
}

impl ObservedGateways {
    /// Returns a route of the cluster.
    pub fn route(
        &self,
        cluster: &LiveCluster,
        route: livecluster_api::GatewayRoute,
    ) -> Option<&DynamicObject> {
        let name = names::gateway_route(cluster, route);
        self.routes.iter().find(|found| found.name_any() == name)
    }

    /// Returns what is known about a Gateway of the spec.
    pub fn gateway(&self, namespace: &str, name: &str) -> Option<&GatewayState> {
        let mut gateways = self.gateways.iter();
        let found = gateways.find(|it| it.namespace == namespace && it.name == name)?;
        Some(&found.state)
    }

    /// Replaces a route by its current version.
    pub fn update_route(&mut self, route: &DynamicObject) {
        self.routes
            .retain(|other| other.name_any() != route.name_any());
        self.routes.push(route.clone());
    }
}

/// A Gateway that the spec names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedGateway {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What is known about it.
    pub state: GatewayState,
}

/// What is known about a Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayState {
    /// It exists.
    Found {
        /// IP addresses and host names at which it is reached.
        addresses: Vec<String>,
        /// Its listeners.
        listeners: Vec<GatewayListener>,
    },
    /// It does not exist.
    Missing,
    /// The operator lacks the permission to read it.
    Unreadable,
}

/// A listener of a Gateway.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct GatewayListener {
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// `HTTP`, `HTTPS`, `TLS`, `TCP` or a name of the implementation.
    pub protocol: String,
    /// The host name that it is limited to.
    pub hostname: Option<String>,
}

/// Reads the Gateways that the spec names.
///
/// # Errors
/// See [`CallError`]. A missing permission is not an error: a Gateway may be in a namespace that is not the operator's.
pub async fn gateways(
    client: &Client,
    cluster: &LiveCluster,
    served: &ServedGatewayApi,
) -> Result<Vec<ObservedGateway>, CallError> {
    let Some(resource) = served.get(GatewayKind::Gateway) else {
        return Ok(Vec::new());
    };
    let own = cluster.namespace().unwrap_or_default();
    let parents = cluster.spec.gateway.iter().flat_map(|it| &it.parent_refs);
    let names: BTreeSet<(String, String)> = parents
        .map(|it| {
            (
                it.namespace.clone().unwrap_or_else(|| own.clone()),
                it.name.clone(),
            )
        })
        .collect();
    let resource = resource.resource();
    let reads = names
        .into_iter()
        .map(|(namespace, name)| read(client, &resource, namespace, name));
    try_join_all(reads).await
}

async fn read(
    client: &Client,
    resource: &ApiResource,
    namespace: String,
    name: String,
) -> Result<ObservedGateway, CallError> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, resource);
    let found = api.get_opt(&name).await;
    let state = match found.map_err(CallError::on("get", "Gateway", &name)) {
        Ok(Some(gateway)) => state(&gateway),
        Ok(None) => GatewayState::Missing,
        // The kind is not served any more.
        Err(error) if error.is_not_found() => GatewayState::Missing,
        Err(error) if error.status().is_some_and(|it| it.is_forbidden()) => {
            GatewayState::Unreadable
        }
        Err(error) => return Err(error),
    };
    Ok(ObservedGateway {
        namespace,
        name,
        state,
    })
}

fn state(gateway: &DynamicObject) -> GatewayState {
    let items = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let addresses = items(&gateway.data["status"]["addresses"]).into_iter();
    let listeners = items(&gateway.data["spec"]["listeners"]).into_iter();
    GatewayState::Found {
        addresses: addresses
            .filter_map(|address| Some(address["value"].as_str()?.to_owned()))
            .collect(),
        listeners: listeners
            .filter_map(|listener| serde_json::from_value(listener).ok())
            .collect(),
    }
}
