//! Edges that retire, and what the API server sees of it.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::*;
use crate::observe::stream_sample::StreamSample;

/// A settled cluster with edges `a`, `b`, ... and their viewers.
pub(super) struct Edges {
    pub(super) fixture: ReconcilerFixture,
    pub(super) viewers: BTreeMap<&'static str, u64>,
    /// Plays that each edge has counted.
    pub(super) plays: u64,
}

impl Edges {
    pub(super) async fn with(viewers: &[(&'static str, u64)]) -> Self {
        let spec = json!({"edges": {"replicas": viewers.len()}});
        let fixture = ReconcilerFixture::settled(spec).await;
        let viewers = viewers.iter().copied().collect();
        let edges = Self {
            fixture,
            viewers,
            plays: 0,
        };
        let names: Vec<_> = edges.viewers.keys().copied().collect();
        for (number, name) in names.into_iter().enumerate() {
            edges.fixture.start_pod(EDGE, name, number);
        }
        edges.fixture.reconcile().await;
        edges.scrape().await;
        edges.fixture.api.requests();
        edges
    }

    pub(super) fn add(&mut self, name: &'static str, viewers: u64) {
        self.viewers.insert(name, viewers);
        self.fixture.start_pod(EDGE, name, self.viewers.len());
    }

    /// Lets the autoscaler decide.
    pub(super) fn decide(&self) {
        let reconciler = &self.fixture.reconciler;
        let demo = ClusterName::new("media", "demo");
        reconciler.autoscalers.decide(&demo, &reconciler.scraper);
    }

    pub(super) async fn scrape(&self) {
        let scrape = async |target: crate::observe::scrape_target::ScrapeTarget| {
            Some(StreamSample {
                viewers: *self.viewers.get(target.uid.as_str())?,
                plays: self.plays,
                ..StreamSample::default()
            })
        };
        let demo = ClusterName::new("media", "demo");
        self.fixture.reconciler.scraper.scrape(&demo, scrape).await;
    }

    async fn want(&self, replicas: u16) -> Vec<String> {
        self.fixture
            .edit_spec(|spec| spec["edges"]["replicas"] = replicas.into());
        self.fixture.reconcile().await;
        self.writes()
    }

    /// Writes except those of the status and of events.
    pub(super) fn writes(&self) -> Vec<String> {
        let mut writes = self.fixture.api.writes();
        writes.retain(|write| !write.contains("liveclusters") && !write.contains("events"));
        writes
    }

    pub(super) fn serving(&self, name: &str) -> Value {
        let pod = self.fixture.api.object(&format!("pods/{name}")).unwrap();
        pod["metadata"]["labels"]["livecluster.dev/serving"].clone()
    }

    /// Lets the retirement of a Pod have begun earlier.
    fn age(&self, name: &str, since: &str) {
        self.fixture.api.edit(&format!("pods/{name}"), |pod| {
            pod["metadata"]["annotations"]["livecluster.dev/retiring-since"] = since.into();
        });
    }
}

#[tokio::test]
async fn emptiest_edge_leaves_the_service_and_no_pod_is_removed() {
    let edges = Edges::with(&[("a", 9), ("b", 2), ("c", 5)]).await;
    assert_eq!(edges.want(2).await, ["PATCH pods/b"]);
    assert_eq!(
        (edges.serving("a"), edges.serving("b")),
        ("true".into(), "false".into())
    );
    let service = edges.fixture.api.object("services/demo-edge").unwrap();
    assert_eq!(
        service["spec"]["selector"]["livecluster.dev/serving"],
        "true"
    );
    assert_eq!(
        edges.fixture.api.object(EDGE).unwrap()["spec"]["replicas"],
        3
    );
    edges.fixture.settle();
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), Vec::<String>::new());
    let progressing = edges.fixture.condition("Progressing");
    let expected = "True RetiringEdges: edges that serve their last clients before they are removed: 1, until 2";
    assert!(progressing.starts_with(expected), "{progressing}");
    assert!(!progressing.contains('.'), "{progressing}");
    let cluster = edges.fixture.api.object(CLUSTER).unwrap();
    let status = &cluster["status"];
    assert_eq!(status["drainingPods"], 1);
    assert_eq!(status["edges"]["ready"], "2/2");
    assert_eq!(
        (
            &status["edges"]["replicas"],
            &status["edges"]["retiringReplicas"]
        ),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn empty_edge_is_removed_by_its_deletion_cost() {
    let mut edges = Edges::with(&[("a", 9), ("b", 2), ("c", 5)]).await;
    edges.want(2).await;
    edges.viewers.insert("b", 0);
    edges.scrape().await;
    edges.age(
        "b",
        &(Timestamp::now() - Duration::from_secs(60)).to_string(),
    );
    edges.fixture.reconcile().await;
    assert_eq!(
        edges.writes(),
        ["PATCH pods/b", "PATCH deployments/demo-edge/scale"]
    );
    let pod = edges.fixture.api.object("pods/b").unwrap();
    let cost = &pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"];
    assert_eq!(cost, "-2147483648");
    assert_eq!(
        edges.fixture.api.object(EDGE).unwrap()["spec"]["replicas"],
        2
    );
    // Its ReplicaSet has yet to delete it: it does not return to the Service.
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn edge_with_clients_is_removed_after_the_retire_timeout() {
    let edges = Edges::with(&[("a", 9), ("b", 2), ("c", 5)]).await;
    edges.want(2).await;
    edges.age(
        "b",
        &(Timestamp::now() - Duration::from_secs(3590)).to_string(),
    );
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), Vec::<String>::new());
    edges.age(
        "b",
        &(Timestamp::now() - Duration::from_secs(3600)).to_string(),
    );
    edges.fixture.reconcile().await;
    assert_eq!(
        edges.writes(),
        ["PATCH pods/b", "PATCH deployments/demo-edge/scale"]
    );
}

#[tokio::test]
async fn retiring_edge_returns_when_it_is_wanted_again() {
    let edges = Edges::with(&[("a", 9), ("b", 2), ("c", 5)]).await;
    edges.want(1).await;
    assert_eq!(
        (edges.serving("b"), edges.serving("c")),
        ("false".into(), "false".into())
    );
    assert_eq!(edges.want(2).await, ["PATCH pods/c"]);
    assert_eq!(edges.serving("c"), "true");
    let pod = edges.fixture.api.object("pods/c").unwrap();
    assert_eq!(pod["metadata"]["annotations"], json!({}));
}

#[tokio::test]
async fn nothing_retires_before_the_pods_were_scraped() {
    let mut edges = Edges::with(&[("a", 9), ("b", 2)]).await;
    edges.fixture.reconciler.scraper = StreamScraper::default();
    assert_eq!(edges.want(1).await, Vec::<String>::new());
    edges.scrape().await;
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), ["PATCH pods/b"]);
}

#[tokio::test]
async fn edge_without_its_label_gets_it_before_the_service_asks_for_it() {
    let edges = Edges::with(&[("a", 9)]).await;
    edges.fixture.api.edit("pods/a", |pod| {
        let labels = pod["metadata"]["labels"].as_object_mut().unwrap();
        labels.remove("livecluster.dev/serving");
    });
    edges.fixture.api.edit("services/demo-edge", |service| {
        service["spec"]["selector"] = json!({});
    });
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), ["PATCH pods/a", "PATCH services/demo-edge"]);
    assert_eq!(edges.serving("a"), "true");
}
