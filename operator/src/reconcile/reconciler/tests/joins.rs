//! New viewers go to the edges that have room.

use super::retirement::Edges;
use super::*;

/// Edges to which a viewer a second comes, as of the last scrape.
async fn joined(viewers: &[(&'static str, u64)]) -> Edges {
    let mut edges = Edges::with(viewers).await;
    edges.plays += 5;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
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

#[tokio::test]
async fn edges_of_a_paused_cluster_stay_as_they_are() {
    let edges = joined(&[("a", 100), ("b", 0)]).await;
    edges.fixture.edit_spec(|spec| spec["paused"] = true.into());
    edges.fixture.reconcile().await;
    assert!(!edges.change_is_asked_for());
    assert_eq!(edges.writes(), Vec::<String>::new());
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
    edges.fixture.reconciler.open_edges().await;
    assert_eq!(edges.writes(), ["PATCH pods/a", "PATCH pods/b"]);
    assert_eq!(
        (edges.serving("a"), edges.serving("b")),
        ("true".into(), "true".into())
    );
}
