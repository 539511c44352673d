//! Writes of the status while the LiveCluster changes.

use kube::core::Status;
use livecluster_api::LiveCluster;

use super::*;
use crate::status::input::StatusInput;

impl ReconcilerFixture {
    /// Returns the cluster as it is now.
    fn read(&self) -> LiveCluster {
        serde_json::from_value(self.api.object(CLUSTER).unwrap()).unwrap()
    }

    fn status(&self) -> Value {
        self.api.object(CLUSTER).unwrap()["status"].clone()
    }
}

#[tokio::test]
async fn status_is_not_written_to_a_new_cluster_of_the_same_name() {
    let fixture = ReconcilerFixture::new(json!({}));
    fixture.reconcile().await;
    let former = fixture.read();
    fixture.api.edit(CLUSTER, |cluster| {
        cluster["metadata"]["uid"] = "another-uid".into();
        cluster["status"] = json!({});
    });
    let input = StatusInput::default();
    let written = fixture.reconciler.update_status(&former, &input).await;
    let error = written.unwrap_err();
    assert!(error.status().is_some_and(Status::is_conflict), "{error}");
    assert_eq!(fixture.status(), json!({}));
}

#[tokio::test]
async fn status_is_written_although_another_client_changes_the_cluster_meanwhile() {
    let fixture = ReconcilerFixture::new(json!({}));
    let read = fixture.read();
    fixture.api.edit(CLUSTER, |cluster| {
        cluster["metadata"]["labels"] = json!({"a": "b"});
    });
    let input = StatusInput::default();
    let written = fixture.reconciler.update_status(&read, &input).await;
    assert!(written.unwrap());
    assert!(fixture.status()["conditions"].is_array());
}
