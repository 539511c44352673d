//! Statuses out of what there is.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::status::reconcile_error::Cause;

fn cluster(spec: Value) -> LiveCluster {
    serde_json::from_value(json!({
        "apiVersion": "livecluster.dev/v1alpha1",
        "kind": "LiveCluster",
        "metadata": {"name": "demo", "namespace": "media", "uid": "u", "generation": 3},
        "spec": spec
    }))
    .unwrap()
}

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

/// A Deployment with `[wanted, replicas, updated, ready, available]`.
fn deployment(role: &str, [wanted, replicas, updated, ready, available]: [i32; 5]) -> Value {
    json!({
        "metadata": {"name": format!("demo-{role}"), "generation": 2},
        "spec": {"replicas": wanted, "selector": {}, "template": {}},
        "status": {
            "observedGeneration": 2,
            "replicas": replicas,
            "updatedReplicas": updated,
            "readyReplicas": ready,
            "availableReplicas": available
        }
    })
}

fn service(role: &str, spec: Value, status: Value) -> Value {
    json!({"metadata": {"name": format!("demo-{role}")}, "spec": spec, "status": status})
}

fn ports(node_ports: [Option<i32>; 2]) -> Value {
    json!({"ports": [
        {"name": "rtmp", "port": 1935, "nodePort": node_ports[0]},
        {"name": "http", "port": 8080, "nodePort": node_ports[1]}
    ]})
}

fn pod(role: &str, name: &str, status: Value, leaves: bool) -> Value {
    json!({
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/component": role},
            "deletionTimestamp": leaves.then_some("2026-11-22T10:00:00Z")
        },
        "status": status
    })
}

fn observed(deployments: Vec<Value>, services: Vec<Value>, pods: Vec<Value>) -> Observed {
    Observed {
        deployments: serde_json::from_value(deployments.into()).unwrap(),
        services: serde_json::from_value(services.into()).unwrap(),
        pods: serde_json::from_value(pods.into()).unwrap(),
    }
}

fn settled() -> Observed {
    observed(
        vec![
            deployment("origin", [1, 1, 1, 1, 1]),
            deployment("edge", [2, 2, 2, 2, 2]),
        ],
        vec![
            service("origin", ports([None, None]), json!({})),
            service("edge", ports([None, None]), json!({})),
        ],
        vec![],
    )
}

fn facts(observed: Observed) -> Facts {
    Facts {
        image: Some("media-node:1".to_owned()),
        observed,
        ..Facts::default()
    }
}

/// "True Available: message" of a condition.
fn said(status: &LiveClusterStatus, kind: &str) -> String {
    let found = status
        .conditions
        .iter()
        .find(|found| found.type_ == kind)
        .unwrap();
    format!("{} {}: {}", found.status, found.reason, found.message)
}

fn say(spec: Value, facts: &Facts, kind: &str) -> String {
    said(&status(&cluster(spec), facts, &at(0)), kind)
}

#[test]
fn a_settled_cluster() {
    insta::assert_yaml_snapshot!(status(&cluster(json!({})), &facts(settled()), &at(0)));
}

#[test]
fn a_cluster_of_which_nothing_is_there_yet() {
    insta::assert_yaml_snapshot!(status(&cluster(json!({})), &Facts::default(), &at(0)));
}

#[test]
fn a_second_look_says_the_same() {
    let mut cluster = cluster(json!({}));
    let facts = facts(settled());
    let first = status(&cluster, &facts, &at(0));
    cluster.status = Some(first.clone());
    assert_eq!(status(&cluster, &facts, &at(60)), first);
}

#[test]
fn a_condition_has_the_time_of_its_last_flip() {
    let mut cluster = cluster(json!({}));
    cluster.status = Some(status(&cluster, &facts(settled()), &at(0)));
    let mut broken = settled();
    broken.deployments.remove(1);
    let after = status(&cluster, &facts(broken), &at(60));
    for condition in after.conditions {
        let flipped =
            ["Ready", "EdgesAvailable", "Progressing"].contains(&condition.type_.as_str());
        assert_eq!(
            condition.last_transition_time,
            at(if flipped { 60 } else { 0 }),
            "{}",
            condition.type_
        );
    }
}

#[test]
fn a_missing_edge_is_not_ready() {
    let mut facts = facts(settled());
    facts.observed.deployments = serde_json::from_value(json!([
        deployment("origin", [1, 1, 1, 1, 1]),
        deployment("edge", [2, 2, 2, 1, 1])
    ]))
    .unwrap();
    assert_eq!(
        say(json!({}), &facts, "Ready"),
        "False EdgesUnavailable: 1 of 2 edges available"
    );
    assert_eq!(
        say(json!({}), &facts, "Progressing"),
        "True StartingEdges: 1 of 2 edges available"
    );
}

#[test]
fn while_edges_roll_the_cluster_stays_ready() {
    let mut facts = facts(settled());
    facts.observed.deployments[1] =
        serde_json::from_value(deployment("edge", [2, 3, 1, 2, 2])).unwrap();
    facts.holds = vec![(Role::Origin, Hold::EdgesFirst)];
    assert!(say(json!({}), &facts, "Ready").starts_with("True"));
    assert_eq!(
        say(json!({}), &facts, "Progressing"),
        "True RollingEdges: 1 of 2 edges updated"
    );
    facts.observed = settled();
    assert_eq!(
        say(json!({}), &facts, "Progressing"),
        "True RollingEdges: origins roll when every edge has the new template"
    );
}

#[test]
fn a_deployment_that_was_not_looked_at_yet_is_not_complete() {
    let mut facts = facts(settled());
    facts.observed.deployments[0].metadata.generation = Some(3);
    assert!(say(json!({}), &facts, "Progressing").starts_with("True RollingOrigins"));
}

#[test]
fn a_bad_image_is_named_while_the_old_nodes_serve() {
    let mut facts = facts(settled());
    facts.observed.deployments[1] =
        serde_json::from_value(deployment("edge", [2, 3, 1, 2, 2])).unwrap();
    let waiting = |reason: &str| {
        json!({"containerStatuses": [{
            "name": "media-node", "image": "nowhere/x:1", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason}}
        }]})
    };
    let mut texts = Vec::new();
    for reason in ["ErrImagePull", "ImagePullBackOff"] {
        facts.observed.pods =
            serde_json::from_value(json!([pod("edge", "demo-edge-1", waiting(reason), false)]))
                .unwrap();
        texts.push(say(json!({}), &facts, "Progressing"));
    }
    assert_eq!(
        texts[0],
        "True RollingEdges: 1 of 2 edges updated; ImageUnavailable: Pod demo-edge-1 cannot get the image nowhere/x:1"
    );
    assert_eq!(texts[0], texts[1]);
    assert!(say(json!({}), &facts, "Ready").starts_with("True"));
}

#[test]
fn a_rollout_that_kubernetes_gave_up_is_no_progress() {
    let mut facts = facts(settled());
    let mut stuck = deployment("edge", [2, 3, 1, 2, 2]);
    stuck["status"]["conditions"] = json!([
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    ]);
    facts.observed.deployments[1] = serde_json::from_value(stuck).unwrap();
    assert_eq!(
        say(json!({}), &facts, "Progressing"),
        "False ProgressDeadlineExceeded: the edges make no progress"
    );
}

#[test]
fn what_keeps_nodes_from_starting_is_named() {
    let crash = json!({"containerStatuses": [{
        "name": "media-node", "image": "", "imageID": "", "ready": false, "restartCount": 2,
        "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}
    }]});
    let unschedulable = json!({"conditions": [
        {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    ]});
    for (pod_status, expected) in [
        (
            crash,
            "False CrashLooping: 0 of 1 origin available; Pod demo-origin-1 exits with code 1",
        ),
        (
            unschedulable,
            "False Unschedulable: 0 of 1 origin available; 0/3 nodes are available",
        ),
    ] {
        let mut facts = facts(settled());
        facts.observed.deployments[0] =
            serde_json::from_value(deployment("origin", [1, 1, 1, 0, 0])).unwrap();
        facts.observed.pods =
            serde_json::from_value(json!([pod("origin", "demo-origin-1", pod_status, false)]))
                .unwrap();
        assert_eq!(say(json!({}), &facts, "OriginsAvailable"), expected);
    }
}

#[test]
fn a_quota_is_told_from_other_failures() {
    let mut failed = deployment("origin", [1, 0, 0, 0, 0]);
    failed["status"]["conditions"] = json!([
        {"type": "ReplicaFailure", "status": "True", "message": "pods \"x\" is forbidden: exceeded quota: q"}
    ]);
    let mut facts = facts(settled());
    facts.observed.deployments[0] = serde_json::from_value(failed).unwrap();
    assert!(say(json!({}), &facts, "OriginsAvailable").starts_with("False QuotaExceeded"));
}

#[test]
fn leaving_nodes_are_counted() {
    let mut facts = facts(settled());
    facts.observed.pods = serde_json::from_value(json!([
        pod("edge", "a", json!({}), true),
        pod("edge", "b", json!({}), true),
        pod("edge", "c", json!({}), false)
    ]))
    .unwrap();
    let status = status(&cluster(json!({})), &facts, &at(0));
    assert_eq!(status.edges.terminating_replicas, 2);
    assert_eq!(status.origins.terminating_replicas, 0);
}

#[test]
fn a_problem_is_shown_before_anything_else() {
    let mut facts = facts(settled());
    facts.problems = vec![Problem {
        cause: Cause::NameConflict,
        message: "Deployment demo-edge belongs to somebody else".to_owned(),
    }];
    let text = "False NameConflict: Deployment demo-edge belongs to somebody else";
    assert_eq!(say(json!({}), &facts, "Ready"), text);
    assert_eq!(say(json!({}), &facts, "Progressing"), text);
    assert!(say(json!({}), &facts, "EdgesAvailable").starts_with("True"));
}

#[test]
fn a_missing_secret_is_named_with_its_field() {
    let mut facts = facts(settled());
    facts.references.missing = vec![MissingReference {
        kind: ReferenceKind::Secret,
        name: "registry".to_owned(),
        field: "spec.imagePullSecrets[0]".to_owned(),
    }];
    let text = "False SecretNotFound: spec.imagePullSecrets[0]: Secret \"registry\" does not exist";
    assert_eq!(say(json!({}), &facts, "ReferencesResolved"), text);
    assert_eq!(say(json!({}), &facts, "Ready"), text);
}

#[test]
fn no_edges_are_well_and_no_origins_are_not() {
    let mut facts = facts(settled());
    let stopped = |role| serde_json::from_value(deployment(role, [0, 0, 0, 0, 0])).unwrap();
    facts.observed.deployments[1] = stopped("edge");
    let text = say(json!({"edges": {"replicas": 0}}), &facts, "Ready");
    assert_eq!(text, "True Available: 1 origin and 0 edges are available");
    facts.observed.deployments[0] = stopped("origin");
    let text = say(
        json!({"edges": {"replicas": 0}, "origins": {"replicas": 0}}),
        &facts,
        "Ready",
    );
    assert_eq!(text, "False Stopped: spec.origins.replicas is 0");
}

#[test]
fn a_paused_cluster_says_so() {
    let text = say(json!({"paused": true}), &facts(settled()), "Progressing");
    assert_eq!(
        text,
        "False Paused: spec.paused is true: nothing is changed"
    );
}

fn urls(spec: Value, services: Vec<Value>) -> Vec<String> {
    let mut facts = facts(settled());
    facts.observed.services = serde_json::from_value(services.into()).unwrap();
    let endpoints = status(&cluster(spec), &facts, &at(0)).endpoints;
    endpoints
        .publish
        .into_iter()
        .map(|endpoint| format!("{} {}", endpoint.name, endpoint.url))
        .collect()
}

#[test]
fn urls_follow_the_type_of_the_service() {
    let internal = "origin-rtmp-internal rtmp://demo-origin.media.svc:1935/live/{stream}";
    let node_port = json!({"origins": {"service": {"type": "NodePort"}}});
    let service_of = |node_ports, status| vec![service("origin", ports(node_ports), status)];
    assert_eq!(
        urls(json!({}), service_of([None, None], json!({}))),
        [internal]
    );
    assert_eq!(
        urls(node_port, service_of([Some(30001), Some(30002)], json!({}))),
        ["origin-rtmp rtmp://<machine>:30001/live/{stream}", internal]
    );
    let balanced = json!({"origins": {"service": {"type": "LoadBalancer"}}});
    assert_eq!(
        urls(balanced.clone(), service_of([Some(1), Some(2)], json!({}))),
        [internal]
    );
    let ready =
        json!({"loadBalancer": {"ingress": [{"ip": "2001:db8::1"}, {"hostname": "lb.example"}]}});
    assert_eq!(
        urls(balanced, service_of([Some(1), Some(2)], ready)),
        [
            "origin-rtmp rtmp://[2001:db8::1]:1935/live/{stream}",
            "origin-rtmp rtmp://lb.example:1935/live/{stream}",
            internal
        ]
    );
}
