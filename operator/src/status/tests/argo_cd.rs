//! The health of a LiveCluster in Argo CD: its script in Lua, run on statuses of the operator.

use mlua::{Lua, LuaSerdeExt, StdLib};

use super::*;
use crate::status::transitions::WARNING_REASONS;

const SCRIPT: &str = include_str!("../../../../crds/argo-cd/health.lua");

/// Runs the script as Argo CD does. Returns "Healthy: message".
fn health(object: &Value) -> String {
    let lua = Lua::new_with(StdLib::NONE, mlua::LuaOptions::default()).unwrap();
    let object = lua.to_value(object).unwrap();
    lua.globals().set("obj", object).unwrap();
    let health: mlua::Table = lua.load(SCRIPT).eval().unwrap();
    let text = |field: &str| health.get::<String>(field).unwrap();
    format!("{}: {}", text("status"), text("message"))
}

/// Returns the health of a cluster that the operator has observed.
fn observed_health(spec: Value, input: &StatusInput) -> String {
    let mut cluster = cluster(spec);
    cluster.status = Some(status(&cluster, input, &at(0)));
    health(&serde_json::to_value(cluster).unwrap())
}

fn with_edges(replicas: [i32; 5]) -> Observed {
    let mut observed = settled();
    let edges = deployment("edge", replicas);
    observed.deployments[1] = serde_json::from_value(edges).unwrap();
    observed
}

#[test]
fn settled_cluster_is_healthy() {
    assert_eq!(
        observed_health(json!({}), &input(settled())),
        "Healthy: 1 of 1 origin available; 2 of 2 edges available"
    );
}

#[test]
fn cluster_that_the_operator_has_not_seen_is_progressing() {
    let mut new = cluster(json!({}));
    let json = |cluster: &LiveCluster| serde_json::to_value(cluster).unwrap();
    assert!(health(&json(&new)).starts_with("Progressing: the operator has not seen"));
    new.status = Some(status(&new, &input(settled()), &at(0)));
    assert!(health(&json(&new)).starts_with("Healthy"));
    new.metadata.generation = Some(4);
    assert!(health(&json(&new)).starts_with("Progressing: the operator has not seen"));
}

#[test]
fn cluster_that_starts_or_rolls_is_progressing() {
    let created = observed_health(json!({}), &StatusInput::default());
    assert!(created.starts_with("Progressing"), "{created}");
    let rolling = observed_health(json!({}), &input(with_edges([2, 3, 1, 2, 2])));
    assert_eq!(rolling, "Progressing: 1 of 2 edges updated");
}

#[test]
fn cluster_that_lacks_a_pod_for_a_while_is_progressing() {
    let mut demo = cluster(json!({}));
    demo.status = Some(status(&demo, &input(settled()), &at(0)));
    let evicted = input(with_edges([2, 2, 2, 1, 1]));
    demo.status = Some(status(&demo, &evicted, &at(60)));
    let health = health(&serde_json::to_value(demo).unwrap());
    assert_eq!(health, "Progressing: 1 of 2 edges available");
}

#[test]
fn failure_that_needs_a_user_is_degraded() {
    let mut failing = with_edges([2, 2, 2, 0, 0]);
    let waiting = json!({"containerStatuses": [{
        "name": "media-node", "ready": false, "image": "", "imageID": "", "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    }]});
    let pod = pod("edge", "demo-edge-1", waiting, false);
    failing.pods = vec![serde_json::from_value(pod).unwrap()];
    let health = observed_health(json!({}), &input(failing));
    assert!(health.starts_with("Degraded: "), "{health}");
    let mut invalid = input(settled());
    invalid.errors.push(ReconcileError {
        reason: Reason::InvalidSpec,
        message: "spec.edges: wrong".to_owned(),
    });
    assert_eq!(
        observed_health(json!({}), &invalid),
        "Degraded: spec.edges: wrong"
    );
}

#[test]
fn every_reason_that_needs_attention_is_degraded() {
    let autoscaling = ["AtMaxReplicas", "MetricsUnavailable"];
    for reason in WARNING_REASONS {
        let object = json!({
            "metadata": {"generation": 1}, "spec": {},
            "status": {"observedGeneration": 1, "conditions": [
                {"type": "Ready", "status": "False", "reason": reason, "message": "m"},
                {"type": "AutoscalingActive", "status": "False", "reason": reason, "message": "m"},
            ]},
        });
        let is_degraded = health(&object) == "Degraded: m";
        assert!(is_degraded || autoscaling.contains(&reason), "{reason}");
    }
}

#[test]
fn cluster_that_is_paused_or_stopped_is_suspended() {
    let paused = observed_health(json!({"paused": true}), &input(settled()));
    assert_eq!(paused, "Suspended: spec.paused is true");
    let stopped = observed_health(json!({"origins": {"replicas": 0}}), &input(settled()));
    assert_eq!(stopped, "Suspended: spec.origins.replicas is 0");
}

#[test]
fn edges_that_retire_do_not_keep_a_cluster_from_being_healthy() {
    let mut retiring = settled();
    let mut pod = pod("edge", "demo-edge-3", json!({}), false);
    pod["metadata"]["annotations"] =
        json!({"livecluster.dev/retiring-since": "2026-11-22T10:00:00Z"});
    pod["metadata"]["labels"]["livecluster.dev/serving"] = "false".into();
    retiring.pods = vec![serde_json::from_value(pod).unwrap()];
    let edges = deployment("edge", [3, 3, 3, 3, 3]);
    retiring.deployments[1] = serde_json::from_value(edges).unwrap();
    let health = observed_health(json!({}), &input(retiring));
    assert!(health.starts_with("Healthy"), "{health}");
}
