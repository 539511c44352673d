//! Each limit that a client exceeds is counted by its name, and ends the connection.

use media_wire::amf0::Value;

use crate::support::raw_rtmp::{HANDSHAKE, chunks, command, connect};
use crate::support::{Publisher, RawConnection, TestNode, eventually, request};

async fn eventually_counted(node: &TestNode, metric: &str, label: &str, value: &str, least: u64) {
    let metric = format!("{metric}{{{label}=\"{value}\"}}");
    eventually(&metric, async || node.metric(&metric).await >= least).await;
}

/// A whole message of one byte on each of 65 chunk streams.
fn many_chunk_streams() -> Vec<u8> {
    let message = |stream: u8| [0, stream, 0, 0, 0, 0, 0, 1, 99, 0, 0, 0, 0, 0];
    (0..65).flat_map(message).collect()
}

#[tokio::test]
async fn limits_of_messages_are_counted_by_their_names() {
    let node = TestNode::start().await;
    let publish = |name: &str| {
        let values = ["publish".into(), 0.0.into(), Value::Null, name.into()];
        command(&values)
    };
    let large = chunks(20, &[0; 70_000]);
    let long = "n".repeat(2_000);
    for (limit, sent) in [
        ("chunk_streams", many_chunk_streams()),
        ("chunk_size", chunks(1, &[0, 0, 0, 1])),
        ("message", large.clone()),
        ("command", [publish("a"), large].concat()),
        ("names", publish(&long)),
        ("parameters", publish(&format!("a?{}", "b=c&".repeat(40)))),
    ] {
        let mut connection = RawConnection::connect(node.addresses.rtmp).await;
        let app = connect(&[("app", "live")]);
        connection
            .send([&HANDSHAKE[..], &app, &sent].concat())
            .await;
        connection.rest().await;
        eventually_counted(&node, "live_limits_exceeded_total", "limit", limit, 1).await;
    }
}

#[tokio::test]
async fn limits_of_http_addresses_are_counted_by_their_names() {
    let node = TestNode::start().await;
    for (limit, path) in [
        ("names", format!("/live/{}.flv", "n".repeat(2_000))),
        ("parameters", format!("/live/a.flv?{}", "b=c&".repeat(40))),
    ] {
        let refused = request(node.addresses.http, "GET", &path).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains("more than") || refused.text().contains("too many"));
        eventually_counted(&node, "live_limits_exceeded_total", "limit", limit, 1).await;
    }
}

#[tokio::test]
async fn limits_of_addresses_are_those_of_the_configuration() {
    let node = TestNode::with(|config| {
        config.stream.play_wait_seconds = 0;
        config.limits.max_name_bytes = 16;
        config.limits.max_parameters = 40;
        config.limits.max_parameter_kibibytes = 1;
    })
    .await;
    let refused = async |path: String| {
        let http = request(node.addresses.http, "GET", &format!("/live/{path}")).await;
        let name = path.replace(".flv", "");
        let rtmp = Publisher::try_start(node.addresses.rtmp, &format!("live/{name}")).await;
        (http.status == 400, rtmp.is_err())
    };
    for (count, limit, path) in [
        (2, "names", "thirteen-byte.flv".to_owned()),
        (2, "parameters", format!("a.flv?{}", "b=c&".repeat(41))),
        (4, "parameters", format!("a.flv?{}", "b".repeat(1_025))),
    ] {
        assert_eq!(refused(path).await, (true, true));
        eventually_counted(&node, "live_limits_exceeded_total", "limit", limit, count).await;
    }
    let allowed = format!("twelve-bytes.flv?{}", "b=c&".repeat(40));
    assert_eq!(refused(allowed).await, (false, false));
}

#[tokio::test]
async fn connections_of_the_internal_ports_are_counted_when_they_give_way() {
    let node = TestNode::start().await;
    let mut held = Vec::new();
    for (port, limit, name) in [
        (node.addresses.metrics, 64, "metrics_connections"),
        (node.addresses.internal, 1_024, "internal_connections"),
    ] {
        for _ in 0..limit + 8 {
            held.push(RawConnection::connect(port).await);
        }
        eventually_counted(&node, "live_limits_exceeded_total", "limit", name, 8).await;
    }
}

#[tokio::test]
async fn page_of_a_site_that_is_not_listed_is_counted() {
    let node = TestNode::with(|config| config.http.cors.allow_origins = Vec::new()).await;
    let mut connection = RawConnection::connect(node.addresses.http).await;
    connection
        .send(
            "GET /live/a.flv HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Origin: https://evil.example\r\n\r\n",
        )
        .await;
    assert_eq!(connection.response(true).await.status, 403);
    eventually_counted(
        &node,
        "live_connections_refused_total",
        "reason",
        "origin",
        1,
    )
    .await;
}
