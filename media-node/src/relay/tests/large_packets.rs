//! Paths that silently lose large packets: small requests are answered, and streams stand still.

use std::time::Duration;

use super::cluster::{RelayCluster, RelayNode};
use super::encoder::GOP;
use super::narrow_path::NarrowPath;

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
