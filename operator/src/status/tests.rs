//! Statuses of observed clusters.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::observe::references::{MissingReference, ReferenceKind};
use input::{Reason, ReconcileError, RolloutHold};

mod argo_cd;
mod availability;
mod endpoints;
mod gateways;
mod memory;

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

fn pod(role: &str, name: &str, status: Value, terminating: bool) -> Value {
    json!({
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/component": role},
            "deletionTimestamp": terminating.then_some("2026-11-22T10:00:00Z")
        },
        "status": status
    })
}

fn observed(deployments: Vec<Value>, services: Vec<Value>, pods: Vec<Value>) -> Observed {
    Observed {
        at: Timestamp::default(),
        deployments: serde_json::from_value(deployments.into()).unwrap(),
        services: serde_json::from_value(services.into()).unwrap(),
        pods: serde_json::from_value(pods.into()).unwrap(),
        ..Observed::default()
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

fn input(observed: Observed) -> StatusInput {
    StatusInput {
        image: Some("media-node:1".to_owned()),
        observed,
        ..StatusInput::default()
    }
}

/// "True Available: message" of a condition.
fn condition(status: &LiveClusterStatus, kind: &str) -> String {
    let found = status
        .conditions
        .iter()
        .find(|found| found.type_ == kind)
        .unwrap();
    format!("{} {}: {}", found.status, found.reason, found.message)
}

fn condition_of(spec: Value, input: &StatusInput, kind: &str) -> String {
    condition(&status(&cluster(spec), input, &at(0)), kind)
}

#[test]
fn a_settled_cluster() {
    insta::assert_yaml_snapshot!(status(&cluster(json!({})), &input(settled()), &at(0)));
}

#[test]
fn a_cluster_without_objects() {
    insta::assert_yaml_snapshot!(status(&cluster(json!({})), &StatusInput::default(), &at(0)));
}

#[test]
fn unchanged_cluster_has_an_equal_status() {
    let mut cluster = cluster(json!({}));
    let input = input(settled());
    let first = status(&cluster, &input, &at(0));
    cluster.status = Some(first.clone());
    assert_eq!(status(&cluster, &input, &at(60)), first);
}

#[test]
fn last_transition_time_changes_with_the_status_of_the_condition() {
    let mut cluster = cluster(json!({}));
    cluster.status = Some(status(&cluster, &input(settled()), &at(0)));
    let mut broken = settled();
    broken.deployments.remove(1);
    let after = status(&cluster, &input(broken), &at(60));
    for condition in after.conditions {
        let changed = ["Ready", "Degraded", "EdgesAvailable", "Progressing"];
        let has_changed = changed.contains(&condition.type_.as_str());
        assert_eq!(
            condition.last_transition_time,
            at(if has_changed { 60 } else { 0 }),
            "{}",
            condition.type_
        );
    }
}

#[test]
fn cluster_with_too_few_edges_is_not_ready() {
    let mut input = input(settled());
    input.observed.deployments = serde_json::from_value(json!([
        deployment("origin", [1, 1, 1, 1, 1]),
        deployment("edge", [2, 2, 2, 1, 1])
    ]))
    .unwrap();
    assert_eq!(
        condition_of(json!({}), &input, "Ready"),
        "False EdgesUnavailable: 1 of 2 edges available"
    );
    assert_eq!(
        condition_of(json!({}), &input, "Progressing"),
        "True StartingEdges: 1 of 2 edges available"
    );
}

#[test]
fn cluster_stays_ready_while_edges_roll() {
    let mut input = input(settled());
    input.observed.deployments[1] =
        serde_json::from_value(deployment("edge", [2, 3, 1, 2, 2])).unwrap();
    assert!(condition_of(json!({}), &input, "Ready").starts_with("True"));
    assert_eq!(
        condition_of(json!({}), &input, "Progressing"),
        "True RollingEdges: 1 of 2 edges updated"
    );
}

#[test]
fn rollouts_and_holds_of_both_roles_are_named() {
    let mut input = input(settled());
    input.observed.deployments[1] =
        serde_json::from_value(deployment("edge", [2, 3, 1, 2, 2])).unwrap();
    let hold = RolloutHold::Draining {
        terminating: 2,
        until: "2026-11-22T10:00:00Z".parse().unwrap(),
    };
    input.holds = vec![(Role::Origin, hold)];
    assert_eq!(
        condition_of(json!({}), &input, "Progressing"),
        "True RollingEdges: 1 of 2 edges updated; the next rollout of the origins waits for terminating origin Pods, \
         2 now, until 2026-11-22T10:00:00Z at the latest"
    );
    let deployments = json!([
        deployment("origin", [1, 2, 1, 1, 1]),
        deployment("edge", [2, 3, 1, 2, 2])
    ]);
    input.observed.deployments = serde_json::from_value(deployments).unwrap();
    input.holds.clear();
    assert_eq!(
        condition_of(json!({}), &input, "Progressing"),
        "True RollingEdges: 1 of 2 edges updated; 1 of 1 origin updated"
    );
}

#[test]
fn stuck_rollout_of_one_role_takes_precedence() {
    let mut stuck = deployment("origin", [1, 2, 1, 1, 1]);
    stuck["status"]["conditions"] = json!([
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    ]);
    let mut input = input(settled());
    input.observed.deployments =
        serde_json::from_value(json!([stuck, deployment("edge", [2, 3, 1, 2, 2])])).unwrap();
    assert_eq!(
        condition_of(json!({}), &input, "Progressing"),
        "False ProgressDeadlineExceeded: 1 of 2 edges updated; the rollout of the origins exceeded its progress deadline"
    );
}

#[test]
fn deployment_with_an_outdated_status_is_rolling() {
    let mut input = input(settled());
    input.observed.deployments[0].metadata.generation = Some(3);
    assert!(condition_of(json!({}), &input, "Progressing").starts_with("True RollingOrigins"));
}

#[test]
fn unavailable_image_is_named_while_old_pods_serve() {
    let mut input = input(settled());
    input.observed.deployments[1] =
        serde_json::from_value(deployment("edge", [2, 3, 1, 2, 2])).unwrap();
    let waiting = |reason: &str| {
        json!({"containerStatuses": [{
            "name": "media-node", "image": "nowhere/x:1", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason}}
        }]})
    };
    let mut texts = Vec::new();
    for reason in ["ErrImagePull", "ImagePullBackOff"] {
        input.observed.pods =
            serde_json::from_value(json!([pod("edge", "demo-edge-1", waiting(reason), false)]))
                .unwrap();
        texts.push(condition_of(json!({}), &input, "Progressing"));
    }
    assert_eq!(
        texts[0],
        "True RollingEdges: 1 of 2 edges updated; ImageUnavailable: Pod demo-edge-1 cannot pull image nowhere/x:1"
    );
    assert_eq!(texts[0], texts[1]);
    assert!(condition_of(json!({}), &input, "Ready").starts_with("True"));
}

#[test]
fn stuck_rollout_is_not_progressing() {
    let mut input = input(settled());
    let mut stuck = deployment("edge", [2, 3, 1, 2, 2]);
    stuck["status"]["conditions"] = json!([
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    ]);
    input.observed.deployments[1] = serde_json::from_value(stuck).unwrap();
    assert_eq!(
        condition_of(json!({}), &input, "Progressing"),
        "False ProgressDeadlineExceeded: the rollout of the edges exceeded its progress deadline"
    );
}

#[test]
fn failure_of_pods_is_named() {
    let crash = json!({"containerStatuses": [{
        "name": "media-node", "image": "", "imageID": "", "ready": false, "restartCount": 2,
        "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}
    }]});
    let killed = json!({"containerStatuses": [{
        "name": "media-node", "image": "", "imageID": "", "ready": false, "restartCount": 2, "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    }]});
    let unschedulable = json!({"conditions": [
        {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    ]});
    for (pod_status, expected) in [
        (
            crash,
            "False CrashLooping: 0 of 1 origin available; Pod demo-origin-1 exited with code 1",
        ),
        (
            killed,
            "False CrashLooping: 0 of 1 origin available; Pod demo-origin-1 was killed: it needs more memory than \
             resources.limits.memory",
        ),
        (
            unschedulable,
            "False Unschedulable: 0 of 1 origin available; 0/3 nodes are available",
        ),
    ] {
        let mut input = input(settled());
        input.observed.deployments[0] =
            serde_json::from_value(deployment("origin", [1, 1, 1, 0, 0])).unwrap();
        input.observed.pods =
            serde_json::from_value(json!([pod("origin", "demo-origin-1", pod_status, false)]))
                .unwrap();
        assert_eq!(
            condition_of(json!({}), &input, "OriginsAvailable"),
            expected
        );
    }
}

#[test]
fn exceeded_quota_has_its_own_reason() {
    let mut failed = deployment("origin", [1, 0, 0, 0, 0]);
    failed["status"]["conditions"] = json!([
        {"type": "ReplicaFailure", "status": "True", "message": "pods \"x\" is forbidden: exceeded quota: q"}
    ]);
    let mut input = input(settled());
    input.observed.deployments[0] = serde_json::from_value(failed).unwrap();
    assert!(condition_of(json!({}), &input, "OriginsAvailable").starts_with("False QuotaExceeded"));
}

#[test]
fn terminating_pods_are_counted() {
    let mut input = input(settled());
    input.observed.pods = serde_json::from_value(json!([
        pod("edge", "a", json!({}), true),
        pod("edge", "b", json!({}), true),
        pod("edge", "c", json!({}), false)
    ]))
    .unwrap();
    let status = status(&cluster(json!({})), &input, &at(0));
    assert_eq!(
        (status.edges.terminating_replicas, status.draining_pods),
        (2, 2)
    );
    assert_eq!(status.edges.ready, "2/2");
    assert_eq!(status.origins.terminating_replicas, 0);
}

#[test]
fn reconcile_error_takes_precedence() {
    let mut input = input(settled());
    input.errors = vec![ReconcileError {
        reason: Reason::NameConflict,
        message: "Deployment demo-edge is owned by another".to_owned(),
    }];
    let text = "False NameConflict: Deployment demo-edge is owned by another";
    assert_eq!(condition_of(json!({}), &input, "Ready"), text);
    assert_eq!(condition_of(json!({}), &input, "Progressing"), text);
    assert!(condition_of(json!({}), &input, "EdgesAvailable").starts_with("True"));
}

#[test]
fn missing_secret_is_named_with_its_field() {
    let mut input = input(settled());
    input.references.missing = vec![MissingReference {
        kind: ReferenceKind::Secret,
        name: "registry".to_owned(),
        field: "spec.imagePullSecrets[0]".to_owned(),
    }];
    let text = "False SecretNotFound: spec.imagePullSecrets[0]: Secret \"registry\" does not exist";
    assert_eq!(condition_of(json!({}), &input, "ReferencesResolved"), text);
    assert_eq!(condition_of(json!({}), &input, "Ready"), text);
}

#[test]
fn cluster_without_edges_is_ready_and_without_origins_is_not() {
    let mut input = input(settled());
    let stopped = |role| serde_json::from_value(deployment(role, [0, 0, 0, 0, 0])).unwrap();
    input.observed.deployments[1] = stopped("edge");
    let text = condition_of(json!({"edges": {"replicas": 0}}), &input, "Ready");
    assert_eq!(
        text,
        "True Available: 1 of 1 origin available; spec.edges.replicas is 0"
    );
    input.observed.deployments[0] = stopped("origin");
    let text = condition_of(
        json!({"edges": {"replicas": 0}, "origins": {"replicas": 0}}),
        &input,
        "Ready",
    );
    assert_eq!(text, "False Stopped: spec.origins.replicas is 0");
}

#[test]
fn paused_cluster_is_not_progressing() {
    let text = condition_of(json!({"paused": true}), &input(settled()), "Progressing");
    assert_eq!(
        text,
        "False Paused: spec.paused is true; no changes are made"
    );
}
