//! Requests that a proxy before a port can understand in another way than the port does: each gets one response, the connection ends,
//! and nothing behind it is taken for a request.

use std::net::SocketAddr;
use std::time::Duration;

use media_node::Timings;

use crate::support::tls::{self, CERTIFICATES, TlsClient, VERSIONS};
use crate::support::{Publisher, RawConnection, TestNode};

/// A request behind each of the others. It must not be answered.
const SECOND: &str = "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n";

/// Requests with the status of the public ports.
const MALFORMED: &[(u16, &str)] = &[
    // The host.
    (400, "GET / HTTP/1.1\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: h, i\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: user@h\r\n\r\n"),
    (400, "GET http://user@h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    // Lines and headers.
    (400, "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: h\r\nA\0: b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n"),
    (400, "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n"),
    (400, "G@T / HTTP/1.1\r\nHost: h\r\n\r\n"),
    (400, "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
    // Versions.
    (400, "GET /\r\n\r\n"),
    (400, "GET / HTTP/1.2\r\nHost: h\r\n\r\n"),
    (400, "GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
    (400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
];

/// The same that the internal ports, where no proxy is, understand in one way.
const MALFORMED_IN_PUBLIC: &[(u16, &str)] = &[
    (400, "GET / HTTP/1.1\nHost: h\n\n"),
    (400, "GET / HTTP/1.1\r\nHost: h\r\nA: b\nC: d\r\n\r\n"),
];

/// Requests with a body, or with headers that can be read as one.
const WITH_BODY: &[(u16, &str)] = &[
    (
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde",
    ),
    (
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    ),
    (
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nabcde",
    ),
    (
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nabcde",
    ),
    (
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
    ),
    (
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ),
    (
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n",
    ),
    (
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nx",
    ),
    (
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        405,
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nabcde",
    ),
    (
        204,
        "OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde",
    ),
];

/// Returns the status of each response to a request and the one behind it.
async fn statuses(port: SocketAddr, request: &str) -> Vec<u16> {
    let mut connection = RawConnection::connect(port).await;
    connection.send([request, SECOND].concat()).await;
    let answer = connection.rest().await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let responses = text.split("HTTP/1.1 ").skip(1);
    // The text of a refusal names the version as well.
    responses
        .filter_map(|it| it.get(..3)?.parse().ok())
        .collect()
}

async fn node() -> TestNode {
    let timings = Timings {
        internal_header_timeout: Duration::from_secs(5),
        ..Timings::default()
    };
    TestNode::with_timings(timings, |config| {
        config.limits.handshake_timeout_seconds = 20;
        config.tls = tls::tls(CERTIFICATES.as_ref(), "first");
    })
    .await
}

#[tokio::test]
async fn public_ports_refuse_malformed_requests_and_what_is_behind_them() {
    let node = node().await;
    let https = TlsClient::new(&["first"], VERSIONS[1]);
    let https = https.tunnel(node.addresses.https).await;
    let requests = [MALFORMED, MALFORMED_IN_PUBLIC, WITH_BODY].concat();
    for (status, request) in requests {
        for port in [node.addresses.http, https] {
            assert_eq!(statuses(port, request).await, [status], "{request:?}");
        }
    }
}

#[tokio::test]
async fn internal_ports_refuse_malformed_requests_and_what_is_behind_them() {
    let node = node().await;
    for port in [node.addresses.internal, node.addresses.metrics] {
        for (_, request) in MALFORMED {
            let statuses = statuses(port, request).await;
            // hyper answers nothing to the beginning of HTTP/2.
            let refused = matches!(statuses[..], [] | [400 | 403]);
            assert!(refused, "{request:?}: {statuses:?}");
        }
        for (_, request) in WITH_BODY {
            let statuses = statuses(port, request).await;
            assert_eq!(statuses.len(), 1, "{request:?}: {statuses:?}");
        }
    }
}

#[tokio::test]
async fn what_follows_the_request_for_a_stream_is_no_request() {
    let node = TestNode::with(|config| config.stream.continuity_seconds = 0).await;
    let publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut connections = Vec::new();
    for headers in ["", websocket] {
        let mut connection = RawConnection::connect(node.addresses.http).await;
        let request = format!("GET /live/a.flv HTTP/1.1\r\nHost: h\r\n{headers}\r\n{SECOND}");
        connection.send(request).await;
        let status = connection.response_header().await.status;
        assert_eq!(status, if headers.is_empty() { 200 } else { 101 });
        connections.push(connection);
    }
    publisher.finish().await;
    for mut connection in connections {
        let rest = connection.rest().await;
        let answered = rest.windows(5).any(|bytes| bytes == b"HTTP/");
        assert!(!answered, "{}", rest.escape_ascii());
    }
}
