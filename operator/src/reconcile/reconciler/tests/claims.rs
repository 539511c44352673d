//! Two operators whose namespaces overlap: one reconciles the cluster, the other one says so.

use super::*;

/// An operator of the release `name`, with the API server of `fixture`.
fn operator(fixture: &ReconcilerFixture, name: &str, class: &str) -> Reconciler {
    let mut reconciler = new_reconciler(fixture.reconciler.client.clone());
    reconciler.claims = ClusterClaims::new(OperatorIdentity {
        name: OperatorName {
            namespace: name.to_owned(),
            lease: "livecluster-operator".to_owned(),
        },
        class: class.to_owned(),
    });
    reconciler
}

async fn reconcile(reconciler: &Reconciler) -> Action {
    let name = ClusterName::new("media", "demo");
    reconciler.reconcile(&name).await.unwrap()
}

fn renew_lease(fixture: &ReconcilerFixture, time: &str) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "livecluster-operator"},
        "spec": {"holderIdentity": "pod", "renewTime": time}
    });
    fixture.api.put("leases/livecluster-operator", lease);
}

#[tokio::test(start_paused = true)]
async fn second_operator_leaves_a_claimed_cluster_alone_until_the_lease_expires() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let second = operator(&fixture, "second", "");
    for (second_of_time, writes) in [(10, &["POST events"][..]), (20, &[]), (30, &[]), (40, &[])] {
        renew_lease(
            &fixture,
            &format!("2026-11-22T10:00:{second_of_time}.000000Z"),
        );
        assert_eq!(reconcile(&second).await, Action::requeue(FOREIGN_INTERVAL));
        assert_eq!(fixture.api.writes(), writes);
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    let metrics = second.metrics.render().unwrap();
    let foreign = "live_cluster_foreign{name=\"demo\",namespace=\"media\"} ";
    assert!(metrics.contains(&format!("{foreign}1")), "{metrics}");
    // The owner does not renew its lease any more.
    for _ in 0..2 {
        assert_eq!(reconcile(&second).await, Action::requeue(FOREIGN_INTERVAL));
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    reconcile(&second).await;
    let cluster = fixture.api.object(CLUSTER).unwrap();
    assert_eq!(cluster["status"]["operator"]["namespace"], "second");
    let metrics = second.metrics.render().unwrap();
    assert!(metrics.contains(&format!("{foreign}0")), "{metrics}");
    // The first one is back, and finds a new owner.
    fixture.api.requests();
    renew_lease(&fixture, "2026-11-22T10:01:00.000000Z");
    assert_eq!(fixture.reconcile().await, Action::requeue(FOREIGN_INTERVAL));
    assert_eq!(fixture.api.writes(), ["POST events"]);
}

#[tokio::test]
async fn of_two_operators_that_claim_a_cluster_at_once_one_wins() {
    let fixture = ReconcilerFixture::new(json!({}));
    fixture
        .api
        .edit(CLUSTER, |cluster| drop(cluster["status"].take()));
    let second = operator(&fixture, "second", "");
    let name = ClusterName::new("media", "demo");
    let read = read::cluster(&second.client, &name).await.unwrap().unwrap();
    let client = &second.client;
    let first = fixture
        .reconciler
        .claims
        .claim(client, &mut read.clone())
        .await;
    assert_eq!(first.unwrap(), Claim::Ours);
    let late = second.claims.claim(client, &mut read.clone()).await;
    assert!(late.unwrap_err().status().unwrap().is_conflict());
}

#[tokio::test(start_paused = true)]
async fn lease_that_may_not_be_read_keeps_its_clusters() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let second = operator(&fixture, "second", "");
    let path = "leases/livecluster-operator";
    fixture
        .api
        .refuse(Method::GET, path, 403, "Forbidden", "not allowed");
    for _ in 0..10 {
        assert_eq!(reconcile(&second).await, Action::requeue(FOREIGN_INTERVAL));
        tokio::time::advance(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn cluster_in_a_namespace_that_its_operator_no_longer_watches_is_taken_over_at_once() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let second = operator(&fixture, "second", "");
    for (watched, wait) in [
        ("", Some(FOREIGN_INTERVAL)),
        ("live,media", Some(FOREIGN_INTERVAL)),
        ("live,media-2", None),
    ] {
        renew_lease(&fixture, "2026-11-22T10:00:00.000000Z");
        fixture.api.edit("leases/livecluster-operator", |lease| {
            lease["metadata"]["annotations"] =
                json!({"livecluster.dev/watched-namespaces": watched});
        });
        tokio::time::advance(Duration::from_secs(10)).await;
        let action = reconcile(&second).await;
        let is_foreign = wait.is_some_and(|wait| action == Action::requeue(wait));
        assert_eq!(is_foreign, wait.is_some(), "{watched}: {action:?}");
    }
    let cluster = fixture.api.object(CLUSTER).unwrap();
    assert_eq!(cluster["status"]["operator"]["namespace"], "second");
}

#[tokio::test]
async fn cluster_of_another_class_is_ignored() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let blue = operator(&fixture, "blue", "blue");
    assert_eq!(reconcile(&blue).await, Action::await_change());
    assert_eq!(fixture.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn cluster_whose_class_changes_is_handed_over_while_both_operators_work() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    renew_lease(&fixture, "2026-11-22T10:00:00.000000Z");
    let blue = operator(&fixture, "blue", "blue");
    fixture.edit_spec(|spec| {
        spec["operatorClass"] = "blue".into();
        spec["edges"] = json!({"replicas": 5});
    });
    assert_eq!(reconcile(&blue).await, Action::requeue(FOREIGN_INTERVAL));
    assert_eq!(fixture.api.writes(), ["POST events"]);
    for _ in 0..2 {
        assert_eq!(fixture.reconcile().await, Action::await_change());
    }
    assert_eq!(
        fixture.api.writes(),
        ["PATCH liveclusters/demo/status"],
        "it is released once"
    );
    reconcile(&blue).await;
    let cluster = fixture.api.object(CLUSTER).unwrap();
    assert_eq!(cluster["status"]["operator"]["namespace"], "blue");
    assert_eq!(fixture.api.object(EDGE).unwrap()["spec"]["replicas"], 5);
}
