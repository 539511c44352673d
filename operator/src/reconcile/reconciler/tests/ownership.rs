//! Objects of other owners, of deleted clusters, and without an owner.

use super::*;

#[tokio::test]
async fn foreign_deployment_is_not_changed() {
    let fixture = ReconcilerFixture::new(json!({}));
    let theirs = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "demo-edge"}, "spec": {}});
    fixture.api.put(EDGE, theirs);
    let before = fixture.api.object(EDGE);
    assert_eq!(fixture.reconcile().await, Action::requeue(WAITING_INTERVAL));
    assert_eq!(fixture.api.object(EDGE), before);
    let writes = fixture.api.writes();
    assert!(
        !writes.iter().any(|write| write.contains(EDGE)),
        "{writes:?}"
    );
    assert!(writes.contains(&format!("PATCH {ORIGIN}")));
    assert!(
        fixture
            .condition("Ready")
            .starts_with("False NameConflict: Deployment demo-edge")
    );
    fixture.api.remove(EDGE);
    fixture.reconcile().await;
    assert!(fixture.api.writes().contains(&format!("PATCH {EDGE}")));
    assert!(!fixture.condition("Ready").contains("NameConflict"));
}

#[tokio::test]
async fn object_of_a_deleted_namesake_is_waited_for() {
    let fixture = ReconcilerFixture::new(json!({}));
    let owner = json!({
        "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
        "name": "demo", "uid": "another-uid", "controller": true
    });
    fixture.api.put(
        "serviceaccounts/demo-media-node",
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "demo-media-node", "ownerReferences": [owner]}}),
    );
    for seconds in [2, 4, 8, 16, 32, 60, 60] {
        let wait = Duration::from_secs(seconds);
        assert_eq!(fixture.reconcile().await, Action::requeue(wait));
    }
    assert_eq!(
        fixture.api.writes(),
        ["PATCH liveclusters/demo/status", "POST events"]
    );
    assert_eq!(
        fixture.condition("Ready"),
        "False LeftOver: ServiceAccount demo-media-node of a deleted LiveCluster with the same name still exists"
    );
    let left_over = "serviceaccounts/demo-media-node";
    fixture.api.edit(left_over, |object| {
        object["metadata"]["finalizers"] = json!(["example.com/keep"]);
    });
    fixture.reconcile().await;
    assert!(
        fixture
            .condition("Ready")
            .ends_with("its finalizer example.com/keep keeps it")
    );
}

#[tokio::test]
async fn applied_orphan_is_adopted() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.api.edit(EDGE, |object| {
        object["metadata"]["ownerReferences"] = json!([]);
    });
    fixture.reconcile().await;
    assert!(fixture.api.writes().contains(&format!("PATCH {EDGE}")));
    assert!(fixture.condition("Ready").starts_with("True"));
}

#[tokio::test]
async fn undesired_object_is_deleted_by_its_uid() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let path = "poddisruptionbudgets/demo-edge";
    let uid = fixture.api.object(path).unwrap()["metadata"]["uid"].clone();
    // An object with the cluster's labels and without an owner.
    let labels = fixture.api.object(path).unwrap()["metadata"]["labels"].clone();
    let theirs = json!({"metadata": {"name": "theirs", "labels": labels}});
    fixture.api.put("poddisruptionbudgets/theirs", theirs);
    fixture.edit_spec(|spec| spec["edges"] = json!({"podDisruptionBudget": {"enabled": false}}));
    fixture.reconcile().await;
    let requests = fixture.api.requests();
    let deletes: Vec<_> = requests
        .iter()
        .filter(|request| request.method == Method::DELETE)
        .collect();
    assert_eq!(deletes.len(), 1, "{deletes:?}");
    assert_eq!(deletes[0].path, path);
    assert_eq!(deletes[0].body["preconditions"]["uid"], uid);
}

#[tokio::test]
async fn cluster_that_is_being_deleted_is_left_to_the_garbage_collector() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.api.edit(CLUSTER, |object| {
        object["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:00Z".into();
    });
    for writes in [&["PATCH liveclusters/demo/status", "POST events"][..], &[]] {
        assert_eq!(fixture.reconcile().await, Action::await_change());
        assert_eq!(fixture.api.writes(), writes);
    }
    assert!(fixture.condition("Ready").starts_with("False Deleting"));
}
