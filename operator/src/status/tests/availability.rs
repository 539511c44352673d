//! What `Ready` tolerates, and what `Degraded` says.

use super::*;

/// Conditions of a cluster whose four edges were all available once, and of which now so many exist and are available.
fn of_four_edges(spec: Value, exist: i32, available: i32, pods: Vec<Value>) -> [String; 3] {
    let edges = |numbers| {
        json!([
            deployment("origin", [1, 1, 1, 1, 1]),
            deployment("edge", numbers)
        ])
    };
    let mut cluster = cluster(json!({"edges": {"replicas": 4}}));
    let mut input = input(settled());
    input.observed.deployments = serde_json::from_value(edges([4, 4, 4, 4, 4])).unwrap();
    cluster.status = Some(status(&cluster, &input, &at(0)));
    cluster.spec = serde_json::from_value(spec).unwrap();
    let numbers = [exist, exist, exist, available, available];
    input.observed.deployments = serde_json::from_value(edges(numbers)).unwrap();
    input.observed.pods = serde_json::from_value(pods.into()).unwrap();
    let after = status(&cluster, &input, &at(60));
    ["Ready", "EdgesAvailable", "Degraded"].map(|kind| condition(&after, kind))
}

#[test]
fn eviction_within_the_disruption_budget_degrades_the_cluster_and_leaves_it_ready() {
    let spec = json!({"edges": {"replicas": 4}});
    assert_eq!(
        of_four_edges(spec.clone(), 4, 3, vec![]),
        [
            "True Available: 1 of 1 origin available; 3 of 4 edges available",
            "True Available: 3 of 4 edges available",
            "True EdgesUnavailable: 3 of 4 edges available"
        ]
    );
    let [ready, edges, degraded] = of_four_edges(spec, 4, 2, vec![]);
    assert_eq!(ready, "False EdgesUnavailable: 2 of 4 edges available");
    assert!(edges.starts_with("False Starting"));
    assert!(degraded.starts_with("True EdgesUnavailable"));
    let spec = json!({"edges": {"replicas": 4, "podDisruptionBudget": {"enabled": false}}});
    assert!(of_four_edges(spec, 4, 3, vec![])[0].starts_with("False"));
    // A rollout that may leave two Pods unavailable.
    let spec = json!({"edges": {"replicas": 4, "rollingUpdate": {"maxUnavailable": "50%"}}});
    assert!(of_four_edges(spec.clone(), 4, 2, vec![])[0].starts_with("True"));
    assert!(of_four_edges(spec, 4, 1, vec![])[0].starts_with("False"));
}

#[test]
fn cluster_stays_ready_while_it_scales_up() {
    assert_eq!(
        of_four_edges(json!({"edges": {"replicas": 6}}), 6, 4, vec![]),
        [
            "True Available: 1 of 1 origin available; 4 of 6 edges available",
            "True Available: 4 of 6 edges available",
            "False AsExpected: no Pod and no address is missing"
        ]
    );
}

#[test]
fn pod_of_a_scale_up_that_cannot_be_scheduled_degrades_the_cluster() {
    let unschedulable = json!({"conditions": [
        {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    ]});
    let pods = vec![pod("edge", "demo-edge-5", unschedulable, false)];
    let [ready, _, degraded] = of_four_edges(json!({"edges": {"replicas": 5}}), 5, 4, pods);
    assert!(ready.starts_with("True"));
    assert_eq!(
        degraded,
        "True Unschedulable: 4 of 5 edges available; 0/3 nodes are available"
    );
}

#[test]
fn node_that_does_not_respond_is_named() {
    let lost = json!({"conditions": [
        {"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}
    ]});
    let mut pod = pod("edge", "demo-edge-1", lost, false);
    pod["spec"] = json!({"containers": [], "nodeName": "worker-2"});
    let named = "True NodeUnreachable: 3 of 4 edges available; Pod demo-edge-1 is on node worker-2, which does not respond; it \
                 is replaced when its tolerationSeconds are over";
    let degraded = |pod: &Value| {
        let [_, _, degraded] =
            of_four_edges(json!({"edges": {"replicas": 4}}), 4, 3, vec![pod.clone()]);
        degraded
    };
    assert_eq!(degraded(&pod), named);
    pod["spec"]["readinessGates"] = json!([{"conditionType": "example.com/balanced"}]);
    assert_eq!(
        degraded(&pod),
        "True EdgesUnavailable: 3 of 4 edges available"
    );
}

#[test]
fn load_balancer_without_an_address_degrades_the_cluster() {
    let spec = json!({"edges": {"service": {"type": "LoadBalancer"}}});
    let mut input = input(settled());
    assert_eq!(
        condition_of(spec.clone(), &input, "Degraded"),
        "True LoadBalancerPending: the load balancer of Service demo-edge has no address yet"
    );
    assert!(condition_of(spec.clone(), &input, "Ready").starts_with("True"));
    let ready = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}});
    let balanced = service("edge", ports([Some(1), Some(2)]), ready);
    input.observed.services = serde_json::from_value(json!([balanced])).unwrap();
    assert!(condition_of(spec, &input, "Degraded").starts_with("False"));
}

#[test]
fn edge_that_finds_no_origin_is_named() {
    let running = json!({"containerStatuses": [{
        "name": "media-node", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"running": {"startedAt": "1970-01-01T00:00:00Z"}}
    }]});
    let mut waiting = pod("edge", "demo-edge-1", running, false);
    waiting["metadata"]["namespace"] = "media".into();
    waiting["metadata"]["labels"]["app.kubernetes.io/instance"] = "demo".into();
    let mut input = input(settled());
    input.observed.deployments[1] =
        serde_json::from_value(deployment("edge", [2, 2, 2, 0, 0])).unwrap();
    input.observed.pods = serde_json::from_value(json!([waiting])).unwrap();
    input.observed.at = Timestamp::from_second(9).unwrap();
    assert!(condition_of(json!({}), &input, "EdgesAvailable").starts_with("False Starting"));
    input.observed.at = Timestamp::from_second(10).unwrap();
    assert_eq!(
        condition_of(json!({}), &input, "EdgesAvailable"),
        "False NoOriginFound: 0 of 2 edges available; Pod demo-edge-1 runs and has found no origin at \
         demo-origin-headless.media.svc yet"
    );
}

#[test]
fn pod_that_waits_for_its_volumes_names_them() {
    let pending = json!({
        "phase": "Pending",
        "conditions": [{
            "type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": "1970-01-01T00:00:00Z"
        }]
    });
    let mut waiting = pod("origin", "demo-origin-1", pending, false);
    waiting["spec"] = json!({"containers": [], "volumes": [
        {"name": "config", "configMap": {"name": "demo-origin-config"}},
        {"name": "live", "configMap": {"name": "demo-live"}},
        {"name": "auth-publish-keys", "secret": {"secretName": "stream-keys"}},
        {"name": "auth-play-jwks", "configMap": {"name": "issuer"}},
    ]});
    let mut input = input(settled());
    input.observed.deployments[0] =
        serde_json::from_value(deployment("origin", [1, 1, 1, 0, 0])).unwrap();
    input.observed.pods = serde_json::from_value(json!([waiting])).unwrap();
    input.observed.at = Timestamp::from_second(14).unwrap();
    assert!(condition_of(json!({}), &input, "OriginsAvailable").starts_with("False Starting"));
    input.observed.at = Timestamp::from_second(15).unwrap();
    assert_eq!(
        condition_of(json!({}), &input, "OriginsAvailable"),
        "False VolumesNotMounted: 0 of 1 origin available; Pod demo-origin-1 waits for its volumes, of which an object or \
         a key of it may not exist: Secret stream-keys, ConfigMap issuer"
    );
}

#[test]
fn deletion_names_the_pods_that_it_waits_for() {
    let mut input = input(settled());
    input.is_deleting = true;
    input.observed.pods =
        serde_json::from_value(json!([pod("edge", "a", json!({}), true)])).unwrap();
    let message = "the garbage collector deletes the objects of the LiveCluster; Pods that still serve clients, at \
                   most for their drain timeout: 1";
    for (kind, is_true) in [("Ready", "False"), ("Progressing", "True")] {
        let expected = format!("{is_true} Deleting: {message}");
        assert_eq!(condition_of(json!({}), &input, kind), expected);
    }
}

#[test]
fn rollout_that_somebody_has_paused_is_named() {
    let mut input = input(settled());
    let mut paused = deployment("edge", [2, 2, 2, 2, 2]);
    paused["spec"]["paused"] = true.into();
    input.observed.deployments[1] = serde_json::from_value(paused.clone()).unwrap();
    assert!(condition_of(json!({}), &input, "Degraded").starts_with("False"));
    paused["status"]["updatedReplicas"] = 0.into();
    input.observed.deployments[1] = serde_json::from_value(paused).unwrap();
    let named = "DeploymentPaused: Deployment demo-edge is paused, which `kubectl rollout resume deployment/demo-edge` ends";
    assert_eq!(
        condition_of(json!({}), &input, "Progressing"),
        format!("True RollingEdges: 0 of 2 edges updated; {named}")
    );
    let degraded = condition_of(json!({}), &input, "Degraded");
    assert!(
        degraded.starts_with("True DeploymentPaused: 2 of 2 edges available; "),
        "{degraded}"
    );
}
