//! What cannot be: the API or the spec is in the way.

use super::*;

#[tokio::test]
async fn a_forbidden_apply_is_shown_and_does_not_stop_the_others() {
    let scene = Scene::new(json!({}));
    scene.api.refuse(
        Method::PATCH,
        "services/demo-edge",
        403,
        "Forbidden",
        "you may not",
    );
    assert_eq!(scene.pass().await, Next::After(REFUSED));
    assert!(scene.api.object(ORIGIN).is_some());
    assert_eq!(
        scene.says("Ready"),
        "False Forbidden: Service demo-edge: you may not"
    );
    scene.api.relent();
    scene.pass().await;
    assert!(scene.api.object("services/demo-edge").is_some());
}

#[tokio::test]
async fn what_the_api_finds_invalid_is_shown_with_its_words() {
    let scene = Scene::settled(json!({})).await;
    scene.api.refuse(
        Method::PATCH,
        "services/demo-edge",
        422,
        "Invalid",
        "nodePort: provided port is already allocated",
    );
    scene.spec(|spec| {
        spec["edges"] = json!({"service": {"type": "NodePort", "nodePorts": {"http": 30880}}})
    });
    scene.pass().await;
    assert_eq!(
        scene.says("Ready"),
        "False InvalidSpec: Service demo-edge: nodePort: provided port is already allocated"
    );
    assert!(scene.says("EdgesAvailable").starts_with("True"));
}

#[tokio::test]
async fn a_conflict_is_worth_another_try() {
    let scene = Scene::new(json!({}));
    scene.api.refuse(
        Method::PATCH,
        EDGE,
        409,
        "Conflict",
        "the object has been modified",
    );
    let error = scene.try_pass().await.unwrap_err();
    assert!(
        matches!(&error, ApplyError::Call(call) if call.status().unwrap().is_conflict()),
        "{error}"
    );
}

#[tokio::test]
async fn a_spec_that_makes_no_objects_changes_nothing() {
    let scene = Scene::settled(json!({})).await;
    scene.spec(|spec| spec["edges"] = json!({"podTemplate": {"spce": {}}}));
    scene.pass().await;
    assert_eq!(
        scene.api.writes(),
        ["PATCH liveclusters/demo/status", "POST events"]
    );
    assert_eq!(
        scene.says("Ready"),
        "False InvalidSpec: spec.edges.podTemplate: unknown field spce"
    );
}

#[tokio::test]
async fn a_missing_secret_is_noticed_and_its_coming_too() {
    let scene = Scene::settled(json!({"imagePullSecrets": [{"name": "registry"}]})).await;
    assert!(
        scene
            .says("ReferencesResolved")
            .starts_with("False SecretNotFound")
    );
    assert_eq!(scene.pass().await, Next::After(WAITING));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry"}});
    scene.api.put("secrets/registry", secret);
    scene.pass().await;
    assert!(scene.says("ReferencesResolved").starts_with("True"));
    assert!(scene.says("Ready").starts_with("True"));
}
