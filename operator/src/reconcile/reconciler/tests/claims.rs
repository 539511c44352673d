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
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(reconcile(&second).await, Action::requeue(FOREIGN_INTERVAL));
    tokio::time::advance(Duration::from_secs(10)).await;
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

/// The leader asks every five seconds.
#[tokio::test(start_paused = true)]
async fn cluster_of_an_operator_that_hangs_is_found_half_a_minute_after_its_last_renewal() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let second = operator(&fixture, "second", "");
    renew_lease(&fixture, "2026-11-22T10:00:00.000000Z");
    reconcile(&second).await;
    let mut waited = 0;
    renew_lease(&fixture, "2026-11-22T10:00:02.000000Z");
    while second.abandoned_clusters().await.is_empty() {
        tokio::time::advance(Duration::from_secs(5)).await;
        waited += 5;
        assert!(waited <= 35, "not found after {waited} s");
    }
    assert_eq!(waited, 30);
    // It works after all: its Lease is read again before it loses the cluster.
    renew_lease(&fixture, "2026-11-22T10:00:30.000000Z");
    assert_eq!(reconcile(&second).await, Action::requeue(FOREIGN_INTERVAL));
    assert_eq!(second.abandoned_clusters().await, Vec::<ClusterName>::new());
    tokio::time::advance(Duration::from_secs(25)).await;
    let demo = ClusterName::new("media", "demo");
    assert_eq!(second.abandoned_clusters().await, [demo]);
    assert_ne!(reconcile(&second).await, Action::requeue(FOREIGN_INTERVAL));
    let cluster = fixture.api.object(CLUSTER).unwrap();
    assert_eq!(cluster["status"]["operator"]["namespace"], "second");
    assert_eq!(second.abandoned_clusters().await, Vec::<ClusterName>::new());
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
    let claim = async |reconciler: &Reconciler| {
        let own_writes = &reconciler.own_writes;
        let claims = &reconciler.claims;
        claims.claim(client, own_writes, &mut read.clone()).await
    };
    let first = claim(&fixture.reconciler).await.unwrap();
    assert_eq!(first, Claim::Ours { former: None });
    let late = claim(&second).await.unwrap_err();
    assert!(late.status().unwrap().is_conflict());
}

/// A second operator that may not read the Lease of the first one.
fn blind_operator(fixture: &ReconcilerFixture) -> Reconciler {
    let path = "leases/livecluster-operator";
    fixture
        .api
        .refuse(Method::GET, path, 403, "Forbidden", "not allowed");
    operator(fixture, "second", "")
}

#[tokio::test(start_paused = true)]
async fn operator_whose_lease_may_not_be_read_keeps_its_clusters_while_it_answers() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let second = blind_operator(&fixture);
    for round in 0..60 {
        assert_eq!(reconcile(&second).await, Action::requeue(FOREIGN_INTERVAL));
        let writes = fixture.api.writes();
        // It asks every two minutes; the answers are writes of the status as well.
        let question = writes.contains(&"PATCH liveclusters/demo/status".to_owned());
        assert_eq!(question, round % 5 == 0, "{round}: {writes:?}");
        fixture.reconcile().await;
        assert_eq!(fixture.api.writes().len(), usize::from(question), "{round}");
        // A Lease that may not be read is not asked for in vain.
        assert_eq!(second.abandoned_clusters().await, Vec::<ClusterName>::new());
        assert_eq!(fixture.api.requests().len(), 0, "{round}");
        tokio::time::advance(Duration::from_secs(30)).await;
    }
    let cluster = fixture.api.object(CLUSTER).unwrap();
    assert_eq!(cluster["status"]["operator"], json!(identity().name));
    assert!(cluster["status"]["takeover"].is_null());
}

#[tokio::test(start_paused = true)]
async fn cluster_of_an_operator_that_does_not_answer_is_taken_over() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let second = blind_operator(&fixture);
    for _ in 0..4 {
        assert_eq!(reconcile(&second).await, Action::requeue(FOREIGN_INTERVAL));
        tokio::time::advance(Duration::from_secs(30)).await;
    }
    let status = || fixture.api.object(CLUSTER).unwrap()["status"].clone();
    assert_eq!(status()["takeover"]["namespace"], "second");
    assert_eq!(status()["operator"], json!(identity().name));
    fixture.api.requests();
    reconcile(&second).await;
    let mut requests = fixture.api.requests();
    requests.retain(|request| request.method == Method::POST && request.path == "events");
    let note = "the operator second/livecluster-operator reconciles this LiveCluster now: the operator \
                livecluster-system/livecluster-operator has stopped, or watches other namespaces";
    assert_eq!(requests[0].body["note"], note);
    assert_eq!(status()["operator"]["namespace"], "second");
    assert!(status()["takeover"].is_null());
    // The first one is back. It may read the Lease of the second one.
    fixture.api.stop_refusing();
    renew_lease(&fixture, "2026-11-22T10:01:00.000000Z");
    fixture.api.requests();
    assert_eq!(fixture.reconcile().await, Action::requeue(FOREIGN_INTERVAL));
    assert_eq!(fixture.api.writes(), ["POST events"]);
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
