//! What is too much, too long or too slow is refused with a reason.

use crate::support::{
    FlvViewer, Publisher, RtmpViewer, TestNode, Wire, keyframe, request, soon, until,
};

#[tokio::test]
async fn a_connection_over_the_limit_is_told_so() {
    let node = TestNode::with(|config| config.limits.max_connections = 2).await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send_group(0).await;
    let viewer = FlvViewer::open(node.addresses.http, "/live/a.flv").await;

    let full = request(node.addresses.http, "GET", "/live/a.flv").await;
    assert_eq!((full.status, full.header("retry-after")), (503, Some("5")));
    assert!(full.text().contains("full"), "{}", full.text());
    let refused = RtmpViewer::try_start(node.addresses.rtmp, "live/a")
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code, "NetConnection.Connect.Rejected");
    assert!(
        refused.description.contains("full"),
        "{}",
        refused.description
    );

    drop(viewer);
    until("a free place", || async {
        request(node.addresses.http, "HEAD", "/live/a.flv")
            .await
            .status
            == 200
    })
    .await;
    let metrics = request(node.addresses.internal, "GET", "/metrics").await;
    assert!(
        metrics
            .text()
            .contains("live_connections_refused_total{reason=\"limit\"}"),
        "{}",
        metrics.text()
    );
}

#[tokio::test]
async fn a_stream_over_the_limit_is_told_so() {
    let node = TestNode::with(|config| config.limits.max_streams = 1).await;
    let _first = Publisher::start(node.addresses.rtmp, "live/a").await;
    let refused = Publisher::try_start(node.addresses.rtmp, "live/b")
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code, "NetStream.Publish.Failed");
}

#[tokio::test]
async fn a_silent_encoder_is_closed() {
    let node = TestNode::with(|config| config.stream.publish_idle_timeout_seconds = 1).await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    let status = publisher.0.closed_with().await.unwrap();
    assert!(
        status.description.contains("too long"),
        "{}",
        status.description
    );
}

#[tokio::test]
async fn a_viewer_that_takes_nothing_is_closed() {
    let node = TestNode::with(|config| config.limits.stall_timeout_seconds = 1).await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send_group(0).await;
    let _viewer = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    soon("the end of the viewer", async {
        for number in 10.. {
            publisher
                .send([keyframe(number, number * 40, 1_000_000)])
                .await;
            if node.api("/api/v1/clients").await.as_array().unwrap().len() == 1 {
                return;
            }
        }
    })
    .await;
    let metrics = request(node.addresses.internal, "GET", "/metrics").await;
    assert!(
        metrics.text().contains("live_viewers_stalled_total 1"),
        "{}",
        metrics.text()
    );
}

#[tokio::test]
async fn who_says_nothing_or_half_of_it_is_closed() {
    let node = TestNode::with(|config| config.limits.handshake_timeout_seconds = 1).await;
    let mut silent_rtmp = Wire::connect(node.addresses.rtmp).await;
    let mut half_rtmp = Wire::connect(node.addresses.rtmp).await;
    half_rtmp.send([3; 100]).await;
    let mut silent_http = Wire::connect(node.addresses.http).await;
    let mut half_http = Wire::connect(node.addresses.http).await;
    half_http.send("GET /live/a.flv HTTP/1.1\r\nHost:").await;
    let mut half_internal = Wire::connect(node.addresses.internal).await;
    half_internal.send("GET /liv").await;

    assert!(silent_rtmp.rest().await.is_empty());
    assert!(half_rtmp.rest().await.is_empty());
    assert!(silent_http.rest().await.is_empty());
    assert_eq!(half_http.answer(true).await.status, 408);
    assert!(half_http.rest().await.is_empty());
}

#[tokio::test]
async fn heads_have_limits() {
    let node = TestNode::start().await;
    let long = format!("/{}.flv", "a".repeat(10_000));
    assert_eq!(request(node.addresses.http, "GET", &long).await.status, 414);
    let mut wire = Wire::connect(node.addresses.http).await;
    wire.send(format!(
        "GET / HTTP/1.1\r\nCookie: {}\r\n\r\n",
        "a".repeat(10_000)
    ))
    .await;
    assert_eq!(wire.answer(true).await.status, 431);
}
