//! Origins that replace another one, and begin with what viewers lack: the path to them may be too slow for the whole window.

use std::cell::Cell;
use std::time::Duration;

use media_engine::Epoch;

use super::cluster::{NEVER, RelayCluster, RelayNode, key};
use super::encoder::{GOP, RelayEncoder};
use super::freezer::Freezer;
use super::slow_link::SlowLink;

/// Two origins, and edges with a shorter window.
struct Scene {
    edges: RelayCluster,
    origins: [RelayNode; 2],
}

impl Scene {
    async fn start() -> Self {
        let mut edges = RelayCluster::new();
        let origins = [edges.origin("o1").await, edges.origin("o2").await];
        edges.settings.stream.window_seconds = 3;
        Self { edges, origins }
    }

    /// Lets an encoder publish on this edge until its beginning has left the window.
    async fn publish(edge: &RelayNode) -> RelayEncoder {
        let mut encoder = edge.publish("a").await.unwrap();
        encoder.until(14 * GOP).await;
        encoder
    }

    /// Waits until the encoder's edge knows that so many media nodes pull the stream. Returns the origin that has it, and the other one.
    async fn carriers(&self, pulls: usize) -> (&RelayNode, &RelayNode) {
        let [one, two] = &self.origins;
        let (carrier, other) = if one.is_forwarded_to("a") {
            (one, two)
        } else {
            (two, one)
        };
        let stream = carrier.registry.find(&key("a")).unwrap();
        carrier.until(|_| stream.readers().relays == pulls).await;
        carrier.take_requests();
        let heartbeats = Cell::new(0);
        carrier
            .until(|node| {
                heartbeats.set(heartbeats.get() + node.take_requests().len());
                // The edge has the response to the first one.
                heartbeats.get() > 1
            })
            .await;
        (carrier, other)
    }
}

#[tokio::test]
async fn origin_that_replaces_another_one_begins_with_what_viewers_lack() {
    let scene = Scene::start().await;
    let (edge, other) = (scene.edges.edge("e1").await, scene.edges.edge("e2").await);
    let encoder = Scene::publish(&edge).await;
    let mut viewer = other.watch("a");
    viewer.watch_on(&encoder).await;
    let (killed, survivor) = scene.carriers(1).await;
    let sent = u64::from(encoder.sent());
    killed.kill();
    survivor.until(|node| node.is_forwarded_to("a")).await;
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
    let stream = survivor.registry.find(&key("a")).unwrap();
    let has = |sequence| stream.has_message(Epoch(encoder.epoch), sequence);
    let before = sent - u64::from(2 * GOP);
    assert_eq!([sent, before].map(has), [true, false]);
}

/// Two origins behind slow links, one of which is forwarded to, from an edge.
async fn forwarded_over(links: [SlowLink; 2]) -> ([RelayNode; 2], RelayNode, RelayEncoder) {
    let (mut cluster, beyond) = (RelayCluster::new(), RelayCluster::new());
    // Time for the link between two heartbeats.
    cluster.settings.timeouts.forward.poll = Duration::from_millis(200);
    let (one, two) = (beyond.origin("o1").await, beyond.origin("o2").await);
    for (origin, link) in [&one, &two].into_iter().zip(links) {
        cluster.add(link.to(origin.address).await);
    }
    let edge = cluster.edge("e").await;
    let encoder = Scene::publish(&edge).await;
    let ordered = if one.is_forwarded_to("a") {
        [one, two]
    } else {
        [two, one]
    };
    (ordered, edge, encoder)
}

/// Those who pull from the draining one would wait until the other one has what they need next.
#[tokio::test]
async fn origin_drains_until_another_one_has_caught_up_over_a_slow_link() {
    let links = [(); 2].map(|()| SlowLink::of(2.0));
    let ([draining, staying], _edge, _encoder) = forwarded_over(links).await;
    let next = |origin: &RelayNode| {
        let stream = origin.registry.find(&key("a")).unwrap();
        stream.position().unwrap().1
    };
    draining.relay.start_draining();
    draining.until(|node| !node.is_forwarded_to("a")).await;
    let (had, has) = (next(&draining), next(&staying));
    assert!(has + u64::from(4 * GOP) >= had, "{has} of {had}");
}

/// Its replies wait behind what it gets.
#[tokio::test]
async fn origin_that_gets_what_it_lacks_over_a_slow_link_is_not_given_up() {
    let mut cluster = RelayCluster::impatient();
    cluster.settings.timeouts.forward.hung_alone = NEVER;
    let beyond = RelayCluster::new();
    let origins = [beyond.origin("o1").await, beyond.origin("o2").await];
    for origin in &origins {
        cluster.add(SlowLink::of(2.0).to(origin.address).await);
    }
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let encoder = Scene::publish(&edge).await;
    let mut viewer = other.watch("a");
    viewer.watch_on(&encoder).await;
    let [one, two] = &origins;
    let (killed, survivor) = if one.is_forwarded_to("a") {
        (one, two)
    } else {
        (two, one)
    };
    killed.kill();
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
    let requests = survivor.take_requests().into_iter();
    let forwards = requests.filter(|(_, uri)| uri.contains("forward?"));
    assert_eq!(forwards.count(), 1);
}

/// It reaches the next origin only after that has the stream.
#[tokio::test]
async fn edge_that_was_cut_off_while_an_origin_was_replaced_gets_all_that_it_lacks() {
    let mut scene = Scene::start().await;
    scene.edges.settings.timeouts.forward.needs = Duration::ZERO;
    let (edge, other) = (scene.edges.edge("e1").await, scene.edges.edge("e2").await);
    let (beyond, mut paths) = (RelayCluster::impatient(), Vec::new());
    for origin in &scene.origins {
        let path = Freezer::start(origin.address).await;
        beyond.add(path.address);
        paths.push(path);
    }
    let far = beyond.edge("e3").await;
    let mut encoder = Scene::publish(&edge).await;
    let mut viewers = [other.watch("a"), far.watch("a")];
    for viewer in &mut viewers {
        viewer.watch_on(&encoder).await;
    }
    let (killed, survivor) = scene.carriers(2).await;
    paths.iter().for_each(Freezer::freeze);
    encoder.until(encoder.sent() + GOP).await;
    killed.kill();
    survivor.until(|node| node.is_forwarded_to("a")).await;
    viewers[0].watch_on(&encoder).await;
    paths.iter().for_each(Freezer::thaw);
    for viewer in &mut viewers {
        viewer.watch_on(&encoder).await;
        viewer.assert_continuous();
    }
}
