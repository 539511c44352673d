//! An origin goes away while somebody publishes and watches through edges.

use crate::support::{FlvViewer, Publisher, RtmpViewer, TestNode, edge, origins, until};

/// Whether the stream is forwarded to this node.
async fn is_home(node: &TestNode) -> bool {
    let streams = node.api("/api/v1/streams").await;
    let sources = streams.as_array().unwrap().iter();
    sources
        .map(|stream| stream["publication"]["source"].as_str())
        .any(|source| source == Some("forwarded"))
}

struct Scene {
    origins: [TestNode; 2],
    _edges: [TestNode; 2],
    publisher: Publisher,
    flv: FlvViewer,
    rtmp: RtmpViewer,
    local: FlvViewer,
    next: u32,
}

impl Scene {
    /// Published to one edge, watched on both.
    async fn new() -> Self {
        let origins = origins::<2>(|_| {}).await;
        let edges = [edge(&origins, |_| {}).await, edge(&origins, |_| {}).await];
        let mut publisher = Publisher::start(edges[0].addresses.rtmp, "live/a").await;
        publisher.send_headers().await;
        publisher.send_group(0).await;
        let mut scene = Self {
            flv: FlvViewer::open(edges[1].addresses.http, "/live/a.flv").await,
            rtmp: RtmpViewer::start(edges[1].addresses.rtmp, "live/a").await,
            local: FlvViewer::open(edges[0].addresses.http, "/live/a.flv").await,
            origins,
            _edges: edges,
            publisher,
            next: 10,
        };
        scene.see(0).await;
        scene
    }

    /// The number of the origin that the stream is forwarded to.
    async fn home(&self) -> usize {
        usize::from(!is_home(&self.origins[0]).await)
    }

    /// Sends the next pictures, and sees each of them once on every node.
    async fn go_on(&mut self) {
        let first = self.next;
        self.publisher.send_group(first).await;
        self.next += 10;
        self.see(first).await;
    }

    async fn see(&mut self, first: u32) {
        for expected in first..first + 10 {
            let expected = (expected, expected * 40);
            assert_eq!(self.flv.numbered().await.unwrap(), expected);
            assert_eq!(self.rtmp.numbered().await.unwrap(), expected);
            assert_eq!(self.local.numbered().await.unwrap(), expected);
        }
    }
}

#[tokio::test]
async fn viewers_and_the_encoder_of_a_lost_origin_notice_nothing() {
    let mut scene = Scene::new().await;
    let home = scene.home().await;
    scene.origins[home].stop.cancel();
    for _ in 0..3 {
        scene.go_on().await;
    }
    assert!(is_home(&scene.origins[1 - home]).await);
}

#[tokio::test]
async fn an_origin_that_drains_is_gone_as_soon_as_another_one_has_its_streams() {
    let mut scene = Scene::new().await;
    let home = scene.home().await;
    scene.origins[home].drain.cancel();
    scene.origins[home].gone().await;
    for _ in 0..3 {
        scene.go_on().await;
    }
}

#[tokio::test]
async fn an_origin_that_comes_back_is_used_again() {
    let origins = origins::<1>(|_| {}).await;
    let edges = [edge(&origins, |_| {}).await, edge(&origins, |_| {}).await];
    let mut publisher = Publisher::start(edges[0].addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send_group(0).await;
    let mut viewer = FlvViewer::open(edges[1].addresses.http, "/live/a.flv").await;
    for expected in 0..10 {
        assert_eq!(viewer.numbered().await.unwrap().0, expected);
    }
    let internal = origins[0].addresses.internal;
    let [mut lost] = origins;
    lost.stop.cancel();
    lost.gone().await;
    publisher.send_group(10).await;
    let again = TestNode::with(|config| config.listen.internal = internal).await;
    until("the stream at the new origin", || is_home(&again)).await;
    publisher.send_group(20).await;
    for expected in 10..30 {
        assert_eq!(viewer.numbered().await.unwrap(), (expected, expected * 40));
    }
}
