//! Whose object it is: taken, left alone, waited for, deleted.

use super::*;

#[tokio::test]
async fn somebody_elses_deployment_is_left_alone() {
    let scene = Scene::new(json!({}));
    let theirs = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "demo-edge"}, "spec": {}});
    scene.api.put(EDGE, theirs);
    let before = scene.api.object(EDGE);
    assert_eq!(scene.pass().await, Next::After(WAITING));
    assert_eq!(scene.api.object(EDGE), before);
    let writes = scene.api.writes();
    assert!(
        !writes.iter().any(|write| write.contains(EDGE)),
        "{writes:?}"
    );
    assert!(writes.contains(&format!("PATCH {ORIGIN}")));
    assert!(
        scene
            .says("Ready")
            .starts_with("False NameConflict: Deployment demo-edge")
    );
}

#[tokio::test]
async fn what_a_deleted_namesake_left_is_waited_for() {
    let scene = Scene::new(json!({}));
    let owner = json!({
        "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
        "name": "demo", "uid": "another-uid", "controller": true
    });
    scene.api.put(
        "serviceaccounts/demo-media-node",
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "demo-media-node", "ownerReferences": [owner]}}),
    );
    let error = scene.try_pass().await.unwrap_err();
    assert!(matches!(error, ApplyError::LeftOver { .. }), "{error}");
    assert_eq!(scene.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn an_orphan_that_we_applied_is_taken_back() {
    let scene = Scene::settled(json!({})).await;
    scene.api.edit(EDGE, |object| {
        object["metadata"]["ownerReferences"] = json!([]);
    });
    scene.pass().await;
    assert!(scene.api.writes().contains(&format!("PATCH {EDGE}")));
    assert!(scene.says("Ready").starts_with("True"));
}

#[tokio::test]
async fn what_is_no_longer_wanted_is_deleted_by_its_uid() {
    let scene = Scene::settled(json!({})).await;
    let path = "poddisruptionbudgets/demo-edge";
    let uid = scene.api.object(path).unwrap()["metadata"]["uid"].clone();
    // With our labels, but not ours.
    let labels = scene.api.object(path).unwrap()["metadata"]["labels"].clone();
    let theirs = json!({"metadata": {"name": "theirs", "labels": labels}});
    scene.api.put("poddisruptionbudgets/theirs", theirs);
    scene.spec(|spec| spec["edges"] = json!({"podDisruptionBudget": {"enabled": false}}));
    scene.pass().await;
    let requests = scene.api.requests();
    let deletes: Vec<_> = requests
        .iter()
        .filter(|call| call.method == Method::DELETE)
        .collect();
    assert_eq!(deletes.len(), 1, "{deletes:?}");
    assert_eq!(deletes[0].path, path);
    assert_eq!(deletes[0].body["preconditions"]["uid"], uid);
}

#[tokio::test]
async fn a_cluster_that_is_being_deleted_is_left_to_the_garbage_collector() {
    let scene = Scene::settled(json!({})).await;
    scene.api.edit(CLUSTER, |object| {
        object["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:00Z".into();
    });
    assert_eq!(scene.pass().await, Next::Never);
    assert_eq!(scene.api.writes(), Vec::<String>::new());
}
