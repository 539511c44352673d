//! Streams that are found, pulled and released.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::cluster::{LIMIT, NEVER, RelayCluster, key};
use super::encoder::GOP;
use super::freezer::Freezer;
use crate::relay::PublishRejection;

#[tokio::test]
async fn edge_pulls_once_for_all_viewers_until_the_last_one_leaves() {
    let cluster = RelayCluster::new();
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    let encoder = origin.publish("a").await.unwrap();
    let mut viewers: Vec<_> = (0..8).map(|_| edge.watch("a")).collect();
    for viewer in &mut viewers {
        viewer.watch_on(&encoder).await;
        viewer.assert_continuous();
    }
    assert_eq!(edge.relay.metrics().pulls.get(), 1);
    let stream = origin.registry.find(&key("a")).unwrap();
    assert_eq!(stream.readers().relays, 1);
    viewers.truncate(1);
    viewers[0].watch_on(&encoder).await;
    assert_eq!(stream.readers().relays, 1);
    drop(viewers);
    edge.until(|node| node.relay.metrics().pulls.get() == 0)
        .await;
    let mut readers = stream.watch_readers();
    timeout(LIMIT, readers.wait_for(|readers| readers.relays == 0))
        .await
        .unwrap()
        .unwrap();
    // A later viewer gets a pull of its own.
    let mut late = edge.watch("a");
    late.watch_on(&encoder).await;
    late.assert_continuous();
}

#[tokio::test]
async fn pull_lingers_for_a_viewer_that_returns() {
    let mut cluster = RelayCluster::new();
    cluster.settings.stream.linger_seconds = 1;
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    let encoder = origin.publish("a").await.unwrap();
    let mut viewer = edge.watch("a");
    viewer.watch_on(&encoder).await;
    let left = Instant::now();
    drop(viewer);
    let mut returned = edge.watch("a");
    returned.watch_on(&encoder).await;
    assert_eq!(edge.relay.metrics().switches.get(), 0);
    drop(returned);
    edge.until(|node| node.relay.metrics().pulls.get() == 0)
        .await;
    assert!(left.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn stream_that_is_published_to_an_edge_plays_on_every_node() {
    let cluster = RelayCluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    for node in [&edge, &other, &one, &two] {
        let mut viewer = node.watch("a");
        viewer.watch_on(&encoder).await;
        viewer.assert_continuous();
    }
    assert_eq!(
        edge.relay.metrics().pulls.get(),
        0,
        "it is published on the edge"
    );
}

#[tokio::test]
async fn every_stream_is_found_on_every_node() {
    let cluster = RelayCluster::new();
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
            viewer.watch_on(encoder).await;
            viewer.assert_continuous();
        }
    }
}

#[tokio::test]
async fn edge_finds_an_origin_that_starts_later() {
    let cluster = RelayCluster::new();
    let edge = cluster.edge("e").await;
    let mut viewer = edge.watch("a");
    let stream = viewer.stream.clone();
    timeout(LIMIT, edge.relay.not_found(stream.key()))
        .await
        .expect("no origin to wait for");
    let origin = cluster.origin("o").await;
    let encoder = origin.publish("a").await.unwrap();
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
}

/// Neither the time limit of the survey nor the delay before the next one ends.
#[tokio::test]
async fn origin_that_appears_during_a_survey_is_surveyed() {
    let (cluster, others) = (RelayCluster::new(), RelayCluster::new());
    let hung = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    cluster.add(hung.local_addr().unwrap());
    let origin = others.origin("o").await;
    let encoder = origin.publish("a").await.unwrap();
    let edge = cluster.edge("e").await;
    let mut viewer = edge.watch("a");
    let _request = timeout(LIMIT, hung.accept()).await.unwrap();
    cluster.add(origin.address);
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
}

/// The survey would wait for ever for the one that is gone.
#[tokio::test]
async fn survey_does_not_wait_for_an_origin_that_is_gone() {
    let (cluster, others) = (RelayCluster::new(), RelayCluster::new());
    let hung = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let gone = hung.local_addr().unwrap();
    cluster.add(gone);
    let (origin, edge) = (others.origin("o").await, cluster.edge("e").await);
    let mut viewer = edge.watch("a");
    let _request = timeout(LIMIT, hung.accept()).await.unwrap();
    cluster.add(origin.address);
    origin.until(|node| !node.take_requests().is_empty()).await;
    cluster.remove(gone);
    let not_found = edge.relay.not_found(viewer.stream.key());
    timeout(LIMIT, not_found).await.expect("a survey ends");
    let encoder = origin.publish("a").await.unwrap();
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
}

/// The survey waits for ever for the origin that hangs.
#[tokio::test]
async fn origin_that_replies_again_during_a_survey_is_surveyed_again() {
    let (cluster, others) = (RelayCluster::new(), RelayCluster::new());
    let hung = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    cluster.add(hung.local_addr().unwrap());
    // No other test has this address, where nothing listens yet.
    let address = Ipv4Addr::new(127, 0, 0, 77);
    let free = TcpListener::bind((address, 0)).await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    cluster.add(address);
    let origin = others.origin("o").await;
    let encoder = origin.publish("a").await.unwrap();
    let edge = cluster.edge("e").await;
    let mut viewer = edge.watch("a");
    let reachability = &edge.relay.context.reachability;
    edge.until(|_| reachability.is_suspect(address, NEVER))
        .await;
    let _path = Freezer::start_at(address, origin.address).await;
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
}

#[tokio::test]
async fn origin_that_appears_is_reached_before_the_next_attempt_is_due() {
    let (mut cluster, others) = (RelayCluster::new(), RelayCluster::new());
    cluster.settings.timeouts.retry.first = NEVER;
    let origin = others.origin("o").await;
    let encoder = origin.publish("a").await.unwrap();
    let edge = cluster.edge("e").await;
    let (mut viewer, mut local) = (edge.watch("a"), edge.watch("b"));
    timeout(LIMIT, edge.relay.not_found(viewer.stream.key()))
        .await
        .expect("no origin to wait for");
    let forwarded = edge.publish("b").await.unwrap();
    local.watch_on(&forwarded).await;
    cluster.add(origin.address);
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
    origin.until(|node| node.is_forwarded_to("b")).await;
}

#[tokio::test]
async fn viewer_that_waited_gets_all_of_a_publication_that_is_found_late() {
    let cluster = RelayCluster::with_short_surveys();
    let (origin, freezer) = cluster.freezable_origin("o").await;
    let edge = cluster.edge("e").await;
    let mut early = edge.watch("a");
    let not_found = edge.relay.not_found(early.stream.key());
    timeout(LIMIT, not_found)
        .await
        .expect("all origins replied");
    freezer.freeze();
    let mut encoder = origin.publish("a").await.unwrap();
    encoder.until(3 * GOP).await;
    freezer.thaw();
    early.watch_on(&encoder).await;
    early.assert_continuous();
    assert_eq!(early.frames[0].number, 0);
    // The edge has at least what its viewer has.
    let received = early.frames[early.frames.len() - 1];
    let mut late = edge.watch("a");
    late.watch_on(&encoder).await;
    late.assert_continuous();
    let first = late.frames[0];
    assert!(
        first.keyframe && first.number + GOP > received.number,
        "{first:?}"
    );
}

#[tokio::test]
async fn viewers_that_waited_get_all_of_a_publication_that_is_forwarded_late() {
    let cluster = RelayCluster::with_short_surveys();
    let (origin, freezer) = cluster.freezable_origin("o").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let mut viewers = [origin.watch("a"), edge.watch("a"), other.watch("a")];
    let not_found = other.relay.not_found(viewers[2].stream.key());
    timeout(LIMIT, not_found)
        .await
        .expect("all origins replied");
    freezer.freeze();
    let mut encoder = edge.publish("a").await.unwrap();
    encoder.until(3 * GOP).await;
    freezer.thaw();
    for viewer in &mut viewers {
        viewer.watch_on(&encoder).await;
        viewer.assert_continuous();
        assert_eq!(viewer.frames[0].number, 0);
    }
}

#[tokio::test]
async fn edge_without_an_origin_rejects_encoders_unless_the_stream_has_viewers() {
    let mut cluster = RelayCluster::new();
    cluster.settings.timeouts.conflict.resolve = Duration::from_millis(10);
    cluster.settings.timeouts.conflict.reach = Duration::from_millis(50);
    let edge = cluster.edge("e").await;
    let rejection = edge.publish("a").await.err();
    assert_eq!(rejection, Some(PublishRejection::NoOrigin));
    let mut local = edge.watch("a");
    let encoder = edge.publish("a").await.unwrap();
    local.watch_on(&encoder).await;
    // The origin that starts late gets what was published before.
    let origin = cluster.origin("o").await;
    let mut viewer = origin.watch("a");
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
}

#[tokio::test]
async fn response_of_every_other_origin_is_fetched() {
    let cluster = RelayCluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let edge = cluster.edge("e").await;
    let encoder = two.publish("a").await.unwrap();
    let path = "/relay/v1/publication?app=live&stream=a";
    let reports = edge.relay.fetch_from_origins(path).await;
    assert_eq!(reports.len(), 1, "only responses with status 200");
    assert!(String::from_utf8_lossy(&reports[0]).contains(&encoder.epoch.to_string()));
    assert_eq!(one.relay.fetch_from_origins(path).await.len(), 1);
    assert_eq!(
        two.relay.fetch_from_origins(path).await.len(),
        0,
        "not its own"
    );
}
