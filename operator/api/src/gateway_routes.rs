//! The routes of a LiveCluster that are wanted, from its `spec.gateway`.

use media_config::Role;

use crate::gateway::{GatewayParent, GatewayRoute};
use crate::spec::LiveClusterSpec;

impl LiveClusterSpec {
    /// Returns the routes that are wanted, each with the Gateways that it is attached to.
    pub fn gateway_routes(&self) -> Vec<(GatewayRoute, Vec<&GatewayParent>)> {
        let parents = self.gateway.iter().flat_map(|gateway| &gateway.parent_refs);
        let parents: Vec<_> = parents.collect();
        let attached = |route: GatewayRoute| {
            let parents = parents.iter().copied();
            parents.filter(move |parent| self.attaches(parent, route))
        };
        let routes = GatewayRoute::ALL.map(|route| (route, attached(route).collect::<Vec<_>>()));
        let mut routes = routes.to_vec();
        routes.retain(|(_, parents)| !parents.is_empty());
        routes
    }

    fn attaches(&self, parent: &GatewayParent, route: GatewayRoute) -> bool {
        if !parent.routes.is_empty() {
            return parent.routes.contains(&route);
        }
        let viewers = match self.replicas(Role::Edge) {
            0 => Role::Origin,
            _ => Role::Edge,
        };
        route.role() == viewers && self.client_ports().contains(&route.port())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn routes(spec: Value) -> Vec<String> {
        let spec: LiveClusterSpec = serde_json::from_value(spec).unwrap();
        let routes = spec.gateway_routes().into_iter();
        let parents =
            |parents: Vec<&GatewayParent>| parents.iter().map(|it| it.name.clone()).collect();
        routes
            .map(|(route, refs)| {
                let parents: Vec<String> = parents(refs);
                format!("{} {}", route.name(), parents.join(","))
            })
            .collect()
    }

    #[test]
    fn gateway_without_routes_gets_those_of_the_open_ports_of_the_edges() {
        let gateway = json!({"parentRefs": [{"name": "a"}]});
        assert_eq!(
            routes(json!({"gateway": gateway})),
            ["edge-http a", "edge-rtmp a"]
        );
        let tls = json!({"secretName": "certificate"});
        assert_eq!(
            routes(json!({"gateway": gateway, "tls": tls})),
            ["edge-http a", "edge-https a", "edge-rtmp a", "edge-rtmps a"]
        );
        let required = json!({"secretName": "certificate", "required": true});
        assert_eq!(
            routes(json!({"gateway": gateway, "tls": required})),
            ["edge-https a", "edge-rtmps a"]
        );
        assert_eq!(
            routes(json!({"gateway": gateway, "edges": {"replicas": 0}})),
            ["origin-http a", "origin-rtmp a"]
        );
    }

    #[test]
    fn route_is_attached_to_the_gateways_that_name_it() {
        let parents = json!([
            {"name": "a", "routes": ["edge-http", "edge-https"]},
            {"name": "b", "routes": ["edge-http"]},
            {"name": "c", "routes": ["origin-rtmp"]},
        ]);
        assert_eq!(
            routes(json!({"gateway": {"parentRefs": parents}})),
            ["edge-http a,b", "edge-https a", "origin-rtmp c"]
        );
        assert_eq!(routes(json!({})), Vec::<String>::new());
    }
}
