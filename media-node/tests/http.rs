//! The public HTTP port, byte by byte.

use crate::support::{Publisher, TestNode, Wire, request};

async fn node_with_stream() -> (TestNode, Publisher) {
    let node = TestNode::with(|config| {
        config.stream.play_wait_seconds = 0;
        config.vhosts = vec!["v.example".to_owned()];
    })
    .await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send_group(0).await;
    crate::support::until("the stream", || async {
        request(node.addresses.http, "HEAD", "/live/a.flv")
            .await
            .status
            == 200
    })
    .await;
    (node, publisher)
}

#[tokio::test]
async fn a_stream_is_answered_as_players_need_it() {
    let (node, _publisher) = node_with_stream().await;
    for version in ["1.0", "1.1"] {
        let mut wire = Wire::connect(node.addresses.http).await;
        wire.send(format!("GET /live/a.flv?token=x HTTP/{version}\r\n\r\n"))
            .await;
        let answer = wire.head().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("video/x-flv"));
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-length"), None);
        let chunked = version == "1.1";
        assert_eq!(
            answer.header("transfer-encoding"),
            chunked.then_some("chunked")
        );
        if chunked {
            while wire.take(1).await[..] != *b"\n" {}
        }
        assert_eq!(&wire.take(5).await[..], b"FLV\x01\x05");
    }
}

#[tokio::test]
async fn the_end_of_a_stream_is_said_where_http_has_a_word_for_it() {
    let node = TestNode::with(|config| {
        config.stream.continuity_seconds = 0;
        config.stream.play_wait_seconds = 10;
    })
    .await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send_group(0).await;
    let mut wires = Vec::new();
    for version in ["1.0", "1.1"] {
        let mut wire = Wire::connect(node.addresses.http).await;
        wire.send(format!("GET /live/a.flv HTTP/{version}\r\n\r\n"))
            .await;
        assert_eq!(wire.head().await.status, 200);
        wires.push(wire);
    }
    drop(publisher);
    let [until_closed, chunked] = [wires.remove(0), wires.remove(0)];
    let ends = [until_closed, chunked].map(async |mut wire| wire.rest().await);
    let ends = futures::future::join_all(ends).await;
    assert!(!ends[0].ends_with(b"0\r\n\r\n"));
    assert!(ends[1].ends_with(b"\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn head_tells_whether_a_stream_is_there() {
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
async fn a_missing_stream_is_a_404_in_words() {
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
async fn browsers_may_ask_from_any_page() {
    let node = TestNode::start().await;
    let mut wire = Wire::connect(node.addresses.http).await;
    wire.send(
        "OPTIONS /live/a.flv HTTP/1.1\r\nHost: h\r\nOrigin: http://o\r\nAccess-Control-Request-Method: GET\r\n\
         Access-Control-Request-Private-Network: true\r\n\r\n",
    )
    .await;
    let answer = wire.answer(false).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        answer.header("access-control-allow-methods"),
        Some("GET, HEAD, OPTIONS")
    );
    assert_eq!(answer.header("access-control-allow-private-network"), None);
    assert_eq!(answer.header("access-control-max-age"), Some("86400"));
    assert_eq!(answer.header("content-length"), None);
}

#[tokio::test]
async fn other_methods_and_bodies_are_refused_with_a_reason() {
    let node = TestNode::start().await;
    let refused = request(node.addresses.http, "POST", "/live/a.flv").await;
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("GET, HEAD, OPTIONS"))
    );
    let mut wire = Wire::connect(node.addresses.http).await;
    wire.send("GET /live/a.flv HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde")
        .await;
    assert_eq!(wire.answer(true).await.status, 400);
    assert!(wire.rest().await.is_empty());
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let (node, _publisher) = node_with_stream().await;
    let mut wire = Wire::connect(node.addresses.http).await;
    wire.send("GET / HTTP/1.1\r\n\r\nGET /streams.json HTTP/1.1\r\n\r\nGET /live/none.flv HTTP/1.1\r\n\r\n").await;
    let page = wire.answer(true).await;
    assert_eq!(
        (page.status, page.header("connection")),
        (200, Some("keep-alive"))
    );
    assert!(page.text().contains("<video"), "the player page");
    let listing = wire.answer(true).await;
    assert_eq!(listing.header("content-type"), Some("application/json"));
    let listing: serde_json::Value = serde_json::from_slice(&listing.body).unwrap();
    assert_eq!(listing["streams"][0]["path"], "/live/a.flv");
    assert_eq!(
        listing["streams"][0]["codecs"],
        serde_json::json!(["H.264", "AAC"])
    );
    assert_eq!(wire.answer(true).await.status, 404);
    wire.send("GET /live/a.flv HTTP/1.1\r\n\r\n").await;
    assert_eq!(wire.head().await.status, 200);
}

#[tokio::test]
async fn an_edge_lists_what_its_origin_has() {
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
