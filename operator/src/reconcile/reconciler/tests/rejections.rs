//! Rejected objects, invalid specs and missing references.

use super::*;

#[tokio::test]
async fn forbidden_apply_is_reported_and_does_not_stop_the_others() {
    let fixture = ReconcilerFixture::new(json!({}));
    fixture.api.refuse(
        Method::PATCH,
        "services/demo-edge",
        403,
        "Forbidden",
        "not allowed",
    );
    assert_eq!(
        fixture.reconcile().await,
        Action::requeue(REJECTED_INTERVAL)
    );
    assert!(fixture.api.object(ORIGIN).is_some());
    assert_eq!(
        fixture.condition("Ready"),
        "False Forbidden: Service demo-edge: not allowed"
    );
    fixture.api.stop_refusing();
    fixture.reconcile().await;
    assert!(fixture.api.object("services/demo-edge").is_some());
}

#[tokio::test]
async fn rejection_is_reported_with_the_message_of_the_api_server() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.api.refuse(
        Method::PATCH,
        "services/demo-edge",
        422,
        "Invalid",
        "nodePort: provided port is already allocated",
    );
    fixture.edit_spec(|spec| {
        spec["edges"] = json!({"service": {"type": "NodePort", "nodePorts": {"http": 30880}}})
    });
    fixture.reconcile().await;
    assert_eq!(
        fixture.condition("Ready"),
        "False InvalidSpec: Service demo-edge: nodePort: provided port is already allocated"
    );
    assert!(fixture.condition("EdgesAvailable").starts_with("True"));
}

#[tokio::test]
async fn conflict_is_retried() {
    let fixture = ReconcilerFixture::new(json!({}));
    fixture.api.refuse(
        Method::PATCH,
        EDGE,
        409,
        "Conflict",
        "the object has been modified",
    );
    let error = fixture.try_reconcile().await.unwrap_err();
    assert!(
        matches!(&error, ApplyError::Call(call) if call.status().unwrap().is_conflict()),
        "{error}"
    );
}

#[tokio::test]
async fn invalid_spec_changes_no_object() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.edit_spec(|spec| spec["edges"] = json!({"podTemplate": {"spce": {}}}));
    fixture.reconcile().await;
    assert_eq!(
        fixture.api.writes(),
        ["PATCH liveclusters/demo/status", "POST events"]
    );
    assert_eq!(
        fixture.condition("Ready"),
        "False InvalidSpec: spec.edges.podTemplate: unknown field spce"
    );
}

#[tokio::test]
async fn missing_secret_is_reported_until_it_exists() {
    let fixture =
        ReconcilerFixture::settled(json!({"imagePullSecrets": [{"name": "registry"}]})).await;
    assert!(
        fixture
            .condition("ReferencesResolved")
            .starts_with("False SecretNotFound")
    );
    assert_eq!(fixture.reconcile().await, Action::requeue(WAITING_INTERVAL));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry"}});
    fixture.api.put("secrets/registry", secret);
    fixture.reconcile().await;
    assert!(fixture.condition("ReferencesResolved").starts_with("True"));
    assert!(fixture.condition("Ready").starts_with("True"));
}
