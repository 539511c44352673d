//! Clusters of nodes in one process, with real sockets between them.

mod support;

use std::time::Duration;

use http::{Method, StatusCode};
use media_engine::Source;
use tokio::time::{Instant, timeout};

use super::client::nothing;
use super::*;
use support::{Cluster, End, LIMIT, key};

#[tokio::test]
async fn an_edge_pulls_once_however_many_watch_and_ends_with_the_last_one() {
    let cluster = Cluster::new();
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    let encoder = origin.publish("a").await.unwrap();
    let mut viewers: Vec<_> = (0..20).map(|_| edge.watch("a")).collect();
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
async fn a_lost_origin_is_not_seen_by_viewers() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    let mut local = edge.watch("a");
    viewer.go_on(&encoder).await;
    let forwarded = |node: &support::Node| node.registry.find(&key("a")).is_some();
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
async fn a_publisher_that_moves_to_another_edge_takes_its_viewers_along() {
    let cluster = Cluster::new();
    let origin = cluster.origin("o").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let mut first = edge.publish("a").await.unwrap();
    let mut viewers = [edge.watch("a"), other.watch("a"), origin.watch("a")];
    for viewer in &mut viewers {
        viewer.go_on(&first).await;
    }
    let second = other.publish("a").await.unwrap();
    assert!(second.epoch > first.epoch);
    assert_eq!(first.end().await, End::Refused(Refusal::Superseded));
    for viewer in &mut viewers {
        viewer.go_on(&second).await;
        viewer.check();
    }
}

#[tokio::test]
async fn a_publisher_that_moves_to_another_origin_takes_its_viewers_along() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let edge = cluster.edge("e").await;
    let mut first = one.publish("a").await.unwrap();
    let mut viewers = [edge.watch("a"), one.watch("a"), two.watch("a")];
    for viewer in &mut viewers {
        viewer.go_on(&first).await;
    }
    let second = two.publish("a").await.unwrap();
    assert_eq!(first.end().await, End::Superseded);
    for viewer in &mut viewers {
        viewer.go_on(&second).await;
        viewer.check();
        let gap = viewer.longest_gap();
        assert!(gap < Duration::from_secs(1), "{gap:?}");
    }
}

#[tokio::test]
async fn an_encoder_that_comes_back_is_one_picture_for_viewers() {
    let cluster = Cluster::new();
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    let mut viewer = edge.watch("a");
    for _ in 0..3 {
        let encoder = origin.publish("a").await.unwrap();
        viewer.go_on(&encoder).await;
        let epoch = encoder.epoch;
        let sent = encoder.stop().await;
        viewer.until(epoch, sent - 1).await;
    }
    viewer.check();
}

#[tokio::test]
async fn with_policy_reject_the_first_publisher_of_the_cluster_stays() {
    let cluster = Cluster::rejecting();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let first = edge.publish("a").await.unwrap();
    let mut viewer = two.watch("a");
    viewer.go_on(&first).await;
    for node in [&other, &one, &two] {
        let refusal = node.publish("a").await.err();
        assert_eq!(refusal, Some(Refusal::AlreadyPublished));
    }
    viewer.go_on(&first).await;
    viewer.check();
    first.stop().await;
    let again = async {
        loop {
            match other.publish("a").await {
                Ok(encoder) => return encoder,
                Err(refusal) => assert_eq!(refusal, Refusal::AlreadyPublished),
            }
        }
    };
    let second = timeout(LIMIT, again).await.unwrap();
    viewer.go_on(&second).await;
    viewer.check();
}

#[tokio::test]
async fn of_two_publishers_at_the_same_moment_policy_reject_keeps_one() {
    let cluster = Cluster::rejecting();
    let _origin = cluster.origin("o").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let (first, second) = tokio::join!(edge.publish("a"), other.publish("a"));
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    let (end, stays) = tokio::select! {
        end = first.end() => (end, &second),
        end = second.end() => (end, &first),
    };
    assert!(matches!(end, End::Refused(_)), "{end:?}");
    let mut viewer = edge.watch("a");
    viewer.go_on(stays).await;
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
async fn who_forwards_to_a_leaving_origin_goes_to_another_one_without_a_gap() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    viewer.go_on(&encoder).await;
    let forwarded = |node: &support::Node| {
        let stream = node.registry.find(&key("a"));
        let publication = stream.and_then(|stream| stream.state().publication);
        publication.is_some_and(|publication| publication.source == Source::Forwarded)
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

#[tokio::test]
async fn a_clock_that_is_ahead_elsewhere_does_not_make_the_new_publication_the_old_one() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let future = Epoch(u64::MAX / 2);
    let now = std::time::Instant::now();
    let policy = media_engine::Duplicate::Takeover;
    let ahead = one
        .registry
        .publish(&key("a"), future, Source::Encoder, policy, now)
        .unwrap();
    assert!(two.relay.admit(&key("a")).await.unwrap() > future);
    drop(ahead);
}

async fn ask(node: &support::Node, method: Method, uri: &str) -> StatusCode {
    let mut connection = node.relay.connect(node.address).await.unwrap();
    let answer = timeout(LIMIT, connection.send(method, uri, nothing()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer.headers()[protocol::NODE], node.relay.0.node);
    answer.status()
}

#[tokio::test]
async fn requests_that_make_no_sense_get_a_status() {
    let cluster = Cluster::new();
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    let stream = "app=live&stream=a";
    for (node, method, uri, status) in [
        (
            &origin,
            Method::GET,
            "/relay/v1/publication".to_owned(),
            400,
        ),
        (
            &origin,
            Method::GET,
            format!("/relay/v1/publication?{stream}&wait=x"),
            400,
        ),
        (
            &origin,
            Method::GET,
            format!("/relay/v1/publication?{stream}"),
            404,
        ),
        (
            &origin,
            Method::GET,
            format!("/relay/v1/pull?{stream}"),
            404,
        ),
        (
            &origin,
            Method::POST,
            format!("/relay/v1/pull?{stream}"),
            405,
        ),
        (
            &origin,
            Method::POST,
            format!("/relay/v1/push?{stream}"),
            400,
        ),
        (
            &edge,
            Method::POST,
            format!("/relay/v1/push?{stream}&epoch=1"),
            403,
        ),
        (
            &origin,
            Method::POST,
            format!("/relay/v1/supersede?{stream}"),
            400,
        ),
        (
            &origin,
            Method::POST,
            format!("/relay/v1/supersede?{stream}&epoch=1"),
            200,
        ),
        (&origin, Method::GET, "/relay/v1/nothing".to_owned(), 404),
    ] {
        assert_eq!(ask(node, method, &uri).await.as_u16(), status, "{uri}");
    }
}
