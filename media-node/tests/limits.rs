//! Limits: too many connections and streams, too large and too slow requests.

mod counted;
mod encoders;
mod streams;

use std::time::Duration;

use media_node::Timings;
use tokio::io::AsyncWriteExt;

use crate::support::{
    FlvViewer, Publisher, RawConnection, RtmpViewer, TestNode,
    assert_stalled_viewer_is_disconnected, eventually, request, within_deadline,
};

#[tokio::test]
async fn connection_over_the_limit_is_refused_with_a_reason() {
    let node = TestNode::with(|config| config.limits.max_connections = 2).await;
    let _publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
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
    eventually("a free connection", || async {
        request(node.addresses.http, "HEAD", "/live/a.flv")
            .await
            .status
            == 200
    })
    .await;
    let metrics = node.metrics().await;
    let refused = "live_connections_refused_total{reason=\"limit\"} ";
    let refused = metrics.lines().find_map(|line| line.strip_prefix(refused));
    // Both of the refused ones, and those that were refused before the viewer's connection ended.
    let refused: u64 = refused.expect("the metric").parse().unwrap();
    assert!(refused >= 2, "{metrics}");
}

#[tokio::test]
async fn address_with_too_many_connections_is_refused_with_a_reason() {
    let node = TestNode::with(|config| config.limits.max_connections_per_address = 1).await;
    let _publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    let refused = request(node.addresses.http, "GET", "/").await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("5"))
    );
    assert_eq!(refused.text(), "too many connections from your address\n");
    let other = RtmpViewer::try_start(node.addresses.rtmp, "live/a").await;
    let other = other.err().expect("a refusal");
    assert_eq!(other.description, "too many connections from your address");
    let metric = "live_connections_refused_total{reason=\"address_connections\"} 2";
    assert!(node.metrics().await.contains(metric));
}

#[tokio::test]
async fn address_with_too_many_new_connections_is_refused_with_a_reason() {
    let node = TestNode::with(|config| {
        config.limits.max_new_connections_per_second_per_address = 1;
    })
    .await;
    // They would need more than nine seconds to come in time.
    let requests = [0; 10].map(|_| request(node.addresses.http, "GET", "/"));
    let responses = futures::future::join_all(requests).await;
    let of = |status| responses.iter().filter(|it| it.status == status).count();
    let refused = of(503);
    assert!(refused > 0 && of(200) + refused == responses.len());
    let metric = "live_connections_refused_total{reason=\"address_rate\"}";
    assert_eq!(node.metric(metric).await, refused as u64);
}

#[tokio::test]
async fn further_streams_of_a_connection_count_as_new_connections() {
    let node = TestNode::with(|config| {
        config.limits.max_new_connections_per_second_per_address = 1;
    })
    .await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    for number in 0..9 {
        publisher.unpublish_and_request(&number.to_string()).await;
    }
    let status = publisher.0.closed_with().await.expect("a reason");
    let reason = "too many new connections from your address, try again in a second";
    assert_eq!(status.description, reason);
}

#[tokio::test]
async fn further_requests_for_streams_count_as_new_connections() {
    let node = TestNode::with(|config| {
        config.limits.max_new_connections_per_second_per_address = 1;
        config.stream.play_wait_seconds = 0;
    })
    .await;
    let mut connection = RawConnection::connect(node.addresses.http).await;
    let requests = "GET /live/none.flv HTTP/1.1\r\nHost: h\r\n\r\n".repeat(20);
    connection.send(requests).await;
    let refused = loop {
        let response = connection.response(true).await;
        if response.status != 404 {
            break response;
        }
    };
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("5"))
    );
    let reason = "too many new connections from your address, try again in a second\n";
    assert_eq!(refused.text(), reason);
    assert!(connection.rest().await.is_empty());
    let metric = "live_connections_refused_total{reason=\"address_rate\"} 1";
    assert!(node.metrics().await.contains(metric));
}

#[tokio::test]
async fn oldest_connection_without_a_stream_is_closed_for_a_new_one() {
    // 16 of 80 connections may be without a stream.
    let node = TestNode::with(|config| {
        config.limits.max_connections = 80;
        config.limits.max_idle_connections_percent = 20;
    })
    .await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut idle = Vec::new();
    for number in 0..40 {
        let port = [node.addresses.rtmp, node.addresses.http][number % 2];
        idle.push(RawConnection::connect(port).await);
    }
    // The two ports accept beside each other, so that the order of their connections is not known.
    eventually("the oldest connections are closed", async || {
        node.metric("live_limits_exceeded_total{limit=\"idle_connections\"}")
            .await
            >= 24
    })
    .await;
    let newcomer = Publisher::start(node.addresses.rtmp, "live/b");
    newcomer.await.send_headers().await;
    publisher.send_group(10).await;
    for number in 0..20 {
        assert_eq!(viewer.numbered().await.unwrap().0, number);
    }
}

#[tokio::test]
async fn client_that_does_not_read_a_page_has_no_stream() {
    let node = TestNode::with(|config| config.limits.max_connections = 160).await;
    let mut stalled = Vec::new();
    for _ in 0..40 {
        let mut connection = RawConnection::connect_with_buffer(node.addresses.http, 4_096).await;
        connection
            .send("GET /player/mpegts.js HTTP/1.1\r\nHost: h\r\n\r\n")
            .await;
        stalled.push(connection);
    }
    eventually("the oldest connections are closed", async || {
        node.metric("live_limits_exceeded_total{limit=\"idle_connections\"}")
            .await
            >= 24
    })
    .await;
}

#[tokio::test]
async fn pages_that_a_client_does_not_read_do_not_fill_the_kernel() {
    let node = TestNode::start().await;
    let mut stalled = RawConnection::connect_with_buffer(node.addresses.http, 4_096).await;
    let get = "GET /player/mpegts.js HTTP/1.1\r\nHost: h\r\n\r\n";
    stalled.send(get.repeat(10)).await;
    let port = node.addresses.http.port();
    let held = within_deadline("unread pages", async {
        let (mut before, mut held) = (0, unsent(port));
        while held == 0 || held != before {
            tokio::time::sleep(Duration::from_millis(100)).await;
            before = std::mem::replace(&mut held, unsent(port));
        }
        held
    })
    .await;
    assert!(held < 256 * 1024, "the kernel holds {held} bytes");
}

/// Returns the bytes that the kernel holds for the peers of a port.
fn unsent(port: u16) -> u64 {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's list");
    let local = format!(":{port:04X}");
    let queues = sockets.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next()?.ends_with(&local).then_some(())?;
        let (unsent, _) = fields.nth(2)?.split_once(':')?;
        u64::from_str_radix(unsent, 16).ok()
    });
    queues.sum()
}

#[tokio::test]
async fn probes_are_answered_while_the_internal_port_is_flooded() {
    let node = TestNode::start().await;
    let mut flood = Vec::new();
    for _ in 0..1_500 {
        flood.push(RawConnection::connect(node.addresses.internal).await);
    }
    for path in ["/livez", "/readyz"] {
        let probe = request(node.addresses.internal, "GET", path).await;
        assert_eq!(probe.status, 200);
    }
    assert!(flood[0].rest().await.is_empty(), "the oldest is closed");
}

#[tokio::test]
async fn viewer_that_sends_a_large_message_is_disconnected_with_a_reason() {
    let node = TestNode::start().await;
    let _publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut viewer = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    // The header of a video message of 100,000 bytes.
    let header = [6, 0, 0, 0, 0x01, 0x86, 0xA0, 9, 1, 0, 0, 0];
    viewer.0.socket.write_all(&header).await.unwrap();
    let status = viewer.0.closed_with().await.unwrap();
    assert_eq!(status.code, "NetConnection.Connect.Closed");
    assert_eq!(
        status.description,
        "a message of 100000 bytes is above the limit of 65536"
    );
    let exceeded = "live_limits_exceeded_total{limit=\"message\"} 1";
    assert!(node.metrics().await.contains(exceeded));
}

#[tokio::test]
async fn viewer_that_leaves_a_message_incomplete_is_disconnected_with_a_reason() {
    let node = TestNode::with(|config| config.limits.handshake_timeout_seconds = 3).await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut playing = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    let mut paused = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    paused.pause(true).await;
    // The header of a command of 100 bytes, and one byte of it.
    let begun = [3, 0, 0, 0, 0, 0, 100, 20, 0, 0, 0, 0, 2];
    for viewer in [&mut playing, &mut paused] {
        viewer.0.send_bytes(&begun).await;
    }
    let publish = async {
        for group in 1.. {
            publisher.send_group(group * 10).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let status = tokio::select! {
        status = playing.0.closed_with() => status.expect("a reason"),
        () = publish => unreachable!("it does not end"),
    };
    assert_eq!(status.description, "a message was incomplete for too long");
    let exceeded = "live_limits_exceeded_total{limit=\"incomplete_messages\"} 1";
    assert!(node.metrics().await.contains(exceeded));
    paused.0.closed_with().await;
}

#[tokio::test]
async fn stalled_viewer_is_disconnected() {
    let node = TestNode::with(|config| config.limits.stall_timeout_seconds = 1).await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    assert_stalled_viewer_is_disconnected(&node, &mut publisher, node.addresses.http).await;
}

#[tokio::test]
async fn silent_and_incomplete_requests_are_closed() {
    let timings = Timings {
        internal_header_timeout: Duration::from_secs(3),
        ..Timings::default()
    };
    let node = TestNode::with_timings(timings, |config| {
        config.limits.handshake_timeout_seconds = 3;
    })
    .await;
    let mut silent_rtmp = RawConnection::connect(node.addresses.rtmp).await;
    let mut half_rtmp = RawConnection::connect(node.addresses.rtmp).await;
    half_rtmp.send([3; 100]).await;
    let mut silent_http = RawConnection::connect(node.addresses.http).await;
    let mut half_http = RawConnection::connect(node.addresses.http).await;
    half_http.send("GET /live/a.flv HTTP/1.1\r\nHost:").await;
    let mut silent_internal = RawConnection::connect(node.addresses.internal).await;
    let mut half_internal = RawConnection::connect(node.addresses.internal).await;
    half_internal.send("GET /liv").await;

    assert!(silent_rtmp.rest().await.is_empty());
    assert!(half_rtmp.rest().await.is_empty());
    assert!(silent_http.rest().await.is_empty());
    assert_eq!(half_http.response(true).await.status, 408);
    assert!(half_http.rest().await.is_empty());
    assert!(silent_internal.rest().await.is_empty());
    assert!(half_internal.rest().await.is_empty());
    let timeouts = "live_connections_refused_total{reason=\"timeout\"}";
    assert_eq!(node.metric(timeouts).await, 2, "those of RTMP");
}

#[tokio::test]
async fn header_sections_have_limits() {
    let node = TestNode::start().await;
    let long = format!("/{}.flv", "a".repeat(10_000));
    assert_eq!(request(node.addresses.http, "GET", &long).await.status, 414);
    let mut connection = RawConnection::connect(node.addresses.http).await;
    connection
        .send(format!(
            "GET / HTTP/1.1\r\nCookie: {}\r\n\r\n",
            "a".repeat(10_000)
        ))
        .await;
    assert_eq!(connection.response(true).await.status, 431);
}

#[tokio::test]
async fn address_with_too_many_parameters_is_refused_with_a_reason() {
    let node = TestNode::start().await;
    let parameters = "a=b&".repeat(15_000);
    let refused = Publisher::try_start(node.addresses.rtmp, &format!("live/cam?{parameters}"))
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code, "NetStream.Publish.BadName");
    assert!(
        refused.description.contains("more than 4096"),
        "{}",
        refused.description
    );
    let exceeded = "live_limits_exceeded_total{limit=\"parameters\"} 1";
    assert!(node.metrics().await.contains(exceeded));
}
