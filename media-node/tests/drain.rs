//! Drain: open connections are served and then disconnected at a keyframe, new ones are not accepted.

use std::time::Duration;

use media_config::Role;
use media_node::{NodeConfig, Timings};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::support::{
    Clip, FlvViewer, Process, Protocol, Publisher, RtmpViewer, Start, TestNode, assert_complete,
    edge_with, ended, eventually, finish, interframe, keyframe, origins, request, watch_at,
};

#[tokio::test]
async fn media_node_without_clients_ends_before_the_drain_timeout() {
    let mut node = TestNode::with(|config| config.drain.timeout_seconds = 300).await;
    node.drain.cancel();
    // Well before 300 s: every wait of the tests has a shorter limit.
    node.ended().await;
}

#[tokio::test]
async fn lame_duck_accepts_connections_and_is_ready() {
    let node = TestNode::with(|config| {
        config.drain.accept_seconds = 60;
        config.drain.timeout_seconds = 60;
    })
    .await;
    assert_eq!(node.api("/api/v1/summary").await["draining"], false);
    node.drain.cancel();
    eventually("draining", || async {
        node.api("/api/v1/summary").await["draining"] == true
    })
    .await;
    assert_eq!(
        request(node.addresses.internal, "GET", "/readyz")
            .await
            .status,
        200
    );
    assert!(node.metrics().await.contains("live_draining 1"));
    let _publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    assert!(
        FlvViewer::open(node.addresses.http, "/live/a.flv")
            .await
            .numbered()
            .await
            .is_some()
    );
}

#[tokio::test]
async fn draining_media_node_serves_its_viewers_and_accepts_no_others() {
    let node = TestNode::with(|config| config.drain.timeout_seconds = 300).await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    node.drain.cancel();
    eventually("closed ports", || async {
        TcpStream::connect(node.addresses.rtmp).await.is_err()
    })
    .await;
    assert!(TcpStream::connect(node.addresses.http).await.is_err());
    for (path, status) in [("/readyz", 503), ("/livez", 200)] {
        let response = request(node.addresses.internal, "GET", path).await;
        assert_eq!(response.status, status, "{path}");
    }
    publisher.send_group(10).await;
    for number in 0..20 {
        assert_eq!(flv.numbered().await, Some((number, number * 40)), "FLV");
        assert_eq!(rtmp.numbered().await, Some((number, number * 40)), "RTMP");
    }
}

#[tokio::test]
async fn viewers_are_disconnected_cleanly_at_a_keyframe() {
    // Disconnects from the start of the drain on, and leaves all the rest of its time for the next keyframe.
    let timings = Timings {
        disconnect_share: 1.0,
        last_keyframe_share: 0.999,
        ..Timings::default()
    };
    let mut node =
        TestNode::with_timings(timings, |config| config.drain.timeout_seconds = 300).await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    node.drain.cancel();
    let sending = tokio::spawn(async move {
        for number in 10.. {
            let message = match number % 10 {
                0 => keyframe(number, number * 40, 100),
                _ => interframe(number, number * 40, 100),
            };
            publisher.send([message]).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let (mut last_flv, mut last_rtmp) = (None, None);
    while let Some((number, _)) = flv.numbered().await {
        last_flv = Some(number);
    }
    while let Some((number, _)) = rtmp.numbered().await {
        last_rtmp = Some(number);
    }
    for (protocol, last) in [("FLV", last_flv), ("RTMP", last_rtmp)] {
        let last = last.expect("a frame");
        assert_eq!(last % 10, 9, "{protocol}: ended mid-group, at {last}");
    }
    node.ended().await;
    sending.abort();
}

#[tokio::test]
async fn what_an_encoder_sends_before_it_knows_of_the_drain_is_not_lost() {
    let timings = Timings {
        disconnect_share: 1.0,
        last_keyframe_share: 0.999,
        last_bytes: Duration::from_secs(300),
        ..Timings::default()
    };
    let origins = origins::<1>(|_| {}).await;
    let drain = |config: &mut NodeConfig| config.drain.timeout_seconds = 300;
    let mut edge = edge_with(&origins, timings, drain).await;
    let mut publisher = Publisher::with_group(edge.addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(origins[0].addresses.http, "/live/a.flv").await;
    edge.drain.cancel();
    let mut sent = 10;
    // The end is requested at a keyframe.
    while !publisher.is_told_to_end(Duration::from_millis(20)).await {
        publisher.send_group(sent).await;
        sent += 10;
    }
    publisher.send_group(sent).await;
    publisher.finish().await;
    for number in 0..sent + 10 {
        assert_eq!(viewer.numbered().await, Some((number, number * 40)));
    }
    edge.ended().await;
}

#[tokio::test]
async fn edge_drains_until_its_origin_knows_the_end_of_a_publication() {
    let origin = Process::start("").await;
    let mut edge = TestNode::with(|config| {
        config.name = "edge".to_owned();
        config.role = Role::Edge;
        config.origins.addresses = vec![origin.internal.to_string()];
        config.drain.accept_seconds = 0;
        config.drain.timeout_seconds = 300;
    })
    .await;
    let sent = Clip::PLAIN.messages(50);
    let (before, last) = sent.split_at(30);
    let mut publisher = Publisher::start(edge.addresses.rtmp, "live/a").await;
    let mut viewer = watch_at(origin.rtmp, origin.http, "live/a", Protocol::Flv);
    publisher.send(before.iter().cloned()).await;
    viewer.received(&before[29].payload).await;
    origin.hang(true);
    publisher.send(last.iter().cloned()).await;
    finish(publisher).await;
    edge.drain.cancel();
    // An edge that does not wait has ended by then.
    sleep(Duration::from_millis(500)).await;
    origin.hang(false);
    edge.ended().await;
    // An origin that does not know the end waits for the encoder.
    assert!(origin.log().contains("forwarded publish ended"));
    for received in ended(vec![viewer]).await {
        assert_complete(&sent, &received, Start::Beginning);
    }
}

#[tokio::test]
async fn stop_ends_the_drain() {
    let mut node = TestNode::with(|config| config.drain.timeout_seconds = 300).await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    node.drain.cancel();
    eventually("closed ports", || async {
        TcpStream::connect(node.addresses.rtmp).await.is_err()
    })
    .await;
    node.stop.cancel();
    node.ended().await;
    assert!(TcpStream::connect(node.addresses.internal).await.is_err());
}

#[tokio::test]
async fn clients_are_notified_even_without_time_to_drain() {
    let mut node = TestNode::with(|config| config.drain.timeout_seconds = 0).await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    node.drain.cancel();
    while flv.next().await.is_some() {}
    while rtmp.next().await.is_some() {}
    assert!(publisher.0.closed_with().await.is_some());
    node.ended().await;
}
