//! New viewers go to the edges that have room.

use super::retirement::Edges;
use super::*;

/// Edges to which a viewer a second comes, as of the last scrape.
async fn joined(viewers: &[(&'static str, u64)]) -> Edges {
    let mut edges = Edges::with(viewers).await;
    edges.plays += 5;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    edges.scrape().await;
    edges
}

impl Edges {
    fn change_is_asked_for(&self) -> bool {
        let scraper = &self.fixture.reconciler.scraper;
        let demo = ClusterName::new("media", "demo");
        scraper.have_joins_changed(&demo, Instant::now())
    }
}

#[tokio::test]
async fn full_edges_leave_the_service_and_stay_available() {
    let edges = joined(&[("a", 100), ("b", 100), ("c", 0), ("d", 0)]).await;
    assert!(edges.change_is_asked_for());
    // Once, not at each scrape.
    assert!(!edges.change_is_asked_for());
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), ["PATCH pods/a", "PATCH pods/b"]);
    assert_eq!(
        ["a", "b", "c", "d"].map(|name| edges.serving(name)),
        ["full", "full", "true", "true"]
    );
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), Vec::<String>::new());
    assert!(!edges.change_is_asked_for());
    let cluster = edges.fixture.api.object(CLUSTER).unwrap();
    let status = &cluster["status"];
    assert_eq!(status["drainingPods"], 0);
    assert_eq!(status["edges"]["ready"], "4/4");
    assert_eq!(
        edges.fixture.condition("Degraded"),
        "False AsExpected: no Pod and no address is missing"
    );
    let metrics = edges.fixture.reconciler.metrics.render().unwrap();
    let full = r#"live_cluster_full_edges{name="demo",namespace="media"} 2"#;
    assert!(metrics.contains(full), "{metrics}");
}

#[tokio::test]
async fn full_edge_returns_before_the_open_one_retires() {
    let edges = joined(&[("a", 100), ("b", 0)]).await;
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), ["PATCH pods/a"]);
    edges
        .fixture
        .edit_spec(|spec| spec["edges"]["replicas"] = 1.into());
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), ["PATCH pods/a", "PATCH pods/b"]);
    assert_eq!(
        (edges.serving("a"), edges.serving("b")),
        ("true".into(), "false".into())
    );
}

#[tokio::test]
async fn full_edge_returns_when_the_open_one_is_lost() {
    let edges = joined(&[("a", 100), ("b", 0)]).await;
    edges.fixture.reconcile().await;
    edges.fixture.api.remove("pods/b");
    edges.writes();
    edges.fixture.reconcile().await;
    assert_eq!(edges.serving("a"), "true");
}

/// Edges of which `a` is full.
async fn one_full() -> Edges {
    let edges = joined(&[("a", 100), ("b", 0)]).await;
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), ["PATCH pods/a"]);
    // The scraper learns it.
    edges.fixture.reconcile().await;
    edges
}

#[tokio::test]
async fn edges_of_a_paused_cluster_are_open_and_stay_as_they_are() {
    let edges = one_full().await;
    edges.fixture.edit_spec(|spec| spec["paused"] = true.into());
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), ["PATCH pods/a"]);
    assert_eq!(edges.serving("a"), "true");
    edges.fixture.reconcile().await;
    assert!(!edges.change_is_asked_for());
    assert_eq!(edges.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn orphaned_edges_are_open() {
    for is_gone in [false, true] {
        let edges = one_full().await;
        if is_gone {
            edges.fixture.api.remove(CLUSTER);
        } else {
            edges.fixture.api.edit(CLUSTER, |cluster| {
                cluster["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:00Z".into();
                cluster["metadata"]["finalizers"] = json!(["orphan"]);
            });
        }
        edges.fixture.reconcile().await;
        assert_eq!(edges.writes(), ["PATCH pods/a"], "gone: {is_gone}");
        assert_eq!(edges.serving("a"), "true");
    }
}

#[tokio::test]
async fn edges_of_a_cluster_that_another_class_reconciles_or_that_cannot_be_read_are_open() {
    let class = |spec: &mut Value| spec["operatorClass"] = "other".into();
    let unreadable = |spec: &mut Value| spec["edges"]["replicas"] = "many".into();
    for edit in [class, unreadable] {
        let edges = one_full().await;
        edges.fixture.edit_spec(edit);
        edges.fixture.reconcile().await;
        assert_eq!(edges.writes(), ["PATCH pods/a"]);
        edges.fixture.reconcile().await;
        assert_eq!(edges.writes(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn joins_are_decided_while_an_object_cannot_be_applied() {
    let invalid = |spec: &mut Value| spec["edges"]["affinity"] = json!({"nodeAffinity": 7});
    let service = |spec: &mut Value| spec["edges"]["service"] = json!({"type": "NodePort"});
    for edit in [invalid, service] {
        let mut edges = one_full().await;
        let path = "services/demo-edge";
        edges
            .fixture
            .api
            .refuse(Method::PATCH, path, 500, "InternalError", "it is broken");
        edges.fixture.edit_spec(edit);
        drop(edges.fixture.try_reconcile().await);
        edges.viewers.insert("b", 100);
        edges.scrape().await;
        edges.writes();
        drop(edges.fixture.try_reconcile().await);
        let writes = edges.writes();
        assert!(writes.contains(&"PATCH pods/a".to_owned()), "{writes:?}");
        assert_eq!(edges.serving("a"), "true");
    }
}

#[tokio::test]
async fn edges_are_open_after_reads_have_failed_repeatedly() {
    let edges = one_full().await;
    let api = &edges.fixture.api;
    api.refuse(
        Method::GET,
        "networkpolicies",
        403,
        "Forbidden",
        "not allowed",
    );
    let demo = ClusterName::new("media", "demo");
    for expected in ["full", "full", "true"] {
        edges.fixture.try_reconcile().await.unwrap_err();
        edges.fixture.reconciler.failures.add(&demo);
        assert_eq!(edges.serving("a"), expected);
    }
}

#[tokio::test]
async fn operator_that_starts_leaves_full_edges_until_it_has_scraped() {
    let mut edges = joined(&[("a", 100), ("b", 0)]).await;
    edges.fixture.reconcile().await;
    edges.writes();
    edges.fixture.reconciler.scraper = StreamScraper::default();
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), Vec::<String>::new());
    edges.viewers.insert("b", 100);
    edges.scrape().await;
    assert!(edges.change_is_asked_for());
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), ["PATCH pods/a"]);
    assert_eq!(edges.serving("a"), "true");
}

#[tokio::test]
async fn operator_that_stops_opens_all_edges() {
    let edges = joined(&[("a", 100), ("b", 100), ("c", 0)]).await;
    edges.fixture.reconcile().await;
    edges.fixture.reconcile().await;
    edges.writes();
    edges.fixture.reconciler.release_all().await;
    assert_eq!(edges.writes(), ["PATCH pods/a", "PATCH pods/b"]);
    assert_eq!(
        (edges.serving("a"), edges.serving("b")),
        ("true".into(), "true".into())
    );
}
