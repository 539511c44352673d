//! Settings of a role's Service.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule::Rule;
use crate::schema::{annotations, labels};

/// Service of the Pods of one role.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = RULES))]
pub struct ServiceSettings {
    /// `ClusterIP` (inside the Kubernetes cluster), `NodePort` (a port of every node) or `LoadBalancer`.
    #[serde(rename = "type")]
    pub kind: ServiceType,
    /// Ports of the Service. The ports of the Pods are always 1935, 8080, and with TLS 1936 and 8443.
    pub ports: Ports,
    /// Node ports of the Service, with type NodePort or LoadBalancer. Kubernetes allocates those that are absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_ports: Option<NodePorts>,
    /// Annotations of the Service, such as settings of a cloud's load balancer.
    #[schemars(schema_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Additional labels of the Service.
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Implementation of the load balancer, with type LoadBalancer. The default one of the Kubernetes cluster when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Client addresses that the load balancer admits, such as `203.0.113.0/24`. Every address when empty.
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub load_balancer_source_ranges: Vec<String>,
    /// Routing of traffic from outside: `Cluster` routes to the Pods of all nodes, `Local` only to those of the node that
    /// received it, which preserves the client's address.
    pub external_traffic_policy: TrafficPolicy,
    /// Host name in the URLs of the status, such as the DNS name of the load balancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$")
    )]
    pub external_hostname: Option<String>,
}

/// Type of a Service.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ServiceType {
    /// Reachable inside the Kubernetes cluster only.
    #[default]
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// Reachable at a port of every node.
    NodePort,
    /// Reachable through a load balancer.
    LoadBalancer,
}

impl ServiceType {
    /// Returns the name that Kubernetes has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// Ports of a Service.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = PORT_RULES))]
pub struct Ports {
    /// Port of RTMP: publish and play.
    #[schemars(range(min = 1))]
    pub rtmp: u16,
    /// Port of HTTP-FLV, WebSocket-FLV and the player page.
    #[schemars(range(min = 1))]
    pub http: u16,
    /// Port of RTMP by TLS, where `spec.tls` is set.
    #[schemars(range(min = 1))]
    pub rtmps: u16,
    /// Port of HTTP by TLS, where `spec.tls` is set.
    #[schemars(range(min = 1))]
    pub https: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            rtmp: 1935,
            http: 8080,
            rtmps: 1936,
            https: 8443,
        }
    }
}

/// Node ports of a Service.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = NODE_PORT_RULES))]
pub struct NodePorts {
    /// Port of RTMP: publish and play.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub rtmp: Option<u16>,
    /// Port of HTTP-FLV, WebSocket-FLV and the player page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub http: Option<u16>,
    /// Port of RTMP by TLS, where `spec.tls` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub rtmps: Option<u16>,
    /// Port of HTTP by TLS, where `spec.tls` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub https: Option<u16>,
}

/// Routing of traffic from outside of the Kubernetes cluster.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TrafficPolicy {
    /// To the Pods of all nodes. A Pod of another node sees the first node's address instead of the client's.
    #[default]
    Cluster,
    /// To the Pods of the node that received it. They see the client's address.
    Local,
}

impl TrafficPolicy {
    /// Returns the name that Kubernetes has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Local => "Local",
        }
    }
}

/// Rules of a Service.
pub(crate) const RULES: [Rule<ServiceSettings>; 5] = [
    Rule {
        rule: "self.type != 'ClusterIP' || !has(self.nodePorts)",
        message: "nodePorts needs type NodePort or LoadBalancer",
        holds: Some(|service| {
            service.kind != ServiceType::ClusterIp || service.node_ports.is_none()
        }),
    },
    Rule {
        rule: "self.type != 'ClusterIP' || self.externalTrafficPolicy == 'Cluster'",
        message: "externalTrafficPolicy Local needs type NodePort or LoadBalancer",
        holds: Some(|service| {
            service.kind != ServiceType::ClusterIp
                || service.external_traffic_policy == TrafficPolicy::Cluster
        }),
    },
    Rule {
        rule: "self.type == 'LoadBalancer' || !has(self.loadBalancerClass)",
        message: "loadBalancerClass needs type LoadBalancer",
        holds: Some(|service| {
            service.kind == ServiceType::LoadBalancer || service.load_balancer_class.is_none()
        }),
    },
    Rule {
        rule: "self.type == 'LoadBalancer' || self.loadBalancerSourceRanges.size() == 0",
        message: "loadBalancerSourceRanges needs type LoadBalancer",
        holds: Some(|service| {
            service.kind == ServiceType::LoadBalancer
                || service.load_balancer_source_ranges.is_empty()
        }),
    },
    Rule {
        rule: "self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer' || (has(self.loadBalancerClass) ? has(oldSelf.loadBalancerClass) && self.loadBalancerClass == oldSelf.loadBalancerClass : !has(oldSelf.loadBalancerClass))",
        message: "loadBalancerClass cannot change while type is LoadBalancer; change type to ClusterIP first",
        holds: None,
    },
];

/// Rule of the ports of a Service.
pub(crate) const PORT_RULES: [Rule<Ports>; 1] = [Rule {
    rule: "self.rtmp != self.http && self.rtmp != self.rtmps && self.rtmp != self.https && self.http != self.rtmps && self.http != self.https && self.rtmps != self.https",
    message: "ports.rtmp, ports.http, ports.rtmps and ports.https must differ",
    holds: Some(|ports| all_differ(&[ports.rtmp, ports.http, ports.rtmps, ports.https])),
}];

/// Rule of the node ports of a Service.
pub(crate) const NODE_PORT_RULES: [Rule<NodePorts>; 1] = [Rule {
    rule: "(!has(self.rtmp) || !has(self.http) || self.rtmp != self.http) && (!has(self.rtmp) || !has(self.rtmps) || self.rtmp != self.rtmps) && (!has(self.rtmp) || !has(self.https) || self.rtmp != self.https) && (!has(self.http) || !has(self.rtmps) || self.http != self.rtmps) && (!has(self.http) || !has(self.https) || self.http != self.https) && (!has(self.rtmps) || !has(self.https) || self.rtmps != self.https)",
    message: "nodePorts.rtmp, nodePorts.http, nodePorts.rtmps and nodePorts.https must differ",
    holds: Some(|ports| {
        let ports = [ports.rtmp, ports.http, ports.rtmps, ports.https];
        let given: Vec<u16> = ports.into_iter().flatten().collect();
        all_differ(&given)
    }),
}];

fn all_differ(ports: &[u16]) -> bool {
    let occurrences = |port: &u16| ports.iter().filter(|other| *other == port).count();
    ports.iter().all(|port| occurrences(port) == 1)
}
