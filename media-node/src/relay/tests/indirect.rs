//! Edges that are cut off from the origin of a publication, and reach another origin.

use std::time::Duration;

use http::Method;

use super::cluster::{RelayCluster, RelayNode};
use super::freezer::Freezer;

/// An edge that reaches two origins over paths of its own. They reach each other.
struct CutOffEdge {
    edge: RelayNode,
    origins: [RelayNode; 2],
    paths: [Freezer; 2],
}

impl CutOffEdge {
    async fn start() -> Self {
        let mut cluster = RelayCluster::impatient();
        cluster.settings.timeouts.pull.hung = Duration::from_millis(200);
        cluster.settings.timeouts.pull.indirect = Duration::from_millis(100);
        let origins = [cluster.origin("o1").await, cluster.origin("o2").await];
        let paths = [
            Freezer::start(origins[0].address).await,
            Freezer::start(origins[1].address).await,
        ];
        let mut beyond = RelayCluster::new();
        beyond.settings = cluster.settings;
        for path in &paths {
            beyond.add(path.address);
        }
        let edge = beyond.edge("e").await;
        Self {
            edge,
            origins,
            paths,
        }
    }

    fn switches(&self) -> u64 {
        self.edge.relay.metrics().switches.get()
    }
}

#[tokio::test]
async fn edge_that_is_cut_off_from_the_carrying_origin_pulls_through_another_one() {
    let cut = CutOffEdge::start().await;
    let encoder = cut.origins[0].publish("a").await.unwrap();
    let mut viewer = cut.edge.watch("a");
    viewer.watch_on(&encoder).await;
    cut.paths[0].freeze();
    viewer
        .watch_until(encoder.epoch, encoder.sent() + 100)
        .await;
    assert_eq!(cut.switches(), 1);
    // It comes from the carrying origin again as soon as that is reached.
    cut.paths[0].thaw();
    cut.edge.until(|_| cut.switches() == 2).await;
    cut.paths[1].freeze();
    viewer
        .watch_until(encoder.epoch, encoder.sent() + 100)
        .await;
    viewer.assert_continuous();
    assert_eq!(cut.switches(), 2);
}

#[tokio::test]
async fn stream_that_only_another_origin_reaches_is_found() {
    let cut = CutOffEdge::start().await;
    cut.paths[0].freeze();
    let encoder = cut.origins[0].publish("a").await.unwrap();
    let mut viewer = cut.edge.watch("a");
    viewer.watch_on(&encoder).await;
    let key = super::cluster::key("b");
    let _other = cut.origins[0].publish("b").await.unwrap();
    let found = cut.edge.relay.appearance(&key, [127, 0, 0, 1].into());
    let found = tokio::time::timeout(super::cluster::LIMIT, found).await;
    assert!(found.expect("found in time").is_ok());
    viewer.assert_continuous();
}

/// The encoder ends and another one begins at the origin that the edge reaches: nothing is pulled through it any more.
#[tokio::test]
async fn edge_that_pulls_through_an_origin_gets_what_is_published_there() {
    let cut = CutOffEdge::start().await;
    let first = cut.origins[0].publish("a").await.unwrap();
    let mut viewer = cut.edge.watch("a");
    viewer.watch_on(&first).await;
    cut.paths[0].freeze();
    viewer.watch_until(first.epoch, first.sent() + 50).await;
    let second = cut.origins[1].publish("a").await.unwrap();
    viewer.watch_on(&second).await;
    viewer.assert_continuous();
    assert_eq!(cut.edge.relay.metrics().reopened.get(), 0);
}

#[tokio::test]
async fn edge_is_asked_for_no_other_media_node() {
    let cluster = RelayCluster::new();
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    let _encoder = origin.publish("a").await.unwrap();
    for path in ["publication", "pull"] {
        let uri = format!("/relay/v1/{path}?app=live&stream=a&indirect=1");
        assert_eq!(edge.status_of(Method::GET, &uri).await.as_u16(), 404);
        assert_eq!(origin.status_of(Method::GET, &uri).await.as_u16(), 200);
    }
}
