//! Rollouts: which role rolls when, and with which configuration.

use super::*;

#[tokio::test]
async fn origins_and_edges_roll_independently() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.edit_spec(|spec| spec["image"] = "media-node:2".into());
    fixture.reconcile().await;
    assert_eq!(
        fixture.api.writes(),
        [
            "PATCH deployments/demo-edge",
            "PATCH deployments/demo-origin",
            "PATCH liveclusters/demo/status",
            "POST events"
        ]
    );
    assert_eq!(
        fixture.condition("Progressing"),
        "True RollingEdges: 0 of 2 edges updated; 0 of 1 origin updated"
    );
    assert!(fixture.condition("Ready").starts_with("True"));
    fixture.settle_one(EDGE);
    fixture.reconcile().await;
    assert!(
        fixture
            .condition("Progressing")
            .starts_with("True RollingOrigins")
    );
    fixture.settle_one(ORIGIN);
    fixture.reconcile().await;
    assert!(
        fixture
            .condition("Progressing")
            .starts_with("False RolloutComplete")
    );
}

/// Origins that never became ready leave the edges unready as well, and then both change.
#[tokio::test]
async fn cure_of_broken_origins_does_not_wait_for_edges() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    for path in [ORIGIN, EDGE] {
        fixture.api.edit(path, |object| {
            object["status"]["availableReplicas"] = 0.into();
            object["status"]["readyReplicas"] = 0.into();
        });
    }
    fixture.edit_spec(|spec| spec["stream"] = json!({"lingerSeconds": 3}));
    fixture.reconcile().await;
    for path in [EDGE, ORIGIN] {
        let config = fixture.config(path);
        assert!(config.contains("lingerSeconds"), "{path}: {config}");
    }
    fixture.edit_spec(|spec| spec["image"] = "media-node:2".into());
    fixture.reconcile().await;
    assert_eq!(fixture.image(ORIGIN), "media-node:2");
}

#[tokio::test]
async fn log_level_and_limits_change_without_a_rollout() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let templates = || {
        [EDGE, ORIGIN].map(|path| {
            let deployment = fixture.api.object(path).unwrap();
            deployment["spec"]["template"].clone()
        })
    };
    let before = templates();
    fixture.edit_spec(|spec| {
        spec["logs"] = json!({"level": "debug"});
        spec["limits"] = json!({"maxConnections": 77});
    });
    fixture.reconcile().await;
    assert_eq!(
        fixture.api.writes(),
        [
            "PATCH configmaps/demo-live",
            "PATCH liveclusters/demo/status"
        ]
    );
    let live = fixture.api.object("configmaps/demo-live").unwrap();
    assert_eq!(
        live["data"]["live.yaml"],
        "log:\n  level: debug\nlimits:\n  maxConnections: 77\n"
    );
    assert!(live["immutable"].is_null());
    assert_eq!(templates(), before);
    fixture.edit_spec(|spec| spec["logs"]["format"] = "json".into());
    fixture.reconcile().await;
    assert_ne!(templates(), before);
}

#[tokio::test]
async fn configuration_is_deleted_with_its_last_pod() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let old = fixture.config_path(EDGE);
    let template = fixture.api.object(EDGE).unwrap()["spec"]["template"].clone();
    let mut pod = template.clone();
    pod["metadata"]["name"] = "demo-edge-1".into();
    fixture.api.put("pods/demo-edge-1", pod);
    fixture.edit_spec(|spec| spec["stream"] = json!({"lingerSeconds": 3}));
    fixture.reconcile().await;
    let new = fixture.config_path(EDGE);
    assert_ne!(old, new);
    assert!(fixture.api.object(&old).is_some());
    assert_eq!(fixture.api.object(&new).unwrap()["immutable"], true);
    let mut pod = fixture.api.object(EDGE).unwrap()["spec"]["template"].clone();
    pod["metadata"]["name"] = "demo-edge-1".into();
    fixture.api.put("pods/demo-edge-1", pod);
    fixture.reconcile().await;
    assert!(fixture.api.object(&old).is_none());
    assert!(fixture.api.object(&new).is_some());
}

#[tokio::test]
async fn held_rollout_is_named_and_ends_with_the_drain() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let labels = fixture.api.object(ORIGIN).unwrap()["metadata"]["labels"].clone();
    let terminating = |end: &str| {
        for number in 0..2 {
            let name = format!("demo-origin-{number}");
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": "media", "labels": labels, "deletionTimestamp": end}
            });
            fixture.api.put(&format!("pods/{name}"), pod);
        }
    };
    terminating("2100-01-01T00:00:00Z");
    fixture.edit_spec(|spec| spec["stream"] = json!({"lingerSeconds": 3}));
    fixture.reconcile().await;
    let config = || fixture.config(ORIGIN);
    assert!(!config().contains("lingerSeconds"));
    assert!(fixture.condition("Progressing").contains(
        "waits for terminating origin Pods, 2 now, until 2100-01-01T00:00:00Z at the latest"
    ));
    terminating("2020-01-01T00:00:00Z");
    fixture.reconcile().await;
    assert!(config().contains("lingerSeconds"));
}

#[tokio::test(start_paused = true)]
async fn upgrade_of_the_operator_rolls_one_cluster_after_another() {
    let mut fixture = ReconcilerFixture::settled(json!({})).await;
    let other = ClusterName::new("media", "other");
    tokio::time::advance(PACE.pause).await;
    assert!(fixture.reconciler.upgrades.may_roll(&other));
    fixture.reconciler.defaults.image = "media-node:2".to_owned();
    fixture.reconciler.defaults.roll_image = true;
    fixture.reconcile().await;
    assert_eq!(fixture.image(EDGE), "media-node:1");
    assert_eq!(
        fixture.condition("Progressing"),
        "True Queued: the rollout of the edges for this version of the operator waits until other LiveClusters have \
         rolled, at most ten minutes for each of them; the rollout of the origins for this version of the operator waits \
         until other LiveClusters have rolled, at most ten minutes for each of them"
    );
    fixture.reconciler.upgrades.settle(&other);
    tokio::time::advance(PACE.pause).await;
    fixture.reconcile().await;
    assert_eq!(
        (fixture.image(EDGE), fixture.image(ORIGIN)),
        ("media-node:2".to_owned(), "media-node:2".to_owned())
    );
    // Its place is free a pause after it has settled.
    fixture.settle();
    fixture.reconcile().await;
    assert!(!fixture.reconciler.upgrades.may_roll(&other));
    tokio::time::advance(PACE.pause).await;
    assert!(fixture.reconciler.upgrades.may_roll(&other));
    // A change of the spec waits for nothing.
    fixture.edit_spec(|spec| spec["image"] = "media-node:3".into());
    fixture.reconcile().await;
    assert_eq!(fixture.image(EDGE), "media-node:3");
}

#[tokio::test(start_paused = true)]
async fn autoscaler_lets_no_cluster_roll_before_its_turn() {
    let mut fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.reconciler.defaults.image = "media-node:2".to_owned();
    fixture.reconciler.defaults.roll_image = true;
    fixture.reconcile().await;
    fixture.edit_spec(|spec| spec["edges"] = json!({"replicas": 3}));
    fixture.reconcile().await;
    let edges = fixture.api.object(EDGE).unwrap();
    assert_eq!(edges["spec"]["replicas"], 3, "the number does not wait");
    // While the new Pod starts, and when it is available.
    fixture.reconcile().await;
    assert_eq!(fixture.image(EDGE), "media-node:1");
    fixture.settle();
    fixture.reconcile().await;
    assert_eq!(fixture.image(EDGE), "media-node:1");
    assert!(fixture.condition("Progressing").starts_with("True Queued"));
    fixture.edit_spec(|spec| spec["stream"] = json!({"lingerSeconds": 3}));
    fixture.reconcile().await;
    assert_eq!(fixture.image(EDGE), "media-node:2");
}

#[tokio::test(start_paused = true)]
async fn new_leader_lets_no_cluster_roll_beside_one_that_rolls_already() {
    let mut fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.reconciler.upgrades = UpgradeQueue::new(PACE);
    fixture.api.edit(EDGE, |deployment| {
        deployment["status"]["updatedReplicas"] = 1.into();
    });
    fixture.reconcile().await;
    tokio::time::advance(PACE.pause).await;
    let other = ClusterName::new("media", "other");
    assert!(!fixture.reconciler.upgrades.may_roll(&other));
    fixture.settle();
    fixture.reconcile().await;
    tokio::time::advance(PACE.pause).await;
    assert!(fixture.reconciler.upgrades.may_roll(&other));
}
