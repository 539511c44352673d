//! The clients that may reach the Pods: the public ports are open to all, the internal port and the metrics to the cluster's own
//! Pods and the operator, the metrics also to Prometheus. The internal port asks for tokens as well.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use livecluster_api::LiveCluster;
use livecluster_api::names;
use serde_json::Value;

use super::defaults::Defaults;
use super::overlay;
use super::spec_error::SpecError;

/// Label of the operator's Pods.
const OPERATOR: (&str, &str) = ("livecluster.dev/component", "operator");

/// Returns the NetworkPolicy of all Pods of a cluster.
pub(super) fn network_policy(
    cluster: &LiveCluster,
    defaults: &Defaults,
) -> Result<NetworkPolicy, SpecError> {
    let clients = cluster.spec.client_ports().into_iter();
    let nodes = names::label_selector(names::pods_selector(cluster));
    let mut ingress = vec![
        NetworkPolicyIngressRule {
            ports: Some(clients.map(|client| port(client.name())).collect()),
            from: None,
        },
        NetworkPolicyIngressRule {
            ports: Some(vec![port("internal"), port("metrics")]),
            from: Some(peers(cluster, defaults)?),
        },
    ];
    let from = &defaults.metrics_clients.0;
    // A rule without clients would admit all of them.
    if !from.is_empty() {
        ingress.push(NetworkPolicyIngressRule {
            ports: Some(vec![port("metrics")]),
            from: Some(from.clone()),
        });
    }
    Ok(NetworkPolicy {
        metadata: names::metadata(cluster, names::network_policy(cluster), None),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(nodes),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            egress: None,
        }),
    })
}

fn peers(cluster: &LiveCluster, defaults: &Defaults) -> Result<Vec<NetworkPolicyPeer>, SpecError> {
    let mut peers = vec![NetworkPolicyPeer {
        pod_selector: Some(names::label_selector(names::pods_selector(cluster))),
        ..NetworkPolicyPeer::default()
    }];
    if let Some(namespace) = &defaults.operator_namespace {
        let one = |key: &str, value: &str| {
            names::label_selector(BTreeMap::from([(key.to_owned(), value.to_owned())]))
        };
        peers.push(NetworkPolicyPeer {
            namespace_selector: Some(one("kubernetes.io/metadata.name", namespace)),
            pod_selector: Some(one(OPERATOR.0, OPERATOR.1)),
            ip_block: None,
        });
    }
    for (index, raw) in cluster.spec.network_policy.internal_from.iter().enumerate() {
        let field = format!("spec.networkPolicy.internalFrom[{index}]");
        peers.push(overlay::typed(&field, Value::Object(raw.clone()))?);
    }
    Ok(peers)
}

fn port(name: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}
