//! Loss of an origin while a stream is published and played through edges.

use crate::support::{FlvViewer, Publisher, RtmpViewer, TestNode, edge, eventually, origins};

/// Returns whether the stream is forwarded to this media node.
async fn is_target(node: &TestNode) -> bool {
    let streams = node.api("/api/v1/streams").await;
    let sources = streams.as_array().unwrap().iter();
    sources
        .map(|stream| stream["publication"]["source"].as_str())
        .any(|source| source == Some("forwarded"))
}

struct Cluster {
    origins: [TestNode; 2],
    _edges: [TestNode; 2],
    publisher: Publisher,
    flv: FlvViewer,
    rtmp: RtmpViewer,
    /// Viewer at the encoder's edge.
    local: FlvViewer,
    next: u32,
}

impl Cluster {
    /// Starts two origins and two edges, a publisher at one edge, and viewers at both.
    async fn new() -> Self {
        let origins = origins::<2>(|_| {}).await;
        let edges = [edge(&origins, |_| {}).await, edge(&origins, |_| {}).await];
        let publisher = Publisher::with_group(edges[0].addresses.rtmp, "live/a").await;
        let mut cluster = Self {
            flv: FlvViewer::open(edges[1].addresses.http, "/live/a.flv").await,
            rtmp: RtmpViewer::start(edges[1].addresses.rtmp, "live/a").await,
            local: FlvViewer::open(edges[0].addresses.http, "/live/a.flv").await,
            origins,
            _edges: edges,
            publisher,
            next: 10,
        };
        cluster.assert_group(0).await;
        cluster
    }

    /// Returns the index of the origin that the stream is forwarded to.
    async fn target(&self) -> usize {
        usize::from(!is_target(&self.origins[0]).await)
    }

    /// Sends the next frames, and asserts that every viewer receives each of them once.
    async fn assert_continues(&mut self) {
        let first = self.next;
        self.publisher.send_group(first).await;
        self.next += 10;
        self.assert_group(first).await;
    }

    async fn assert_group(&mut self, first: u32) {
        for expected in first..first + 10 {
            let expected = (expected, expected * 40);
            assert_eq!(self.flv.numbered().await.unwrap(), expected);
            assert_eq!(self.rtmp.numbered().await.unwrap(), expected);
            assert_eq!(self.local.numbered().await.unwrap(), expected);
        }
    }
}

#[tokio::test]
async fn loss_of_an_origin_does_not_interrupt_viewers_and_encoder() {
    let mut cluster = Cluster::new().await;
    let target = cluster.target().await;
    cluster.origins[target].stop.cancel();
    for _ in 0..3 {
        cluster.assert_continues().await;
    }
    assert!(is_target(&cluster.origins[1 - target]).await);
}

#[tokio::test]
async fn draining_origin_ends_once_another_one_has_its_streams() {
    let mut cluster = Cluster::new().await;
    let target = cluster.target().await;
    cluster.origins[target].drain.cancel();
    cluster.origins[target].ended().await;
    for _ in 0..3 {
        cluster.assert_continues().await;
    }
}

#[tokio::test]
async fn restarted_origin_is_used_again() {
    let origins = origins::<1>(|_| {}).await;
    let edges = [edge(&origins, |_| {}).await, edge(&origins, |_| {}).await];
    let mut publisher = Publisher::with_group(edges[0].addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(edges[1].addresses.http, "/live/a.flv").await;
    for expected in 0..10 {
        assert_eq!(viewer.numbered().await.unwrap().0, expected);
    }
    let internal = origins[0].addresses.internal;
    let [mut lost] = origins;
    lost.stop.cancel();
    lost.ended().await;
    publisher.send_group(10).await;
    let restarted = TestNode::with(|config| config.listen.internal = internal).await;
    eventually("the stream at the restarted origin", || {
        is_target(&restarted)
    })
    .await;
    publisher.send_group(20).await;
    for expected in 10..30 {
        assert_eq!(viewer.numbered().await.unwrap(), (expected, expected * 40));
    }
}
