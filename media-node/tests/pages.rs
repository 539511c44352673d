//! A user's own pages beside the streams: `http.directory`.

use std::fs;

use media_node::NodeConfig;
use tempfile::TempDir;

use crate::support::{Publisher, RawConnection, Response, TestNode, eventually, request};

const CROSSDOMAIN: &str =
    "<cross-domain-policy><allow-access-from domain=\"*\"/></cross-domain-policy>";

/// Returns a media node with a folder of pages.
async fn node(files: &[(&str, &str)]) -> (TestNode, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let file = directory.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    let path = directory.path().to_owned();
    let node = TestNode::with(|config: &mut NodeConfig| {
        config.http.directory = Some(path);
        config.stream.play_wait_seconds = 0;
    })
    .await;
    (node, directory)
}

async fn get(node: &TestNode, path: &str, headers: &str) -> Response {
    let mut connection = RawConnection::connect(node.addresses.http).await;
    let close = "Connection: close";
    let text = format!("GET {path} HTTP/1.1\r\nHost: test\r\n{close}\r\n{headers}\r\n");
    connection.send(text).await;
    connection.response(true).await
}

#[tokio::test]
async fn pages_are_served_with_their_types_and_index_replaces_the_player_page() {
    let files = [
        ("index.html", "<h1>mine</h1>"),
        ("crossdomain.xml", CROSSDOMAIN),
        ("app/main.js", "1"),
    ];
    let (node, _directory) = node(&files).await;
    for (path, media_type, content) in [
        ("/", "text/html", "<h1>mine</h1>"),
        ("/index.html?x=1", "text/html", "<h1>mine</h1>"),
        ("/crossdomain.xml", "text/xml", CROSSDOMAIN),
        ("/app/main.js", "text/javascript", "1"),
    ] {
        let response = get(&node, path, "").await;
        assert_eq!((response.status, response.text()), (200, content), "{path}");
        assert_eq!(response.header("content-type"), Some(media_type), "{path}");
        assert_eq!(response.header("cache-control"), Some("no-cache"), "{path}");
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    }
    assert_eq!(get(&node, "/none.html", "").await.status, 404);
    assert_eq!(
        get(&node, "/app/%2e%2e/%2e%2e/etc/passwd", "").await.status,
        404
    );
}

#[tokio::test]
async fn pages_never_shadow_streams_the_list_or_the_player() {
    let files = [
        ("live/a.flv", "not a stream"),
        ("streams.json", "not the list"),
        ("player/player.js", "not the player"),
    ];
    let (node, _directory) = node(&files).await;
    assert_eq!(get(&node, "/live/a.flv", "").await.status, 404);
    let _publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    eventually("the stream", async || {
        let head = request(node.addresses.http, "HEAD", "/live/a.flv").await;
        head.status == 200
    })
    .await;
    let mut connection = RawConnection::connect(node.addresses.http).await;
    connection
        .send("GET /live/a.flv HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    let stream = connection.response_header().await;
    assert_eq!(stream.header("content-type"), Some("video/x-flv"));
    assert!(
        get(&node, "/streams.json", "")
            .await
            .text()
            .contains("instance")
    );
    assert!(
        get(&node, "/player/player.js", "")
            .await
            .text()
            .contains("mpegts")
    );
    assert!(
        get(&node, "/", "")
            .await
            .text()
            .contains("player/player.js")
    );
}

#[tokio::test]
async fn ranges_and_conditions_are_answered() {
    let (node, _directory) = node(&[("clip.mp4", "0123456789"), ("sub/index.html", "s")]).await;
    let whole = get(&node, "/clip.mp4", "").await;
    assert_eq!(
        (whole.status, whole.header("accept-ranges")),
        (200, Some("bytes"))
    );
    let modified = whole.header("last-modified").unwrap();

    let part = get(&node, "/clip.mp4", "Range: bytes=2-4\r\n").await;
    assert_eq!((part.status, part.text()), (206, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    let beyond = get(&node, "/clip.mp4", "Range: bytes=20-\r\n").await;
    assert_eq!(beyond.status, 416);
    let etag = whole.header("etag").unwrap();
    for (condition, status, content) in [
        ("\"x\"", 200, "0123456789"),
        (etag, 206, "234"),
        (modified, 206, "234"),
    ] {
        let headers = format!("Range: bytes=2-4\r\nIf-Range: {condition}\r\n");
        let response = get(&node, "/clip.mp4", &headers).await;
        let answer = (response.status, response.text());
        assert_eq!(answer, (status, content), "{condition}");
    }
    for range in ["items=2-4", "bytes=2-4,6-7", "bytes=a-b", "bytes=-"] {
        let response = get(&node, "/clip.mp4", &format!("Range: {range}\r\n")).await;
        let answer = (response.status, response.text());
        assert_eq!(answer, (200, "0123456789"), "{range}");
    }
    let since = format!("If-Modified-Since: {modified}\r\n");
    let unchanged = get(&node, "/clip.mp4", &since).await;
    assert_eq!(
        (unchanged.status, unchanged.header("content-length")),
        (304, None)
    );
    let head = request(node.addresses.http, "HEAD", "/clip.mp4").await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("10"))
    );
    let folder = get(&node, "/sub", "").await;
    assert_eq!(
        (folder.status, folder.header("location")),
        (308, Some("./sub/"))
    );
    assert_eq!(get(&node, "/sub/", "").await.text(), "s");
}

#[tokio::test]
async fn large_page_is_sent_whole_and_the_connection_is_used_again() {
    let large = "x".repeat(1 << 20);
    let (node, _directory) = node(&[("large.txt", &large), ("small.txt", "small")]).await;
    let mut connection = RawConnection::connect(node.addresses.http).await;
    for (path, content) in [("/large.txt", large.as_str()), ("/small.txt", "small")] {
        connection
            .send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .await;
        assert!(connection.response(true).await.text() == content, "{path}");
    }
}

#[tokio::test]
async fn folder_that_does_not_exist_is_named() {
    let mut config = NodeConfig::default();
    config.http.directory = Some("/does/not/exist".into());
    let error = media_node::Node::bind(config).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "http.directory: /does/not/exist is not a folder that can be read"
    );
}
