//! How nodes are reached: the fields of a role's Service.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::definition::{annotations, labels};

/// How the nodes of a role are reached.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.type != 'ClusterIP' || !has(self.nodePorts)",
        "message": "nodePorts needs type NodePort or LoadBalancer",
    },
    {
        "rule": "self.type != 'ClusterIP' || self.externalTrafficPolicy == 'Cluster'",
        "message": "externalTrafficPolicy Local needs type NodePort or LoadBalancer",
    },
    {
        "rule": "self.type == 'LoadBalancer' || !has(self.loadBalancerClass)",
        "message": "loadBalancerClass needs type LoadBalancer",
    },
    {
        "rule": "self.type == 'LoadBalancer' || self.loadBalancerSourceRanges.size() == 0",
        "message": "loadBalancerSourceRanges needs type LoadBalancer",
    },
    {
        "rule": "self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer' || (has(self.loadBalancerClass) ? has(oldSelf.loadBalancerClass) && self.loadBalancerClass == oldSelf.loadBalancerClass : !has(oldSelf.loadBalancerClass))",
        "message": "loadBalancerClass cannot change while type is LoadBalancer; change type to ClusterIP first",
    },
]))]
pub struct ServiceSettings {
    /// `ClusterIP` (inside the Kubernetes cluster), `NodePort` (a port of every machine) or `LoadBalancer`.
    #[serde(rename = "type")]
    pub kind: ServiceType,
    /// The Service's ports. The nodes' own ports are always 1935 and 8080.
    pub ports: Ports,
    /// Ports of the machines, with type NodePort or LoadBalancer. Kubernetes chooses those that are absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_ports: Option<NodePorts>,
    /// Annotations of the Service: how clouds are told about their load balancers.
    #[schemars(schema_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
    /// More labels of the Service.
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Which load balancer, with type LoadBalancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Client addresses that the load balancer lets in, such as `203.0.113.0/24`; everybody when empty.
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub load_balancer_source_ranges: Vec<String>,
    /// `Cluster`, or `Local` to keep the clients' addresses: then only machines with a ready node answer.
    pub external_traffic_policy: TrafficPolicy,
    /// Host name that the status shows in URLs, for example the DNS name of the load balancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$")
    )]
    pub external_hostname: Option<String>,
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ServiceType {
    /// Inside the Kubernetes cluster only.
    #[default]
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// At a port of every machine.
    NodePort,
    /// Through a load balancer that the cloud brings.
    LoadBalancer,
}

impl ServiceType {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// The ports of a Service.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.rtmp != self.http", "message": "ports.rtmp and ports.http must differ"},
]))]
pub struct Ports {
    /// RTMP: publish and play.
    #[schemars(range(min = 1))]
    pub rtmp: u16,
    /// HTTP-FLV, WebSocket-FLV and the player page.
    #[schemars(range(min = 1))]
    pub http: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            rtmp: 1935,
            http: 8080,
        }
    }
}

/// The ports of the machines that lead to a Service.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.rtmp) || !has(self.http) || self.rtmp != self.http",
        "message": "nodePorts.rtmp and nodePorts.http must differ",
    },
]))]
pub struct NodePorts {
    /// RTMP: publish and play.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub rtmp: Option<u16>,
    /// HTTP-FLV, WebSocket-FLV and the player page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub http: Option<u16>,
}

/// Which machines answer to clients from outside.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TrafficPolicy {
    /// Every machine; it may hand the client on to another one, which then sees the machine's address.
    #[default]
    Cluster,
    /// Machines with a ready node only; it sees the client's address.
    Local,
}

impl TrafficPolicy {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Local => "Local",
        }
    }
}
