//! The public HTTP port, byte by byte.

use crate::support::{Publisher, RawConnection, TestNode, request};

async fn node_with_stream() -> (TestNode, Publisher) {
    let node = TestNode::with(|config| {
        config.stream.play_wait_seconds = 0;
        config.vhosts = vec!["v.example".to_owned()];
    })
    .await;
    let publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    crate::support::eventually("the stream", || async {
        request(node.addresses.http, "HEAD", "/live/a.flv")
            .await
            .status
            == 200
    })
    .await;
    (node, publisher)
}

#[tokio::test]
async fn stream_response_has_the_headers_that_players_need() {
    let (node, _publisher) = node_with_stream().await;
    for version in ["1.0", "1.1"] {
        let mut connection = RawConnection::connect(node.addresses.http).await;
        connection
            .send(format!(
                "GET /live/a.flv?token=x HTTP/{version}\r\nHost: h\r\n\r\n"
            ))
            .await;
        let response = connection.response_header().await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-type"), Some("video/x-flv"));
        assert_eq!(response.header("connection"), Some("close"));
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("content-length"), None);
        let chunked = version == "1.1";
        assert_eq!(
            response.header("transfer-encoding"),
            chunked.then_some("chunked")
        );
        if chunked {
            while connection.take(1).await[..] != *b"\n" {}
        }
        assert_eq!(&connection.take(5).await[..], b"FLV\x01\x05");
    }
}

#[tokio::test]
async fn stream_ends_with_the_last_chunk_in_http_1_1_only() {
    let node = TestNode::with(|config| {
        config.stream.continuity_seconds = 0;
    })
    .await;
    let publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut connections = Vec::new();
    for version in ["1.0", "1.1"] {
        let mut connection = RawConnection::connect(node.addresses.http).await;
        connection
            .send(format!("GET /live/a.flv HTTP/{version}\r\nHost: h\r\n\r\n"))
            .await;
        assert_eq!(connection.response_header().await.status, 200);
        connections.push(connection);
    }
    drop(publisher);
    let [until_closed, chunked] = [connections.remove(0), connections.remove(0)];
    let ends = [until_closed, chunked].map(async |mut connection| connection.rest().await);
    let ends = futures::future::join_all(ends).await;
    assert!(!ends[0].ends_with(b"0\r\n\r\n"));
    assert!(ends[1].ends_with(b"\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn head_request_tells_whether_a_stream_exists() {
    let (node, _publisher) = node_with_stream().await;
    let there = request(node.addresses.http, "HEAD", "/live/a.flv").await;
    assert_eq!(
        (there.status, there.header("content-type")),
        (200, Some("video/x-flv"))
    );
    assert_eq!(
        request(node.addresses.http, "HEAD", "/live/none.flv")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn missing_stream_is_a_404_with_a_reason() {
    let (node, _publisher) = node_with_stream().await;
    for path in [
        "/live/none.flv",
        "/v.example/live/a.flv",
        "/live/a.flv?vhost=v.example",
    ] {
        let missing = request(node.addresses.http, "GET", path).await;
        assert_eq!(
            (missing.status, missing.text()),
            (404, "no such stream\n"),
            "{path}"
        );
    }
    assert_eq!(
        request(node.addresses.http, "GET", "/__defaultVhost__/live/a.flv")
            .await
            .status,
        200
    );
    assert_eq!(
        request(node.addresses.http, "GET", "/nothing").await.status,
        404
    );
    assert_eq!(
        request(node.addresses.http, "GET", "/.flv").await.status,
        400
    );
}

#[tokio::test]
async fn browser_may_send_requests_from_any_page() {
    let node = TestNode::start().await;
    let mut connection = RawConnection::connect(node.addresses.http).await;
    connection.send(
        "OPTIONS /live/a.flv HTTP/1.1\r\nHost: h\r\nOrigin: http://o\r\nAccess-Control-Request-Method: GET\r\n\
         Access-Control-Request-Private-Network: true\r\n\r\n",
    )
    .await;
    let response = connection.response(false).await;
    assert_eq!(response.status, 204);
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        response.header("access-control-allow-methods"),
        Some("GET, HEAD, OPTIONS")
    );
    assert_eq!(
        response.header("access-control-allow-private-network"),
        None
    );
    assert_eq!(response.header("access-control-max-age"), Some("86400"));
    assert_eq!(response.header("content-length"), None);
}

#[tokio::test]
async fn other_methods_and_bodies_are_refused() {
    let node = TestNode::start().await;
    let refused = request(node.addresses.http, "POST", "/live/a.flv").await;
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("GET, HEAD, OPTIONS"))
    );
    let mut connection = RawConnection::connect(node.addresses.http).await;
    connection
        .send("GET /live/a.flv HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde")
        .await;
    assert_eq!(connection.response(true).await.status, 400);
    assert!(connection.rest().await.is_empty());
}

#[tokio::test]
async fn connection_serves_one_request_after_another() {
    let (node, _publisher) = node_with_stream().await;
    let mut connection = RawConnection::connect(node.addresses.http).await;
    connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /streams.json HTTP/1.1\r\nHost: h\r\n\r\nGET /live/none.flv HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let page = connection.response(true).await;
    assert_eq!(
        (page.status, page.header("connection")),
        (200, Some("keep-alive"))
    );
    assert!(page.text().contains("<video"), "the player page");
    let listing = connection.response(true).await;
    assert_eq!(listing.header("content-type"), Some("application/json"));
    let listing: serde_json::Value = serde_json::from_slice(&listing.body).unwrap();
    assert_eq!(listing["streams"][0]["path"], "/live/a.flv");
    assert_eq!(
        listing["streams"][0]["codecs"],
        serde_json::json!(["H.264", "AAC"])
    );
    assert_eq!(connection.response(true).await.status, 404);
    connection
        .send("GET /live/a.flv HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(connection.response_header().await.status, 200);
}

#[tokio::test]
async fn edge_lists_the_streams_of_its_origin() {
    let (origin, _publisher) = node_with_stream().await;
    let edge = TestNode::with(|config| {
        config.role = media_config::Role::Edge;
        config.origins.addresses = vec![origin.addresses.internal.to_string()];
    })
    .await;
    let listing = request(edge.addresses.http, "GET", "/streams.json").await;
    let listing: serde_json::Value = serde_json::from_slice(&listing.body).unwrap();
    assert_eq!(listing["streams"][0]["path"], "/live/a.flv");
    assert_eq!(listing["streams"][0]["live"], true);
}
