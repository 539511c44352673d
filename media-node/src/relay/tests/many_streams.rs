//! An edge that forwards many streams, one of whose connections passes nothing any more. The others work.

use std::net::Ipv4Addr;
use std::time::Duration;

use media_engine::Publication;

use super::cluster::{RelayCluster, RelayNode};
use super::encoder::{GOP, RelayEncoder};
use super::narrow_path::NarrowPath;
use crate::relay::Forwarding;

/// The streams that the edge forwards beside that of the encoder.
const OTHERS: usize = 49;

/// An edge that forwards many streams to one origin.
struct Scene {
    origin: RelayNode,
    edge: RelayNode,
    encoder: RelayEncoder,
    _others: Vec<(Publication, Forwarding)>,
}

impl Scene {
    /// Lets an edge forward to an origin, which it reaches by a cluster.
    async fn start(mut cluster: RelayCluster, origin: RelayNode) -> Self {
        let timeouts = &mut cluster.settings.timeouts.forward;
        timeouts.poll = Duration::from_millis(50);
        timeouts.stalled = Duration::from_millis(200);
        let edge = cluster.edge("e").await;
        let mut others = Vec::new();
        for number in 0..OTHERS {
            let name = format!("other{number}");
            let epoch = edge.resolve_conflict(&name).await.unwrap();
            others.push(edge.start_publication(&name, epoch, Ipv4Addr::LOCALHOST.into()));
        }
        let encoder = edge.publish("a").await.unwrap();
        let scene = Self {
            origin,
            edge,
            encoder,
            _others: others,
        };
        scene.all_are_forwarded().await;
        scene
    }

    /// Waits for a request about all streams.
    async fn all_are_forwarded(&self) {
        let is_about_all = |uri: &str| uri.matches("also=").count() == OTHERS;
        let asked = |node: &RelayNode| {
            let requests = node.take_requests();
            requests.iter().any(|(_, uri)| is_about_all(uri))
        };
        self.origin.until(asked).await;
    }
}

#[tokio::test]
async fn stream_whose_connection_stalls_goes_on_long_before_all_have_had_a_turn() {
    let cluster = RelayCluster::new();
    let (origin, path) = cluster.freezable_origin("o").await;
    let scene = Scene::start(cluster, origin).await;
    let Scene {
        origin,
        edge,
        encoder,
        ..
    } = &scene;
    let mut viewer = origin.watch("a");
    viewer.watch_on(encoder).await;
    origin.take_requests();
    let forward = "forward?app=live&stream=a&";
    path.stall(forward);
    edge.until(|node| node.relay.metrics().reopened.get() == 1)
        .await;
    viewer.watch_on(encoder).await;
    viewer.assert_continuous();
    let requests = origin.take_requests();
    let before = requests
        .iter()
        .take_while(|(_, uri)| !uri.contains(forward));
    let heartbeats = before.filter(|(_, uri)| uri.contains("publication?"));
    assert!(heartbeats.count() < OTHERS, "{requests:?}");
}

/// The responses about all of the streams are larger than its packets.
#[tokio::test]
async fn heartbeats_about_many_streams_pass_a_path_that_loses_large_packets() {
    let (cluster, origin) = (RelayCluster::new(), RelayCluster::new().origin("o").await);
    let path = NarrowPath::start(origin.address).await;
    cluster.add(path.address);
    let mut scene = Scene::start(cluster, origin).await;
    path.narrow();
    scene.all_are_forwarded().await;
    scene.all_are_forwarded().await;
    let sent = scene.encoder.sent();
    scene.encoder.until(sent + GOP).await;
    let mut viewer = scene.origin.watch("a");
    viewer.watch_on(&scene.encoder).await;
    viewer.assert_continuous();
    let metrics = scene.edge.relay.metrics();
    assert_eq!((metrics.reopened.get(), metrics.failures.get()), (1, 0));
}
