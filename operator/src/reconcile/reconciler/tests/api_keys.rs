//! The API server's keys, which the Pods verify tokens with.

use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn cluster_waits_for_the_keys_of_the_api_server() {
    let fixture = ReconcilerFixture::new(json!({}));
    fixture
        .api
        .refuse(Method::GET, "jwks", 403, "Forbidden", "not allowed");
    fixture.reconcile().await;
    assert!(
        fixture
            .condition("Ready")
            .starts_with("False Forbidden: failed to get API server keys")
    );
    assert_eq!(fixture.api.object(ORIGIN), None);
    fixture.api.stop_refusing();
    fixture.reconcile().await;
    let keys = fixture.api.object("configmaps/demo-identity").unwrap();
    let keys = keys["data"]["jwks.json"].as_str().unwrap();
    assert!(keys.contains(r#""kid":"a""#), "{keys}");
    assert!(fixture.api.object(ORIGIN).is_some());
}

/// The keys are the only request that hangs. A new leader has not read them yet.
#[tokio::test(start_paused = true)]
async fn cluster_whose_pods_have_keys_waits_for_no_others() {
    let former = ReconcilerFixture::settled(json!({})).await;
    former.api.never_respond_to("jwks");
    let fixture = ReconcilerFixture {
        reconciler: new_reconciler(former.reconciler.client.clone()),
        api: former.api,
    };
    fixture.edit_spec(|spec| spec["image"] = "media-node:2".into());
    let reconciled = timeout(Duration::from_secs(1), fixture.reconcile()).await;
    reconciled.expect("it waits for no keys");
    assert_eq!(fixture.image(EDGE), "media-node:2");
    let keys = fixture.api.object("configmaps/demo-identity").unwrap();
    let keys = keys["data"]["jwks.json"].as_str().unwrap();
    assert!(keys.contains(r#""kid":"a""#), "{keys}");
}
