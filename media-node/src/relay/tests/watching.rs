//! Finding, pulling and letting go of streams.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::support::{Cluster, GROUP, LIMIT, key};
use crate::relay::Refusal;

#[tokio::test]
async fn an_edge_pulls_once_however_many_watch_and_ends_with_the_last_one() {
    let cluster = Cluster::new();
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    let encoder = origin.publish("a").await.unwrap();
    let mut viewers: Vec<_> = (0..8).map(|_| edge.watch("a")).collect();
    for viewer in &mut viewers {
        viewer.go_on(&encoder).await;
        viewer.check();
    }
    assert_eq!(edge.relay.counts().pulls, 1);
    let stream = origin.registry.find(&key("a")).unwrap();
    assert_eq!(stream.state().relays, 1);
    viewers.truncate(1);
    viewers[0].go_on(&encoder).await;
    assert_eq!(stream.state().relays, 1);
    drop(viewers);
    edge.until(|relay| relay.counts().pulls == 0).await;
    let mut states = stream.watch();
    timeout(LIMIT, states.wait_for(|state| state.relays == 0))
        .await
        .unwrap()
        .unwrap();
    // A later viewer gets a pull of its own.
    let mut late = edge.watch("a");
    late.go_on(&encoder).await;
    late.check();
}

#[tokio::test]
async fn a_pull_lingers_for_a_viewer_that_comes_back() {
    let mut cluster = Cluster::new();
    cluster.config.stream.linger_seconds = 1;
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    let encoder = origin.publish("a").await.unwrap();
    let mut viewer = edge.watch("a");
    viewer.go_on(&encoder).await;
    let left = Instant::now();
    drop(viewer);
    let mut back = edge.watch("a");
    back.go_on(&encoder).await;
    assert_eq!(edge.relay.counts().switches, 0);
    drop(back);
    edge.until(|relay| relay.counts().pulls == 0).await;
    assert!(left.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_publish_to_an_edge_plays_on_every_node() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    for node in [&edge, &other, &one, &two] {
        let mut viewer = node.watch("a");
        viewer.go_on(&encoder).await;
        viewer.check();
    }
    assert_eq!(edge.relay.counts().pulls, 0, "the edge has it itself");
}

#[tokio::test]
async fn every_stream_is_found_wherever_it_was_published() {
    let cluster = Cluster::new();
    let nodes = [
        cluster.origin("o1").await,
        cluster.origin("o2").await,
        cluster.edge("e1").await,
        cluster.edge("e2").await,
    ];
    let mut encoders = Vec::new();
    for (index, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        encoders.push((
            name,
            nodes[index % nodes.len()].publish(name).await.unwrap(),
        ));
    }
    for (name, encoder) in &encoders {
        for node in &nodes {
            let mut viewer = node.watch(name);
            viewer.go_on(encoder).await;
            viewer.check();
        }
    }
}

#[tokio::test]
async fn an_edge_that_starts_before_its_origin_finds_it() {
    let cluster = Cluster::new();
    let edge = cluster.edge("e").await;
    let mut viewer = edge.watch("a");
    let stream = viewer.stream.clone();
    timeout(LIMIT, edge.relay.nobody_has(&stream))
        .await
        .expect("known at once");
    let origin = cluster.origin("o").await;
    let encoder = origin.publish("a").await.unwrap();
    let begun = Instant::now();
    viewer.go_on(&encoder).await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    viewer.check();
}

#[tokio::test]
async fn who_waited_gets_all_of_a_publication_that_was_found_late() {
    let cluster = Cluster::new();
    let (origin, freezer) = cluster.frail_origin("o").await;
    let edge = cluster.edge("e").await;
    let mut early = edge.watch("a");
    let asked = edge.relay.nobody_has(&early.stream);
    timeout(LIMIT, asked).await.expect("an answer");
    freezer.freeze();
    let mut encoder = origin.publish("a").await.unwrap();
    encoder.until(3 * GROUP).await;
    freezer.thaw();
    early.go_on(&encoder).await;
    early.check();
    assert_eq!(early.frames[0].number, 0);
    let sent = encoder.sent();
    let mut late = edge.watch("a");
    late.go_on(&encoder).await;
    late.check();
    let first = late.frames[0];
    assert!(first.keyframe && first.number + GROUP > sent, "{first:?}");
}

#[tokio::test]
async fn who_waited_gets_all_of_a_publication_that_was_forwarded_late() {
    let cluster = Cluster::new();
    let (origin, freezer) = cluster.frail_origin("o").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let mut viewers = [origin.watch("a"), edge.watch("a"), other.watch("a")];
    let asked = other.relay.nobody_has(&viewers[2].stream);
    timeout(LIMIT, asked).await.expect("an answer");
    freezer.freeze();
    let mut encoder = edge.publish("a").await.unwrap();
    encoder.until(3 * GROUP).await;
    freezer.thaw();
    for viewer in &mut viewers {
        viewer.go_on(&encoder).await;
        viewer.check();
        assert_eq!(viewer.frames[0].number, 0);
    }
}

#[tokio::test]
async fn an_edge_without_an_origin_refuses_encoders_unless_somebody_watches() {
    let cluster = Cluster::new();
    let edge = cluster.edge("e").await;
    let asked = Instant::now();
    assert_eq!(edge.publish("a").await.err(), Some(Refusal::NoOrigin));
    assert!(asked.elapsed() < Duration::from_secs(3));
    let mut local = edge.watch("a");
    let encoder = edge.publish("a").await.unwrap();
    local.go_on(&encoder).await;
    // What was published meanwhile reaches the origin that comes late.
    let origin = cluster.origin("o").await;
    let mut viewer = origin.watch("a");
    viewer.go_on(&encoder).await;
    viewer.check();
}

#[tokio::test]
async fn all_other_origins_can_be_asked_for_something() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let edge = cluster.edge("e").await;
    let encoder = two.publish("a").await.unwrap();
    let path = "/relay/v1/publication?app=live&stream=a";
    let reports = edge.relay.ask_origins(path).await;
    assert_eq!(reports.len(), 1, "only what is OK is an answer");
    assert!(String::from_utf8_lossy(&reports[0]).contains(&encoder.epoch.to_string()));
    assert_eq!(one.relay.ask_origins(path).await.len(), 1);
    assert_eq!(two.relay.ask_origins(path).await.len(), 0, "not of itself");
}
