//! What the watch reports of LiveClusters: the operator's own writes of the status cause no reconciliation, every other change does.

use kube::runtime::watcher::Event;

use super::*;
use crate::reconcile::cluster_watch::{WatchedCluster, changed};

impl ReconcilerFixture {
    /// Returns whether a watch that reports the cluster as it is now causes a reconciliation.
    fn is_reconciled(&self, event: fn(WatchedCluster) -> Event<WatchedCluster>) -> bool {
        let cluster = self.api.object(CLUSTER).unwrap();
        let cluster = json!({"metadata": cluster["metadata"]});
        let cluster = serde_json::from_value(cluster).unwrap();
        changed(event(cluster), |it| self.reconciler.is_own_write(it)).is_some()
    }
}

#[tokio::test]
async fn own_write_of_the_status_causes_no_reconciliation() {
    let fixture = ReconcilerFixture::new(json!({}));
    assert!(fixture.is_reconciled(Event::Apply));
    fixture.reconcile().await;
    assert!(!fixture.is_reconciled(Event::Apply));
    // A watch that starts anew may have missed what came before.
    fixture.settle();
    fixture.reconcile().await;
    assert!(fixture.is_reconciled(Event::InitApply));
}

#[tokio::test]
async fn claim_causes_no_reconciliation() {
    let fixture = ReconcilerFixture::new(json!({}));
    let mut cluster = fixture.api.object(CLUSTER).unwrap();
    cluster["status"].take();
    fixture.api.put(CLUSTER, cluster);
    let name = ClusterName::new("media", "demo");
    let client = &fixture.reconciler.client;
    let mut read = read::cluster(client, &name).await.unwrap().unwrap();
    let own_writes = &fixture.reconciler.own_writes;
    let claims = &fixture.reconciler.claims;
    let claim = claims.claim(client, own_writes, &mut read).await.unwrap();
    assert_eq!(claim, Claim::Ours { former: None });
    assert!(!fixture.is_reconciled(Event::Apply));
}

#[tokio::test]
async fn every_change_of_others_causes_a_reconciliation() {
    let fixture = ReconcilerFixture::new(json!({}));
    fixture.reconcile().await;
    let edit = |edit: fn(&mut Value)| fixture.api.edit(CLUSTER, edit);
    edit(|cluster| cluster["status"]["image"] = "edited".into());
    assert!(fixture.is_reconciled(Event::Apply));
    edit(|cluster| cluster["metadata"]["labels"] = json!({"a": "b"}));
    assert!(fixture.is_reconciled(Event::Apply));
    fixture.edit_spec(|spec| spec["edges"] = json!({"replicas": 3}));
    assert!(fixture.is_reconciled(Event::Apply));
    fixture.reconcile().await;
    assert!(fixture.is_reconciled(Event::Delete));
}
