//! CustomResourceDefinitions that are newer or older than the operator.

use super::*;
use crate::reconcile::partial_statuses::RETRY_INTERVAL;

#[tokio::test]
async fn unknown_field_of_a_newer_definition_is_ignored() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.edit_spec(|spec| spec["stream"] = json!({"later": true, "lingerSeconds": 3}));
    fixture.reconcile().await;
    let config = fixture.config(EDGE);
    assert!(
        config.contains("lingerSeconds: 3") && !config.contains("later"),
        "{config}"
    );
    assert!(fixture.condition("Ready").starts_with("True"));
}

/// With an older definition the status is written in two requests: one that is refused, and one without what the definition lacks.
#[tokio::test(start_paused = true)]
async fn definition_that_is_older_than_the_operator_has_a_status_that_is_written_once() {
    let fixture = ReconcilerFixture::new(json!({}));
    fixture.api.undeclare_status_field(Some("image"));
    fixture.reconcile().await;
    assert!(fixture.condition("Progressing").starts_with("True"));
    let path = format!("{CLUSTER}/status");
    let requests = fixture.api.requests();
    let event = requests.iter().find(|it| it.path == "events").unwrap();
    assert_eq!(event.body["reason"], "OutdatedDefinition");
    let written = requests.iter().rfind(|it| it.path == path).unwrap();
    assert!(!written.query.contains("force"), "{written:?}");
    fixture.settle();
    fixture.reconcile().await;
    assert!(fixture.condition("Ready").starts_with("True"));
    fixture.api.requests();

    let settled = fixture.reconcile().await;
    assert_eq!(fixture.api.writes(), Vec::<String>::new());
    assert_ne!(settled, Action::requeue(PROGRESSING_INTERVAL));

    fixture.api.undeclare_status_field(None);
    fixture.reconcile().await;
    assert_eq!(fixture.api.writes(), Vec::<String>::new());
    tokio::time::advance(RETRY_INTERVAL).await;
    fixture.reconcile().await;
    assert_eq!(fixture.api.writes(), [format!("PATCH {path}")]);
    let cluster = fixture.api.object(CLUSTER).unwrap();
    assert_eq!(cluster["status"]["image"], "media-node:1");
}

#[tokio::test]
async fn unreadable_cluster_is_reported_once_and_its_objects_stay() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let others = fixture.condition("EdgesAvailable");
    let readable = fixture.api.object(CLUSTER).unwrap()["spec"].clone();
    fixture.edit_spec(|spec| spec["stream"] = json!({"duplicatePublish": "merge"}));
    let action = fixture.reconcile().await;
    assert_eq!(action, Action::requeue(REJECTED_INTERVAL));
    assert_eq!(
        fixture.api.writes(),
        ["PATCH liveclusters/demo/status", "POST events"]
    );
    for (kind, status) in [
        ("Ready", "False"),
        ("Degraded", "True"),
        ("Progressing", "False"),
    ] {
        let condition = format!(
            "{status} UnreadableSpec: spec.stream.duplicatePublish: this version of the operator cannot read the value; \
             the objects of the cluster are not changed"
        );
        assert_eq!(fixture.condition(kind), condition);
    }
    assert_eq!(fixture.condition("EdgesAvailable"), others);
    let metrics = fixture.reconciler.metrics.render().unwrap();
    for (gauge, value) in [
        ("live_cluster_unreadable", 1),
        ("live_cluster_degraded", 1),
        ("live_cluster_ready", 0),
    ] {
        let line = format!("{gauge}{{name=\"demo\",namespace=\"media\"}} {value}");
        assert!(metrics.contains(&line), "{metrics}");
    }
    fixture.reconcile().await;
    assert_eq!(fixture.api.writes(), Vec::<String>::new());
    fixture.edit_spec(|spec| *spec = readable);
    fixture.reconcile().await;
    assert!(fixture.condition("Ready").starts_with("True"));
    let metrics = fixture.reconciler.metrics.render().unwrap();
    assert!(metrics.contains("live_cluster_unreadable{name=\"demo\",namespace=\"media\"} 0"));
}
