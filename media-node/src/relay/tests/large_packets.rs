//! Paths that silently lose large packets: small requests are answered, and streams stand still. And a slow path, on which they do not.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_engine::{DuplicatePolicy, PublicationSource};
use media_wire::{MediaKind, Message};

use super::cluster::{RelayCluster, RelayNode, key};
use super::encoder::GOP;
use super::narrow_path::NarrowPath;
use super::slow_link::SlowLink;

/// Returns an origin, and a cluster whose edges reach it over a path that can become narrow.
async fn narrow_cluster() -> (RelayCluster, RelayNode, NarrowPath) {
    let mut cluster = RelayCluster::new();
    let timeouts = &mut cluster.settings.timeouts;
    timeouts.pull.response = Duration::from_millis(300);
    timeouts.pull.silence = Duration::from_millis(100);
    timeouts.pull.hung = Duration::from_millis(200);
    timeouts.forward.stalled = Duration::from_millis(200);
    timeouts.forward.confirm = Duration::from_millis(300);
    let origin = RelayCluster::new().origin("o").await;
    let path = NarrowPath::start(origin.address).await;
    cluster.add(path.address);
    (cluster, origin, path)
}

#[tokio::test]
async fn pull_goes_on_in_small_segments() {
    let (cluster, origin, path) = narrow_cluster().await;
    let edge = cluster.edge("e").await;
    let mut encoder = origin.publish("a").await.unwrap();
    let mut viewer = edge.watch("a");
    viewer.watch_on(&encoder).await;
    path.narrow();
    encoder.until(encoder.sent() + GOP).await;
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
    assert_eq!(edge.relay.metrics().reopened.get(), 1);
}

#[tokio::test]
async fn pull_that_is_repeated_while_it_lingers_ends() {
    let (mut cluster, origin, path) = narrow_cluster().await;
    cluster.settings.stream.linger_seconds = 2;
    let edge = cluster.edge("e").await;
    let mut encoder = origin.publish("a").await.unwrap();
    let mut viewer = edge.watch("a");
    viewer.watch_on(&encoder).await;
    drop(viewer);
    path.narrow();
    encoder.until(encoder.sent() + GOP).await;
    edge.until(|node| node.relay.metrics().reopened.get() > 0)
        .await;
    edge.until(|node| node.relay.metrics().pulls.get() == 0)
        .await;
}

#[tokio::test]
async fn forwarding_goes_on_in_small_segments() {
    let (cluster, origin, path) = narrow_cluster().await;
    let edge = cluster.edge("e").await;
    let mut encoder = edge.publish("a").await.unwrap();
    let mut viewer = origin.watch("a");
    viewer.watch_on(&encoder).await;
    path.narrow();
    encoder.until(encoder.sent() + GOP).await;
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
    let metrics = edge.relay.metrics();
    assert_eq!((metrics.reopened.get(), metrics.failures.get()), (1, 0));
}

#[tokio::test]
async fn stream_starts_in_small_segments() {
    let (cluster, origin, path) = narrow_cluster().await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    path.narrow();
    let encoder = edge.publish("a").await.unwrap();
    origin.until(|node| node.is_forwarded_to("a")).await;
    let mut viewer = other.watch("a");
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
    assert_eq!(edge.relay.metrics().failures.get(), 0);
}

/// It arrives in parts.
#[tokio::test]
async fn large_message_over_a_slow_link_is_no_stall() {
    let mut cluster = RelayCluster::new();
    cluster.settings.timeouts.forward.stalled = Duration::from_millis(1500);
    let origin = RelayCluster::new().origin("o").await;
    cluster.add(SlowLink::of(2.0).to(origin.address).await);
    let edge = cluster.edge("e").await;
    let (key, epoch) = (key("a"), edge.resolve_conflict("a").await.unwrap());
    let (source, policy) = (PublicationSource::Encoder, DuplicatePolicy::Takeover);
    let published = edge
        .registry
        .publish(&key, epoch, source, policy, Instant::now());
    let mut publication = published.unwrap();
    let address = Ipv4Addr::LOCALHOST.into();
    let _forwarding = edge.relay.forward(publication.stream(), epoch, address);
    let header: &[u8] = &[0x17, 0, 0, 0, 0, 1, 100, 0, 31];
    let keyframe = [&[0x17, 1, 0, 0, 0][..], &[0xAA; 1_200_000]].concat();
    for payload in [Bytes::from_static(header), keyframe.into()] {
        publication.append(Message {
            kind: MediaKind::Video,
            timestamp: 0,
            payload,
        });
    }
    publication.pulse(Instant::now());
    let has_all = |node: &RelayNode| {
        let stream = node.registry.find(&key);
        stream.and_then(|stream| stream.position()) == Some((epoch, 2))
    };
    origin.until(has_all).await;
    let metrics = edge.relay.metrics();
    assert_eq!((metrics.reopened.get(), metrics.failures.get()), (0, 0));
}
