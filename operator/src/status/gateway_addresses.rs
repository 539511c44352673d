//! Where the routes of a cluster are reached: the addresses and listeners of the Gateways that accept them.

use livecluster_api::{ClientPort, GatewayRoute, LiveCluster};
use media_config::Role;

use super::routes::is_accepted;
use crate::desired::gateway_routes::{self, ParentRef};
use crate::observe::gateways::{GatewayListener, GatewayState, ObservedGateways};

/// Addresses of a Gateway in the URLs: a client needs one, and a second one when it is down.
const MAX_HOSTS: usize = 3;

/// An address at which clients reach the Pods of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GatewayAddress {
    /// Host name or IP address.
    pub(super) host: String,
    /// What clients find there: HTTPS or RTMPS also where the Gateway terminates TLS.
    pub(super) port: ClientPort,
    /// The number of the listener's port.
    pub(super) number: u16,
}

/// Returns the addresses for clients of a role.
pub(super) fn gateway_addresses(
    cluster: &LiveCluster,
    observed: &ObservedGateways,
    role: Role,
) -> Vec<GatewayAddress> {
    let mut addresses = Vec::new();
    let routes = cluster.spec.gateway_routes().into_iter();
    for (route, parents) in routes.filter(|(route, _)| route.role() == role) {
        let Some(object) = observed.route(cluster, route) else {
            continue;
        };
        let parents = parents
            .into_iter()
            .map(|parent| gateway_routes::parent_ref(cluster, route, parent));
        for parent in parents.filter(|parent| is_accepted(object, parent)) {
            let of_parent = of_parent(cluster, observed, route, &parent);
            addresses.extend(of_parent);
        }
    }
    addresses
}

fn of_parent(
    cluster: &LiveCluster,
    observed: &ObservedGateways,
    route: GatewayRoute,
    parent: &ParentRef,
) -> Vec<GatewayAddress> {
    let Some(GatewayState::Found {
        addresses,
        listeners,
    }) = observed.gateway(&parent.namespace, &parent.name)
    else {
        return Vec::new();
    };
    let is_attached = |listener: &&GatewayListener| {
        let has_name = parent.section_name.as_ref();
        has_name.is_none_or(|name| *name == listener.name)
            && parent.port.is_none_or(|port| port == listener.port)
    };
    let mut found = Vec::new();
    for listener in listeners.iter().filter(is_attached) {
        let Some(port) = client_port(route, &listener.protocol) else {
            continue;
        };
        let hosts = hosts(cluster, listener, addresses);
        found.extend(
            hosts
                .into_iter()
                .take(MAX_HOSTS)
                .map(|host| GatewayAddress {
                    host,
                    port,
                    number: listener.port,
                }),
        );
    }
    found
}

/// Returns what clients find at a listener of this protocol; `None` if it cannot have the route.
fn client_port(route: GatewayRoute, protocol: &str) -> Option<ClientPort> {
    match (route.port(), protocol) {
        (ClientPort::Http, "HTTPS") => Some(ClientPort::Https),
        (ClientPort::Rtmp, "TLS") => Some(ClientPort::Rtmps),
        (port @ ClientPort::Http, "HTTP") | (port @ ClientPort::Rtmp, "TCP") => Some(port),
        (port @ (ClientPort::Https | ClientPort::Rtmps), "TLS") => Some(port),
        _ => None,
    }
}

/// Returns the host names of the spec, without those that the listener excludes; else the listener's own; else the addresses of the
/// Gateway.
fn hosts(cluster: &LiveCluster, listener: &GatewayListener, addresses: &[String]) -> Vec<String> {
    let is_name = |name: &&String| !name.starts_with('*');
    let limit = listener.hostname.as_deref();
    let names = cluster.spec.gateway.iter().flat_map(|it| &it.hostnames);
    let names = names
        .filter(is_name)
        .filter(|name| limit.is_none_or(|limit| has_host(limit, name)));
    let names: Vec<String> = names.cloned().collect();
    if !names.is_empty() {
        return names;
    }
    match listener.hostname.as_ref().filter(is_name) {
        Some(name) => vec![name.clone()],
        None => addresses.to_vec(),
    }
}

/// Returns whether a listener of this host name has the host: `*.example.com` has `a.b.example.com`.
fn has_host(listener: &str, host: &str) -> bool {
    match listener.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix),
        None => listener == host,
    }
}
