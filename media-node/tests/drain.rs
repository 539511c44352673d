//! A node that leaves: who is there is served, then let go at a keyframe; nobody new comes in.

use std::time::Instant;

use tokio::net::TcpStream;

use crate::support::{
    FlvViewer, Publisher, RtmpViewer, TestNode, keyframe, picture, request, until,
};

#[tokio::test]
async fn a_node_without_clients_leaves_at_once() {
    let mut node = TestNode::with(|config| config.drain.timeout_seconds = 300).await;
    let begun = Instant::now();
    node.drain.cancel();
    node.gone().await;
    assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_lame_duck_accepts_and_is_ready() {
    let node = TestNode::with(|config| {
        config.drain.accept_seconds = 60;
        config.drain.timeout_seconds = 60;
    })
    .await;
    assert_eq!(node.api("/api/v1/summary").await["draining"], false);
    node.drain.cancel();
    until("draining", || async {
        node.api("/api/v1/summary").await["draining"] == true
    })
    .await;
    assert_eq!(
        request(node.addresses.internal, "GET", "/readyz")
            .await
            .status,
        200
    );
    let metrics = request(node.addresses.internal, "GET", "/metrics").await;
    assert!(metrics.text().contains("live_draining 1"));
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send_group(0).await;
    assert!(
        FlvViewer::open(node.addresses.http, "/live/a.flv")
            .await
            .numbered()
            .await
            .is_some()
    );
}

#[tokio::test]
async fn who_is_there_is_let_go_at_a_keyframe_and_told_so() {
    let mut node = TestNode::with(|config| config.drain.timeout_seconds = 3).await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send_group(0).await;
    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    node.drain.cancel();
    until("closed ports", || async {
        TcpStream::connect(node.addresses.rtmp).await.is_err()
    })
    .await;
    assert!(TcpStream::connect(node.addresses.http).await.is_err());
    assert_eq!(
        request(node.addresses.internal, "GET", "/readyz")
            .await
            .status,
        503
    );
    assert_eq!(
        request(node.addresses.internal, "GET", "/livez")
            .await
            .status,
        200
    );

    let sending = tokio::spawn(async move {
        for number in 10.. {
            let message = match number % 10 {
                0 => keyframe(number, number * 40, 100),
                _ => picture(number, number * 40, 100),
            };
            publisher.send([message]).await;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    for protocol in ["FLV", "RTMP"] {
        let mut last = None;
        loop {
            let next = if protocol == "FLV" {
                flv.numbered().await
            } else {
                rtmp.numbered().await
            };
            match next {
                Some((number, _)) => last = Some(number),
                None => break,
            }
        }
        let last = last.unwrap();
        assert_eq!(
            last % 10,
            9,
            "{protocol}: ended in the middle of a group, at {last}"
        );
        assert!(last > 9, "{protocol}: the stream went on after the signal");
    }
    node.gone().await;
    sending.abort();
}

#[tokio::test]
async fn the_second_signal_ends_the_node_at_once() {
    let mut node = TestNode::with(|config| config.drain.timeout_seconds = 300).await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    node.drain.cancel();
    until("closed ports", || async {
        TcpStream::connect(node.addresses.rtmp).await.is_err()
    })
    .await;
    node.stop.cancel();
    node.gone().await;
    assert!(TcpStream::connect(node.addresses.internal).await.is_err());
}

#[tokio::test]
async fn without_time_to_drain_clients_are_still_told() {
    let mut node = TestNode::with(|config| config.drain.timeout_seconds = 0).await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send_group(0).await;
    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    node.drain.cancel();
    while flv.next().await.is_some() {}
    while rtmp.next().await.is_some() {}
    assert!(publisher.0.closed_with().await.is_some());
    node.gone().await;
}
