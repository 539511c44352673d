//! Origins that go away while somebody watches.

use std::time::Duration;

use media_engine::PublicationSource;

use super::support::{Cluster, Node, key};

#[tokio::test]
async fn a_lost_origin_is_not_seen_by_viewers() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    let mut local = edge.watch("a");
    viewer.go_on(&encoder).await;
    let forwarded = |node: &Node| node.registry.find(&key("a")).is_some();
    let home = if forwarded(&one) { &one } else { &two };
    home.kill();
    viewer.go_on(&encoder).await;
    local.go_on(&encoder).await;
    viewer.check();
    local.check();
    let gap = viewer.longest_gap();
    println!("viewer's longest gap with a killed origin: {gap:?}");
    assert!(gap < Duration::from_secs(1), "{gap:?}");
    assert!(edge.relay.counts().switches >= 1 && other.relay.counts().switches >= 1);
}

#[tokio::test]
async fn an_origin_that_hangs_is_given_up() {
    let cluster = Cluster::new();
    let (one, freezer_one) = cluster.frail_origin("o1").await;
    let (_two, freezer_two) = cluster.frail_origin("o2").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    viewer.go_on(&encoder).await;
    let home = one.registry.find(&key("a")).is_some();
    let freezer = if home { freezer_one } else { freezer_two };
    freezer.freeze();
    viewer.go_on(&encoder).await;
    viewer.until(encoder.epoch, encoder.sent() + 100).await;
    viewer.check();
    let gap = viewer.longest_gap();
    println!("viewer's longest gap with a hung origin: {gap:?}");
    assert!(gap < Duration::from_secs(3), "{gap:?}");
}

#[tokio::test]
async fn the_only_origin_is_not_given_up_because_it_is_slow_at_first() {
    let cluster = Cluster::new();
    let (origin, freezer) = cluster.frail_origin("o").await;
    let edge = cluster.edge("e").await;
    let mut local = edge.watch("a");
    freezer.freeze();
    let encoder = edge.publish("a").await.unwrap();
    local.until(encoder.epoch, 125).await;
    freezer.thaw();
    let mut viewer = origin.watch("a");
    viewer.go_on(&encoder).await;
    assert_eq!(edge.relay.counts().failures, 0);
}

#[tokio::test]
async fn an_origin_that_has_not_noticed_that_it_lost_the_stream_is_left() {
    // The first edge reaches the origin through something that freezes, the second one directly.
    let (far, near) = (Cluster::new(), Cluster::new());
    let (origin, freezer) = far.frail_origin("o1").await;
    near.add(origin.address);
    let (edge, other) = (far.edge("e1").await, near.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    viewer.go_on(&encoder).await;
    let second = near.origin("o2").await;
    far.add(second.address);
    freezer.freeze();
    viewer.go_on(&encoder).await;
    viewer.until(encoder.epoch, encoder.sent() + 10).await;
    viewer.check();
    assert!(
        origin
            .registry
            .find(&key("a"))
            .unwrap()
            .state()
            .publication
            .is_some()
    );
    let gap = viewer.longest_gap();
    assert!(gap < Duration::from_secs(3), "{gap:?}");
}

#[tokio::test]
async fn who_forwards_to_a_leaving_origin_goes_to_another_one_without_a_gap() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    viewer.go_on(&encoder).await;
    let forwarded = |node: &Node| {
        let stream = node.registry.find(&key("a"));
        let publication = stream.and_then(|stream| stream.state().publication);
        publication.is_some_and(|publication| publication.source == PublicationSource::Forwarded)
    };
    let (leaving, staying) = if forwarded(&one) {
        (&one, &two)
    } else {
        (&two, &one)
    };
    leaving.relay.leave();
    leaving.until(|_| !forwarded(leaving)).await;
    assert!(forwarded(staying));
    viewer.go_on(&encoder).await;
    viewer.check();
    let gap = viewer.longest_gap();
    println!("viewer's longest gap with a leaving origin: {gap:?}");
    assert!(gap < Duration::from_millis(500), "{gap:?}");
}
