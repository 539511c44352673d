//! The number of origins.

use super::*;
use crate::observe::scrape_target::ScrapeTarget;
use crate::observe::stream_sample::StreamSample;

#[tokio::test]
async fn emptiest_origins_are_removed_and_none_before_they_were_scraped() {
    let fixture = ReconcilerFixture::settled(json!({"origins": {"replicas": 3}})).await;
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        fixture.start_pod(ORIGIN, name, number);
    }
    let replicas = || fixture.api.object(ORIGIN).unwrap()["spec"]["replicas"].clone();
    fixture.edit_spec(|spec| spec["origins"]["replicas"] = 1.into());
    fixture.reconcile().await;
    assert_eq!(replicas(), 3);
    // The last one does not respond.
    let scrape = async |target: ScrapeTarget| {
        let publications = match target.uid.as_str() {
            "a" => 2,
            "b" => 0,
            _ => return None,
        };
        Some(StreamSample {
            publications,
            ..StreamSample::default()
        })
    };
    let demo = ClusterName::new("media", "demo");
    fixture.reconciler.scraper.scrape(&demo, scrape).await;
    fixture.reconcile().await;
    assert_eq!(replicas(), 1);
    let costs = ["a", "b", "c"].map(|name| {
        let pod = fixture.api.object(&format!("pods/{name}")).unwrap();
        pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"].clone()
    });
    assert_eq!(costs, ["2", "0", "2147483647"]);
}
