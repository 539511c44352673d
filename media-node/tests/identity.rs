//! Who may use the internal port of media nodes that share a secret.

use std::path::{Path, PathBuf};

use media_node::{Node, NodeConfig, Timings};
use tempfile::TempDir;

use crate::support::{
    FlvViewer, Publisher, RawConnection, Response, TestNode, eventually, replace_file, request,
};

const SECRET: &str = "a secret of the tests with at least 32 bytes";

struct Secret {
    _folder: TempDir,
    path: PathBuf,
}

impl Secret {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, text).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }
}

/// Keys are read again soon.
fn timings() -> Timings {
    Timings {
        key_poll: std::time::Duration::from_millis(20),
        ..Timings::default()
    }
}

async fn node(secret: &Path, change: impl FnOnce(&mut NodeConfig)) -> TestNode {
    TestNode::with_timings(timings(), |config| {
        config.identity.secret_file = Some(secret.to_owned());
        change(config);
    })
    .await
}

async fn edge(secret: &Path, origin: &TestNode, play_wait_seconds: u32) -> TestNode {
    let origin = origin.addresses.internal.to_string();
    node(secret, |config| {
        config.stream.play_wait_seconds = play_wait_seconds;
        config.role = media_config::Role::Edge;
        config.origins.addresses = vec![origin];
    })
    .await
}

/// Sends a request with further headers to the internal port.
async fn ask(node: &TestNode, method: &str, path: &str, headers: &str) -> Response {
    let mut connection = RawConnection::connect(node.addresses.internal).await;
    let host = node.addresses.internal;
    let text =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    connection.send(text).await;
    connection.response(true).await
}

fn operator(secret: &Path) -> String {
    let mut config = NodeConfig::default();
    config.identity.secret_file = Some(secret.to_owned());
    let token = Node::api_token(&config).unwrap().unwrap();
    format!("Authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn media_nodes_with_the_secret_relay_and_others_do_not() {
    let (secret, other) = (Secret::new(SECRET), Secret::new(&SECRET.replace('a', "b")));
    let origin = node(&secret.path, |_| {}).await;
    let member = edge(&secret.path, &origin, 60).await;
    let stranger = edge(&other.path, &origin, 1).await;
    let _pulled = Publisher::with_group(origin.addresses.rtmp, "live/pulled").await;
    let _forwarded = Publisher::with_group(member.addresses.rtmp, "live/forwarded").await;
    let mut pulling = FlvViewer::open(member.addresses.http, "/live/pulled.flv").await;
    let mut forwarding = FlvViewer::open(origin.addresses.http, "/live/forwarded.flv").await;
    assert_eq!(pulling.numbered().await, Some((0, 0)));
    assert_eq!(forwarding.numbered().await, Some((0, 0)));

    let missing = request(stranger.addresses.http, "GET", "/live/pulled.flv").await;
    assert_eq!(missing.status, 404);
    let refused = Publisher::try_start(stranger.addresses.rtmp, "live/forged").await;
    assert!(refused.is_err(), "no origin accepts the stream");
    let metric = "live_internal_requests_refused_total{reason=\"token\"}";
    assert!(origin.metric(metric).await > 0);
}

#[tokio::test]
async fn internal_port_refuses_requests_without_a_token_except_probes() {
    let secret = Secret::new(SECRET);
    let origin = node(&secret.path, |_| {}).await;
    let mut publisher = Publisher::with_group(origin.addresses.rtmp, "live/a").await;
    let stream = "app=live&stream=a";
    for (method, path) in [
        ("GET", "/api/v1/summary".to_owned()),
        ("GET", "/api/v1/streams".to_owned()),
        ("GET", "/api/v1/clients".to_owned()),
        ("DELETE", "/api/v1/clients/1".to_owned()),
        ("GET", format!("/relay/v1/publication?{stream}")),
        ("GET", format!("/relay/v1/pull?{stream}")),
        (
            "POST",
            format!("/relay/v1/supersede?{stream}&epoch=99999999999999999"),
        ),
        (
            "POST",
            format!("/relay/v1/forward?{stream}&epoch=99999999999999999"),
        ),
        ("GET", "/nothing".to_owned()),
    ] {
        let refused = ask(&origin, method, &path, "").await;
        assert_eq!(refused.status, 401, "{method} {path}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        let answer: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(answer["reason"], "no_credential");
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(ask(&origin, "GET", path, "").await.status, 200);
    }
    publisher.send_group(10).await;
    let operator = operator(&secret.path);
    let clients = ask(&origin, "GET", "/api/v1/clients", &operator).await;
    let clients: serde_json::Value = serde_json::from_slice(&clients.body).unwrap();
    assert_eq!(clients.as_array().unwrap().len(), 1);
    // The operator's token does not relay.
    let pull = format!("/relay/v1/pull?{stream}");
    assert_eq!(ask(&origin, "GET", &pull, &operator).await.status, 403);
    let path = format!("/api/v1/clients/{}", clients[0]["id"]);
    assert_eq!(ask(&origin, "DELETE", &path, &operator).await.status, 200);
    assert!(publisher.0.closed_with().await.is_some());
}

#[tokio::test]
async fn client_that_guesses_needs_a_new_connection_for_each_attempt() {
    let secret = Secret::new(SECRET);
    let node = node(&secret.path, |_| {}).await;
    let mut connection = RawConnection::connect(node.addresses.internal).await;
    let attempt = "GET /api/v1/summary HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer a.b.c\r\n\r\n";
    connection.send(attempt.repeat(3)).await;
    let response = connection.response(true).await;
    assert_eq!(
        (response.status, response.header("connection")),
        (401, Some("close"))
    );
    assert!(connection.rest().await.is_empty());
    let refused = "live_internal_requests_refused_total{reason=\"token\"}";
    assert_eq!(node.metric(refused).await, 1);
}

#[tokio::test]
async fn browsers_are_refused_on_every_internal_port() {
    let node = TestNode::start().await;
    for address in [node.addresses.internal, node.addresses.metrics] {
        for headers in [
            "Host: rebound.example:9090\r\n",
            "Host: 127.0.0.1\r\nOrigin: http://page.example\r\n",
            "Host: 127.0.0.1\r\nSec-Fetch-Site: cross-site\r\n",
        ] {
            let mut connection = RawConnection::connect(address).await;
            let text = format!("GET /livez HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
            connection.send(text).await;
            assert_eq!(connection.response(true).await.status, 403, "{headers}");
        }
        let mut connection = RawConnection::connect(address).await;
        connection.send("GET /livez HTTP/1.1\r\n\r\n").await;
        assert_eq!(connection.response(true).await.status, 400);
    }
}

#[tokio::test]
async fn metrics_port_has_no_other_route() {
    let node = TestNode::start().await;
    let metrics = request(node.addresses.metrics, "GET", "/metrics").await;
    assert!(metrics.text().contains("live_build_info"));
    let internal = request(node.addresses.internal, "GET", "/metrics").await;
    assert_eq!(internal.status, 404);
    for path in ["/livez", "/api/v1/summary", "/relay/v1/pull", "/"] {
        let other = request(node.addresses.metrics, "GET", path).await;
        assert_eq!(other.status, 404, "{path}");
    }
}

#[tokio::test]
async fn rotation_of_the_secret_loses_no_message() {
    let secrets = [Secret::new(SECRET), Secret::new(SECRET)];
    let origin = node(&secrets[0].path, |_| {}).await;
    let edge = edge(&secrets[1].path, &origin, 60).await;
    let mut publisher = Publisher::with_group(origin.addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(edge.addresses.http, "/live/a.flv").await;
    let new = "another secret of the tests with 32 bytes";
    // Old and new side by side on all media nodes, then the new one signs, then the old one is gone.
    for (step, text) in [
        format!("{SECRET}\n{new}\n"),
        format!("{new}\n{SECRET}\n"),
        format!("{new}\n"),
    ]
    .iter()
    .enumerate()
    {
        for secret in &secrets {
            replace_file(&secret.path, text);
        }
        let group = u32::try_from(step).unwrap() * 10 + 10;
        publisher.send_group(group).await;
        // A stream that the edge does not have yet needs a token of now.
        let name = format!("live/new-{step}");
        let _another = Publisher::with_group(origin.addresses.rtmp, &name).await;
        eventually("the edge pulls with a token of the new files", async || {
            let path = format!("/{name}.flv");
            request(edge.addresses.http, "HEAD", &path).await.status == 200
        })
        .await;
    }
    let operator = operator(&secrets[0].path);
    eventually("the old secret is gone", async || {
        ask(&origin, "GET", "/api/v1/summary", &operator)
            .await
            .status
            == 200
    })
    .await;
    for number in 0..40 {
        assert_eq!(viewer.numbered().await.unwrap().0, number);
    }
}
