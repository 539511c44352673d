//! Log lines of several media nodes in one process.

use crate::support::{
    FlvViewer, Process, Publisher, RawConnection, TestNode, edge, eventually, log, origins, request,
};

#[tokio::test]
async fn every_log_line_names_its_instance() {
    let origin = TestNode::with(|config| config.name = "log-origin".to_owned()).await;
    let mut edge = TestNode::with(|config| {
        config.name = "log-edge".to_owned();
        config.role = media_config::Role::Edge;
        // An invalid name, so that discovery logs as well. It is never queried: the test needs no name server.
        config.origins.addresses = vec![
            origin.addresses.internal.to_string(),
            "no..name:9090".to_owned(),
        ];
    })
    .await;
    let _publisher = Publisher::with_group(edge.addresses.rtmp, "live/logged").await;
    let viewer = FlvViewer::open(origin.addresses.http, "/live/logged.flv").await;
    drop(viewer);
    edge.drain.cancel();
    edge.ended().await;

    let has_line = |instance: &str, message: &str| {
        let instance = format!("instance{{name=\"{instance}\"}}");
        let lines = log::lines();
        let matching = lines.iter().filter(|line| line.contains(message));
        matching.into_iter().any(|line| line.contains(&instance))
    };
    for (instance, message) in [
        // The caller's runtime, a session, discovery, the relay of either side, and the drain.
        ("log-edge", "serving"),
        ("log-edge", "publish started stream=live/logged"),
        ("log-edge", "media_node::discovery"),
        ("log-origin", "stream=live/logged"),
        ("log-edge", "draining"),
    ] {
        eventually(message, async || has_line(instance, message)).await;
    }
    for line in log::lines() {
        assert!(line.contains(" instance{name=\""), "{line}");
    }
}

#[tokio::test]
async fn edge_logs_the_loss_of_its_only_origin_once() {
    let [mut origin] = origins::<1>(|_| {}).await;
    let edge = edge(std::slice::from_ref(&origin), |_| {}).await;
    let _publisher = Publisher::with_group(edge.addresses.rtmp, "live/outage").await;
    let count = |message: &str| {
        let line = format!("{message} stream=live/outage ");
        let lines = log::lines();
        lines.iter().filter(|logged| logged.contains(&line)).count()
    };
    eventually("forwarding", async || count(": forwarding") == 1).await;
    let internal = origin.addresses.internal;
    origin.stop.cancel();
    origin.ended().await;
    eventually("several attempts", async || {
        count("the origin does not accept the stream") >= 4
    })
    .await;
    let _restarted = TestNode::with(|config| config.listen.internal = internal).await;
    eventually("recovery", async || count(": forwarding") == 2).await;
    assert_eq!(count("forwarding lost"), 1);
    assert_eq!(count("no origin accepts the stream"), 1);
}

#[tokio::test]
async fn client_of_another_protocol_is_logged_with_the_reason() {
    let node = TestNode::with(|config| config.name = "other-protocol".to_owned()).await;
    for (address, bytes, line) in [
        (
            node.addresses.rtmp,
            &b"GET / HTTP/1.1\r\n"[..],
            "not an RTMP client",
        ),
        (node.addresses.http, b"\x03\0\0\0\0", "not an HTTP client"),
    ] {
        let mut client = RawConnection::connect(address).await;
        client.send(bytes).await;
        client.rest().await;
        let lines = log::lines();
        let is_logged = |logged: &String| {
            let has = |text| logged.contains(text);
            has(line) && has("other-protocol") && has("peer=127.0.0.1") && has("another port")
        };
        assert!(lines.iter().any(is_logged), "{line}");
    }
}

#[tokio::test]
async fn hang_up_signal_is_logged_and_ends_nothing() {
    let mut node = Process::start("").await;
    node.signal("-HUP");
    eventually("a log line", async || node.log().contains("SIGHUP")).await;
    assert_eq!(request(node.http, "GET", "/").await.status, 200);
    node.assert_healthy();
}
