//! Outages that are longer than the window, or that a publication does not outlive.

use std::time::Duration;

use super::cluster::{NEVER, RelayCluster, RelayNode, key};
use super::encoder::{GOP, RelayEncoder};
use super::freezer::Freezer;
use super::viewer::RelayViewer;

/// A cluster whose pulls are soon given up as well.
fn impatient() -> RelayCluster {
    let mut cluster = RelayCluster::impatient();
    cluster.settings.timeouts.pull.hung = Duration::from_millis(200);
    cluster
}

/// Sends a group of pictures and ends the publication. Returns its epoch, and how many frames it had.
async fn end_after_a_group(mut encoder: RelayEncoder) -> (u64, u32) {
    encoder.until(encoder.sent() + GOP).await;
    let epoch = encoder.epoch;
    (epoch, encoder.stop().await)
}

#[tokio::test]
async fn viewers_lose_as_little_as_possible_in_an_outage_longer_than_the_window() {
    let mut cluster = impatient();
    // The encoder sends 100 frames a second.
    cluster.settings.stream.window_seconds = 1;
    let (origin, freezer) = cluster.freezable_origin("o").await;
    let edge = cluster.edge("e").await;
    let mut encoder = origin.publish("a").await.unwrap();
    let mut viewer = edge.watch("a");
    viewer.watch_on(&encoder).await;
    freezer.freeze();
    encoder.until(encoder.sent() + 200).await;
    let epoch = encoder.epoch;
    let last = encoder.stop().await - 1;
    freezer.thaw();
    viewer.watch_until(epoch, last).await;
    let pairs = viewer.frames.windows(2);
    let gaps = pairs.filter(|pair| pair[1].number != pair[0].number + 1);
    let resumed: Vec<_> = gaps.map(|pair| pair[1].number).collect();
    // The oldest keyframe in nine tenths of the window.
    assert_eq!(resumed, [(last - 90).next_multiple_of(GOP)]);
}

#[tokio::test]
async fn tail_of_a_publication_that_ends_while_its_pull_is_lost_is_delivered() {
    let cluster = impatient();
    let (origin, freezer) = cluster.freezable_origin("o").await;
    let edge = cluster.edge("e").await;
    let encoder = origin.publish("a").await.unwrap();
    let mut viewer = edge.watch("a");
    viewer.watch_on(&encoder).await;
    freezer.freeze();
    let (epoch, sent) = end_after_a_group(encoder).await;
    freezer.thaw();
    viewer.watch_until(epoch, sent - 1).await;
    viewer.assert_continuous();
}

/// The origin holds no survey meanwhile until another publication starts.
#[tokio::test]
async fn tail_of_a_publication_that_ends_while_its_origin_replies_only_to_surveys_is_delivered() {
    let mut cluster = impatient();
    cluster.settings.timeouts.pull.response = Duration::from_millis(300);
    let (origin, freezer) = cluster.freezable_origin("o").await;
    let edge = cluster.edge("e").await;
    let encoder = origin.publish("a").await.unwrap();
    let mut viewer = edge.watch("a");
    viewer.watch_on(&encoder).await;
    origin.holds_pulls.send_replace(true);
    freezer.forget();
    let failures = async |count| {
        let failed = |node: &RelayNode| node.relay.metrics().failures.get() >= count;
        edge.until(failed).await;
    };
    // The connection, and the first pull over another one.
    failures(2).await;
    let (epoch, sent) = (encoder.epoch, encoder.stop().await);
    origin.take_requests();
    failures(4).await;
    let requests = origin.take_requests();
    let held = requests.iter().filter(|(_, uri)| uri.contains("wait="));
    assert_eq!(held.count(), 0, "{requests:?}");
    origin.holds_pulls.send_replace(false);
    viewer.watch_until(epoch, sent - 1).await;
    viewer.assert_continuous();
}

#[tokio::test]
async fn tail_of_a_publication_that_ends_while_its_origin_is_lost_is_delivered() {
    let cluster = impatient();
    let (origin, freezer) = cluster.freezable_origin("o").await;
    let edge = cluster.edge("e").await;
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = origin.watch("a");
    viewer.watch_on(&encoder).await;
    freezer.freeze();
    edge.until(|node| node.relay.metrics().failures.get() > 0)
        .await;
    let (epoch, sent) = end_after_a_group(encoder).await;
    freezer.thaw();
    viewer.watch_until(epoch, sent - 1).await;
    viewer.assert_continuous();
    edge.until(|node| node.relay.metrics().forwards.get() == 0)
        .await;
}

/// No time limit of the end expires.
#[tokio::test]
async fn tail_of_a_publication_is_delivered_by_another_origin_when_the_first_one_hangs() {
    let cluster = RelayCluster::impatient();
    let (first, freezer) = cluster.freezable_origin("o1").await;
    let edge = cluster.edge("e").await;
    let encoder = edge.publish("a").await.unwrap();
    first.until(|node| node.is_forwarded_to("a")).await;
    let second = cluster.origin("o2").await;
    let mut viewer = second.watch("a");
    viewer.watch_on(&encoder).await;
    freezer.freeze();
    let (epoch, sent) = end_after_a_group(encoder).await;
    viewer.watch_until(epoch, sent - 1).await;
    viewer.assert_continuous();
}

#[tokio::test]
async fn tail_of_a_publication_is_delivered_when_the_next_one_starts_before_there_is_an_origin() {
    let mut cluster = RelayCluster::new();
    // Shorter than the time without an origin, and longer than a busy host takes to forward the tail.
    cluster.settings.timeouts.forward.predecessor = Duration::from_secs(2);
    let first = cluster.origin("o1").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    viewer.watch_on(&encoder).await;
    // An edge with viewers accepts encoders without an origin.
    let _own = edge.watch("a");
    first.kill();
    let (former, sent) = end_after_a_group(encoder).await;
    let mut next = edge.publish("a").await.unwrap();
    next.until(10 * GOP).await;
    let _second = cluster.origin("o2").await;
    viewer.watch_on(&next).await;
    viewer.assert_continuous();
    let frames = viewer.frames.iter();
    let last = frames.rev().find(|frame| frame.epoch == former);
    assert_eq!(last.map(|frame| frame.number), Some(sent - 1));
}

/// Viewers who join later get nothing of it.
#[tokio::test]
async fn tail_is_only_for_viewers_who_stayed() {
    let cluster = impatient();
    let (origin, freezer) = cluster.freezable_origin("o").await;
    let edge = cluster.edge("e").await;
    let encoder = origin.publish("a").await.unwrap();
    let mut viewer = edge.watch("a");
    viewer.watch_on(&encoder).await;
    freezer.freeze();
    let (former, sent) = end_after_a_group(encoder).await;
    let mut late = edge.watch("a");
    freezer.thaw();
    viewer.watch_until(former, sent - 1).await;
    let next = origin.publish("a").await.unwrap();
    for viewer in [&mut viewer, &mut late] {
        viewer.watch_on(&next).await;
        viewer.assert_continuous();
    }
    assert!(late.frames.iter().all(|frame| frame.epoch == next.epoch));
}

#[tokio::test]
async fn viewer_joins_quiet_publication_that_is_forwarded_again() {
    let cluster = impatient();
    let (origin, freezer) = cluster.freezable_origin("o").await;
    let edge = cluster.edge("e").await;
    let encoder = edge.publish("a").await.unwrap();
    let mut stayed = origin.watch("a");
    stayed.watch_on(&encoder).await;
    let _quiet = encoder.pause().await;
    let last = encoder.sent() - 1;
    stayed.watch_until(encoder.epoch, last).await;
    freezer.forget();
    edge.until(|edge| edge.relay.metrics().switches.get() > 0)
        .await;
    origin.watch("a").watch_until(encoder.epoch, last).await;
}

/// A publication that is forwarded to an origin, while another one hangs. No time limit ends an attempt at that.
struct BesideHungOrigin {
    edge: RelayNode,
    origin: RelayNode,
    encoder: RelayEncoder,
    name: String,
    _viewer: RelayViewer,
    _hung: (RelayNode, Freezer),
}

impl BesideHungOrigin {
    async fn start(cluster: &RelayCluster) -> Self {
        let hung = cluster.freezable_origin("o1").await;
        hung.1.freeze();
        let (origin, edge) = (cluster.origin("o2").await, cluster.edge("e").await);
        // The other origin is tried first, also when neither replies.
        let ranked = |name: &String| edge.relay.context.ranked_origins(&key(name));
        let mut names = (0..).map(|number| number.to_string());
        let is_first = |name: &String| ranked(name).first() == Some(&origin.address);
        let name = names.find(is_first).expect("a name");
        let mut viewer = edge.watch(&name);
        let encoder = edge.publish(&name).await.unwrap();
        viewer.watch_on(&encoder).await;
        origin.until(|node| node.is_forwarded_to(&name)).await;
        Self {
            edge,
            origin,
            encoder,
            name,
            _viewer: viewer,
            _hung: hung,
        }
    }

    /// Kills the origin, and waits until it has refused two attempts, and a check.
    async fn lose_origin(&self) {
        self.origin.kill();
        let reachability = &self.edge.relay.context.reachability;
        let lost = |node: &RelayNode| {
            node.relay.metrics().failures.get() > 1
                && reachability.replies(self.origin.address) == Some(false)
        };
        self.edge.until(lost).await;
    }

    /// Starts another media node with the address of the lost one, and waits until it has the publication.
    async fn assert_replaced(&self) {
        let replacement = RelayCluster::new().origin("o3").await;
        let _restarted = Freezer::start_at(self.origin.address, replacement.address).await;
        replacement
            .until(|node| node.is_forwarded_to(&self.name))
            .await;
        replacement.watch(&self.name).watch_on(&self.encoder).await;
    }
}

#[tokio::test]
async fn origin_that_replies_again_gets_the_stream_although_another_one_hangs() {
    let cluster = RelayCluster::with_short_surveys();
    let publication = BesideHungOrigin::start(&cluster).await;
    publication.lose_origin().await;
    publication.assert_replaced().await;
}

/// Whether the other one replies is not known before.
#[tokio::test]
async fn origin_that_replies_again_gets_the_stream_before_another_one_is_tried() {
    let mut cluster = RelayCluster::with_short_surveys();
    cluster.settings.timeouts.forward.grace = NEVER;
    let publication = BesideHungOrigin::start(&cluster).await;
    publication.lose_origin().await;
    publication.assert_replaced().await;
}
