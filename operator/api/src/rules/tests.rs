//! Both forms of each rule refuse what the API server has to refuse.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::sync::LazyLock;

use kube::CustomResourceExt as _;
use serde_json::Value;

use super::*;
use crate::{LiveCluster, NodePorts, ServiceType, TrafficPolicy};

fn cluster(name: &str) -> LiveCluster {
    LiveCluster::new(name, LiveClusterSpec::default())
}

/// Messages of the rules in CEL, as the API server evaluates them.
fn violations_in_cel(cluster: &LiveCluster, old: Option<&LiveCluster>) -> Vec<String> {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let mut definition = serde_json::to_value(LiveCluster::crd()).unwrap();
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()
    });
    let value = |cluster| serde_json::to_value(cluster).unwrap();
    let checked = kube::core::cel::Validator::new().validate(
        &SCHEMA,
        &value(cluster),
        old.map(value).as_ref(),
    );
    match checked {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// Messages of the rules in Rust, after the proof that the rules in CEL have the same.
fn refused(cluster: &LiveCluster) -> String {
    let name = ClusterName::of(cluster);
    let in_rust = violations(&name, &cluster.spec);
    let in_cel = violations_in_cel(cluster, None);
    assert_eq!(in_rust.len(), in_cel.len(), "{in_rust:?} {in_cel:?}");
    for violation in &in_rust {
        let (_, message) = violation.split_once(": ").unwrap();
        assert!(
            in_cel.iter().any(|found| found.contains(message)),
            "{message}: {in_cel:?}"
        );
    }
    in_rust.join("\n")
}

#[test]
fn name_that_no_pod_can_have_is_refused() {
    assert!(refused(&cluster(&"a".repeat(39))).contains("at most 38"));
    for name in ["9lives", "dotted.name", "dash-"] {
        assert!(refused(&cluster(name)).contains("metadata.name must be lower case"));
    }
    assert_eq!(refused(&cluster(&"a".repeat(38))), "");
}

#[test]
fn node_ports_need_type_node_port_or_load_balancer() {
    let mut demo = cluster("demo");
    let service = &mut demo.spec.edges.pods.service;
    service.node_ports = Some(NodePorts {
        http: Some(30_880),
        ..NodePorts::default()
    });
    service.external_traffic_policy = TrafficPolicy::Local;
    let refusal = refused(&demo);
    assert!(refusal.contains("nodePorts needs type"), "{refusal}");
    assert!(
        refusal.contains("externalTrafficPolicy Local needs"),
        "{refusal}"
    );
    demo.spec.edges.pods.service.kind = ServiceType::NodePort;
    assert_eq!(refused(&demo), "");
}

#[test]
fn settings_of_load_balancers_need_a_load_balancer() {
    let mut demo = cluster("demo");
    let service = &mut demo.spec.origins.pods.service;
    service.load_balancer_class = Some("example.com/lb".to_owned());
    service.load_balancer_source_ranges = vec!["203.0.113.0/24".to_owned()];
    let refusal = refused(&demo);
    assert!(refusal.contains("loadBalancerClass needs"), "{refusal}");
    assert!(
        refusal.contains("loadBalancerSourceRanges needs"),
        "{refusal}"
    );
    demo.spec.origins.pods.service.kind = ServiceType::LoadBalancer;
    assert_eq!(refused(&demo), "");
}

#[test]
fn class_of_a_load_balancer_cannot_change() {
    let mut old = cluster("demo");
    old.spec.edges.pods.service.kind = ServiceType::LoadBalancer;
    let mut new = old.clone();
    new.spec.edges.pods.service.load_balancer_class = Some("example.com/lb".to_owned());
    assert_eq!(violations_in_cel(&new, Some(&new)), Vec::<String>::new());
    assert!(violations_in_cel(&new, Some(&old))[0].contains("loadBalancerClass cannot change"));
    assert!(violations_in_cel(&old, Some(&new))[0].contains("loadBalancerClass cannot change"));
}

#[test]
fn ports_must_differ() {
    let mut demo = cluster("demo");
    let service = &mut demo.spec.edges.pods.service;
    service.ports.http = 1935;
    service.kind = ServiceType::NodePort;
    service.node_ports = Some(NodePorts {
        rtmp: Some(30_000),
        https: Some(30_000),
        ..NodePorts::default()
    });
    let refusal = refused(&demo);
    assert!(refusal.contains("ports.rtmp, ports.http"), "{refusal}");
    assert!(
        refusal.contains("nodePorts.rtmp, nodePorts.http"),
        "{refusal}"
    );
}

#[test]
fn both_forms_of_the_rules_agree() {
    let kinds = [
        ServiceType::ClusterIp,
        ServiceType::NodePort,
        ServiceType::LoadBalancer,
    ];
    for (case, kind) in (0..64).flat_map(|case| kinds.map(|kind| (case, kind))) {
        let is_set = |bit: u32| case >> bit & 1 == 1;
        let mut demo = cluster("demo");
        let service = &mut demo.spec.origins.pods.service;
        service.kind = kind;
        service.node_ports = is_set(0).then(|| NodePorts {
            rtmp: is_set(1).then_some(30_000),
            http: Some(30_000),
            rtmps: is_set(2).then_some(30_000),
            https: is_set(3).then_some(30_001),
        });
        service.load_balancer_class = is_set(2).then(|| "example.com/lb".to_owned());
        if is_set(3) {
            service.load_balancer_source_ranges = vec!["203.0.113.0/24".to_owned()];
        }
        if is_set(4) {
            service.external_traffic_policy = TrafficPolicy::Local;
        }
        service.ports.http = if is_set(5) { 1935 } else { 8080 };
        service.ports.https = if is_set(2) { 1936 } else { 443 };
        refused(&demo);
    }
    for name in ["a", "a-", "-a", "a1", "1a", "A", "a.b", "a\u{e9}", "a--b"] {
        refused(&cluster(name));
    }
}

#[test]
fn key_set_has_exactly_one_source() {
    let mut demo = cluster("demo");
    demo.spec.auth = serde_json::from_value(serde_json::json!({
        "play": {"jwt": {"jwks": {}, "audiences": ["a"]}},
    }))
    .unwrap();
    assert!(refused(&demo).contains("spec.auth.play.jwt.jwks: jwks needs exactly one"));
    let jwks = &mut demo.spec.auth.play.jwt.as_mut().unwrap().jwks;
    jwks.url = Some("https://issuer.example/jwks".to_owned());
    assert_eq!(refused(&demo), "");
    let jwks = &mut demo.spec.auth.play.jwt.as_mut().unwrap().jwks;
    jwks.secret_name = Some("keys".to_owned());
    assert!(refused(&demo).contains("exactly one"));
}

#[test]
fn autoscaling_has_a_target_and_a_range_and_no_fixed_number() {
    let mut demo = cluster("demo");
    let autoscale = |demo: &mut LiveCluster, autoscaling: Value| {
        demo.spec.edges.autoscaling = Some(serde_json::from_value(autoscaling).unwrap());
    };
    autoscale(
        &mut demo,
        serde_json::json!({"minReplicas": 3, "maxReplicas": 2}),
    );
    let refusal = refused(&demo);
    for message in [
        "minReplicas must not exceed",
        "needs targetViewers or targetEgressMbps",
    ] {
        assert!(refusal.contains(message), "{refusal}");
    }
    autoscale(
        &mut demo,
        serde_json::json!({"maxReplicas": 9, "targetEgressMbps": 800}),
    );
    assert_eq!(refused(&demo), "");
    let event =
        serde_json::json!({"startsAt": "2027-01-31T20:00:00Z", "duration": "2h", "viewers": 900});
    autoscale(
        &mut demo,
        serde_json::json!({"maxReplicas": 9, "targetEgressMbps": 800, "events": [event]}),
    );
    assert!(refused(&demo).contains("events needs targetViewers"));
    autoscale(
        &mut demo,
        serde_json::json!({"maxReplicas": 9, "targetViewers": 500, "events": [event]}),
    );
    assert_eq!(refused(&demo), "");
    demo.spec.edges.replicas = 4;
    let refusal = refused(&demo);
    assert!(
        refusal.contains("spec.edges: replicas must be absent"),
        "{refusal}"
    );
    demo.spec.edges.autoscaling = None;
    assert_eq!(refused(&demo), "");
}

#[test]
fn rollout_can_replace_a_pod() {
    let mut demo = cluster("demo");
    let mut refusal = |update: Value| {
        demo.spec.edges.pods.rolling_update = serde_json::from_value(update).unwrap();
        refused(&demo)
    };
    for update in [
        serde_json::json!({"maxSurge": 0}),
        serde_json::json!({"maxSurge": "0%", "maxUnavailable": 0}),
        serde_json::json!({"maxSurge": 0, "maxUnavailable": "0%"}),
    ] {
        assert!(refusal(update).contains("spec.edges.rollingUpdate: maxSurge and"));
    }
    for update in [
        serde_json::json!({}),
        serde_json::json!({"maxSurge": "50%"}),
        serde_json::json!({"maxSurge": 0, "maxUnavailable": 1}),
        serde_json::json!({"maxSurge": 2, "maxUnavailable": "10%"}),
    ] {
        assert_eq!(refusal(update), "");
    }
}

#[test]
fn pages_have_exactly_one_source() {
    let mut demo = cluster("demo");
    demo.spec.http.directory = Some(crate::DirectorySpec::default());
    assert!(refused(&demo).contains("spec.http.directory: directory needs exactly one"));
    let directory = demo.spec.http.directory.as_mut().unwrap();
    directory.config_map_name = Some("pages".to_owned());
    assert_eq!(refused(&demo), "");
    let directory = demo.spec.http.directory.as_mut().unwrap();
    directory.persistent_volume_claim_name = Some("pages".to_owned());
    assert!(refused(&demo).contains("exactly one"));
}
