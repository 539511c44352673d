//! Validation rules that span several fields: in CEL for the API server, and in Rust for `livecluster check`.
//!
//! An interpreter of CEL takes as long to compile as the media node. A test proves that both forms agree.

use serde::Serialize;

use crate::auth::JwksSpec;
use crate::{ClusterName, LiveClusterSpec, NodePorts, Ports, Role, ServiceSettings, role};
use crate::{ServiceType, TrafficPolicy};

/// Rule about a value of type `T`. Serialized, it is an item of `x-kubernetes-validations`.
#[derive(Serialize)]
pub struct Rule<T: ?Sized> {
    rule: &'static str,
    message: &'static str,
    /// The rule in Rust. Absent where it compares with the old object, which only the API server has.
    #[serde(skip)]
    holds: Option<fn(&T) -> bool>,
}

/// Rules of a LiveCluster's name.
pub const NAME: [Rule<str>; 2] = [
    Rule {
        rule: "self.metadata.name.size() <= 38",
        message: "metadata.name must have at most 38 characters: the names of Services and Pods are made of it",
        holds: Some(|name| name.chars().count() <= 38),
    },
    Rule {
        rule: "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        message: "metadata.name must be lower case letters, digits and '-', begin with a letter and not end with '-'",
        holds: Some(is_dns_label),
    },
];

/// Rules of a Service.
pub const SERVICE: [Rule<ServiceSettings>; 5] = [
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
pub const PORTS: [Rule<Ports>; 1] = [Rule {
    rule: "self.rtmp != self.http",
    message: "ports.rtmp and ports.http must differ",
    holds: Some(|ports| ports.rtmp != ports.http),
}];

/// Rule of the node ports of a Service.
pub const NODE_PORTS: [Rule<NodePorts>; 1] = [Rule {
    rule: "!has(self.rtmp) || !has(self.http) || self.rtmp != self.http",
    message: "nodePorts.rtmp and nodePorts.http must differ",
    holds: Some(|ports| ports.rtmp.is_none() || ports.rtmp != ports.http),
}];

/// Rule of a JSON Web Key Set.
pub const JWKS: [Rule<JwksSpec>; 1] = [Rule {
    rule: "[has(self.secretName), has(self.configMapName), has(self.url)].filter(given, given).size() == 1",
    message: "jwks needs exactly one of secretName, configMapName and url",
    holds: Some(|jwks| {
        let given = [
            jwks.secret_name.is_some(),
            jwks.config_map_name.is_some(),
            jwks.url.is_some(),
        ];
        given.into_iter().filter(|given| *given).count() == 1
    }),
}];

/// Returns the message of each rule that a new LiveCluster breaks, behind the field that it is about.
pub fn violations(name: &ClusterName, spec: &LiveClusterSpec) -> Vec<String> {
    let mut broken = messages("metadata", &NAME, name.name.as_str());
    for role in [Role::Origin, Role::Edge] {
        let path = format!("spec.{}s.service", role::role_name(role));
        let service = &spec.pods(role).service;
        broken.extend(messages(&path, &SERVICE, service));
        broken.extend(messages(&format!("{path}.ports"), &PORTS, &service.ports));
        if let Some(ports) = &service.node_ports {
            broken.extend(messages(&format!("{path}.nodePorts"), &NODE_PORTS, ports));
        }
    }
    for (action, access) in [("publish", &spec.auth.publish), ("play", &spec.auth.play)] {
        if let Some(jwt) = &access.jwt {
            let path = format!("spec.auth.{action}.jwt.jwks");
            broken.extend(messages(&path, &JWKS, &jwt.jwks));
        }
    }
    broken
}

fn messages<T: ?Sized>(path: &str, rules: &[Rule<T>], value: &T) -> Vec<String> {
    let broken = rules
        .iter()
        .filter(|rule| rule.holds.is_some_and(|holds| !holds(value)));
    broken
        .map(|rule| format!("{path}: {}", rule.message))
        .collect()
}

fn is_dns_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(allowed)
}

#[cfg(feature = "kube")]
impl<T: ?Sized> From<&Rule<T>> for kube::core::Rule {
    fn from(rule: &Rule<T>) -> Self {
        Self::new(rule.rule).message(rule.message)
    }
}

#[cfg(test)]
mod tests;
