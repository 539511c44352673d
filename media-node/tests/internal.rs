//! The internal port.

use crate::support::{
    FlvViewer, Publisher, RawConnection, RtmpViewer, TestNode, eventually, request,
};

#[tokio::test]
async fn api_lists_clients_and_streams() {
    let node = TestNode::start().await;
    let _publisher = Publisher::with_group(node.addresses.rtmp, "live/a?token=secret").await;
    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv?token=secret").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a?token=secret").await;
    // More than a thousand bytes of each client.
    while flv.numbered().await != Some((9, 360)) {}
    while rtmp.numbered().await != Some((9, 360)) {}

    let clients = node.api("/api/v1/clients").await;
    assert!(!clients.to_string().contains("secret"), "{clients}");
    let listed: Vec<_> = clients
        .as_array()
        .unwrap()
        .iter()
        .map(|client| {
            (
                client["kind"].as_str().unwrap(),
                client["role"].as_str().unwrap(),
                client["stream"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        listed,
        [
            ("rtmp", "publisher", "live/a"),
            ("flv", "viewer", "live/a"),
            ("rtmp", "viewer", "live/a")
        ]
    );
    assert_eq!(clients[1]["agent"], "test");
    assert!(
        clients[0]["bytesIn"].as_u64() > Some(1000) && clients[1]["bytesOut"].as_u64() > Some(1000),
        "{clients}"
    );

    let streams = node.api("/api/v1/streams").await;
    let stream = &streams[0];
    assert_eq!(stream["app"], "live");
    assert_eq!(stream["name"], "a");
    assert_eq!(stream["viewers"], 2);
    assert_eq!(stream["publication"]["source"], "encoder");
    assert_eq!(node.api("/api/v1/streams/").await[0]["name"], "a");
    let summary = node.api("/api/v1/summary").await;
    assert_eq!(summary["name"], "test");
    assert_eq!(summary["role"], "origin");
    assert_eq!(summary["viewers"], 2);
    assert_eq!(summary["publications"], 1);
    assert!(summary["egressBytes"].as_u64() > Some(2000), "{summary}");
    assert_eq!(summary["plays"], 2);
}

#[tokio::test]
async fn client_is_disconnected_through_the_api() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let clients = node.api("/api/v1/clients").await;
    for client in clients.as_array().unwrap() {
        let path = format!("/api/v1/clients/{}", client["id"]);
        assert_eq!(
            request(node.addresses.internal, "DELETE", &path)
                .await
                .status,
            200
        );
    }
    while viewer.next().await.is_some() {}
    assert!(publisher.0.closed_with().await.is_some());
    eventually("no clients", || async {
        node.api("/api/v1/clients").await == serde_json::json!([])
    })
    .await;
    assert_eq!(
        request(node.addresses.internal, "DELETE", "/api/v1/clients/77")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn edge_without_origins_is_alive_and_not_ready() {
    let edge = TestNode::with(|config| {
        config.role = media_config::Role::Edge;
        // An invalid name is never queried, so that the test needs no name server.
        config.origins.service = Some("no..name".to_owned());
    })
    .await;
    let ask = async |path| request(edge.addresses.internal, "GET", path).await;
    assert_eq!(ask("/livez").await.status, 200);
    let ready = ask("/readyz").await;
    assert_eq!(
        (ready.status, ready.text()),
        (503, "no origins found yet\n")
    );
}

#[tokio::test]
async fn probes_and_metrics_are_served_on_ports_of_their_own() {
    let node = TestNode::start().await;
    let ask = async |method, path| request(node.addresses.internal, method, path).await;
    assert_eq!(ask("GET", "/livez").await.status, 200);
    assert_eq!(ask("GET", "/readyz").await.status, 200);
    assert_eq!(ask("POST", "/readyz").await.status, 405);
    assert_eq!(ask("GET", "/api/v1/clients/1").await.status, 405);
    assert_eq!(ask("GET", "/live/a.flv").await.status, 404);
    let metrics = node.metrics().await;
    for name in [
        "live_connections 0",
        "live_streams 0",
        "live_draining 0",
        "live_build_info{",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
}

#[tokio::test]
async fn long_headers_are_refused() {
    let node = TestNode::start().await;
    for address in [node.addresses.internal, node.addresses.metrics] {
        let mut connection = RawConnection::connect(address).await;
        let header = format!("x: {}\r\n", "y".repeat(1_000)).repeat(60);
        connection
            .send(format!(
                "GET /livez HTTP/1.1\r\nHost: h\r\n{header}Connection: close\r\n\r\n"
            ))
            .await;
        // The answer is lost where the rest of the request is not read before it.
        let answer = connection.rest().await;
        let refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 ");
        assert!(refused, "{answer:?}");
    }
}
