//! The routes of the Gateway API, which lead from Gateways to the Services of the Pods.

use kube::ResourceExt;
use livecluster_api::{ClientPort, GatewayParent, GatewayRoute, LiveCluster, names};
use serde_json::{Map, Value, json};

use super::child::{Child, ChildKind};
use super::gateway_kind::{GatewayKind, GatewayResource, ServedGatewayApi};
use super::spec_error::SpecError;

/// Why a wanted route cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteObstacle {
    /// The Pods do not open the port.
    PortClosed,
    /// A TLSRoute needs a host name.
    NoHostname,
    /// The Kubernetes cluster does not serve the kind.
    NotServed(GatewayKind),
}

/// A Gateway, or one of its listeners, that a route is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentRef {
    /// Name of the Gateway.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Name of the listener.
    pub section_name: Option<String>,
    /// Port of the listener.
    pub port: Option<u16>,
}

/// Returns the routes of a cluster that can be made.
pub(super) fn gateway_routes(
    cluster: &LiveCluster,
    served: &ServedGatewayApi,
) -> Result<Vec<Child>, SpecError> {
    let mut children = Vec::new();
    for (route, parents) in cluster.spec.gateway_routes() {
        let Ok(resource) = resource(cluster, route, served) else {
            continue;
        };
        let parents = parents.into_iter();
        let parents = parents.map(|parent| parent_ref(cluster, route, parent));
        let metadata = names::metadata(
            cluster,
            names::gateway_route(cluster, route),
            Some(route.role()),
        );
        let served = resource.resource();
        children.push(Child {
            kind: ChildKind::Route(resource),
            held_with: None,
            document: json!({
                "apiVersion": served.api_version,
                "kind": served.kind,
                "metadata": serde_json::to_value(metadata)?,
                "spec": spec(cluster, route, parents.collect()),
            }),
        });
    }
    Ok(children)
}

/// Returns the resource that a route is.
///
/// # Errors
/// When the route cannot be made.
pub fn resource(
    cluster: &LiveCluster,
    route: GatewayRoute,
    served: &ServedGatewayApi,
) -> Result<GatewayResource, RouteObstacle> {
    let kind = kind(route);
    let hostnames = cluster.spec.gateway.iter().flat_map(|it| &it.hostnames);
    if !cluster.spec.client_ports().contains(&route.port()) {
        return Err(RouteObstacle::PortClosed);
    }
    if kind == GatewayKind::TlsRoute && hostnames.count() == 0 {
        return Err(RouteObstacle::NoHostname);
    }
    served.get(kind).ok_or(RouteObstacle::NotServed(kind))
}

/// Returns the kind of a route. The Pods terminate TLS: a Gateway passes it through.
pub fn kind(route: GatewayRoute) -> GatewayKind {
    match route.port() {
        ClientPort::Http => GatewayKind::HttpRoute,
        ClientPort::Https | ClientPort::Rtmps => GatewayKind::TlsRoute,
        ClientPort::Rtmp => GatewayKind::TcpRoute,
    }
}

/// Returns the reference of a route to a Gateway. Routes of TCP and TLS that name no listener are attached by the port of the Service:
/// several of them at one listener would exclude each other.
pub fn parent_ref(cluster: &LiveCluster, route: GatewayRoute, parent: &GatewayParent) -> ParentRef {
    let is_http = kind(route) == GatewayKind::HttpRoute;
    let default = (!is_http && parent.section_name.is_none()).then(|| service_port(cluster, route));
    let namespace = parent.namespace.clone().or(cluster.namespace());
    ParentRef {
        name: parent.name.clone(),
        namespace: namespace.unwrap_or_default(),
        section_name: parent.section_name.clone(),
        port: parent.port.or(default),
    }
}

fn spec(cluster: &LiveCluster, route: GatewayRoute, parents: Vec<ParentRef>) -> Value {
    let backend = json!({
        "name": names::deployment(cluster, route.role()),
        "port": service_port(cluster, route),
    });
    let mut rule = json!({"backendRefs": [backend]});
    let mut spec = Map::new();
    let kind = kind(route);
    if kind == GatewayKind::HttpRoute {
        // A viewer's request lasts as long as it watches.
        rule["timeouts"] = json!({"request": "0s"});
    }
    let hostnames = cluster.spec.gateway.as_ref().map(|it| &it.hostnames);
    if let Some(hostnames) = hostnames.filter(|it| !it.is_empty())
        && kind != GatewayKind::TcpRoute
    {
        spec.insert("hostnames".to_owned(), json!(hostnames));
    }
    let parents: Vec<_> = parents.into_iter().map(ParentRef::document).collect();
    spec.insert("parentRefs".to_owned(), parents.into());
    spec.insert("rules".to_owned(), json!([rule]));
    spec.into()
}

fn service_port(cluster: &LiveCluster, route: GatewayRoute) -> u16 {
    let ports = &cluster.spec.pods(route.role()).service.ports;
    route.port().service_port(ports)
}

impl ParentRef {
    fn document(self) -> Value {
        let mut document = json!({"name": self.name, "namespace": self.namespace});
        if let Some(section_name) = self.section_name {
            document["sectionName"] = section_name.into();
        }
        if let Some(port) = self.port {
            document["port"] = port.into();
        }
        document
    }
}
