//! Behind load balancers with the PROXY protocol, and behind reverse proxies that name their clients in a header.

use std::path::Path;

use media_config::{ForwardedHeader, HookSettings};
use media_node::NodeConfig;
use serde_json::Value;
use tokio_rustls::rustls::version::TLS13;

use crate::support::tls::{CERTIFICATES, TlsClient, tls};
use crate::support::{
    FlvViewer, Publisher, RawConnection, Response, RtmpViewer, TestNode, balancer, eventually,
    hook_server, request, v1, v2,
};

/// Starts a media node behind load balancers at this address.
async fn balanced(change: impl FnOnce(&mut NodeConfig)) -> TestNode {
    TestNode::with(|config| {
        config.proxies.proxy_protocol_cidrs = vec!["127.0.0.0/8".to_owned()];
        change(config);
    })
    .await
}

/// Starts a media node behind reverse proxies at this address.
async fn forwarded(change: impl FnOnce(&mut NodeConfig)) -> TestNode {
    TestNode::with(|config| {
        config.proxies.forwarded_cidrs = vec!["127.0.0.0/8".to_owned()];
        change(config);
    })
    .await
}

/// Publishes a stream as a client of a load balancer.
async fn publish(node: &TestNode, header: Vec<u8>) -> Publisher {
    let rtmp = balancer(node.addresses.rtmp, header).await;
    Publisher::with_group(rtmp, "live/a").await
}

/// Returns the addresses in the list of clients, in order.
async fn peers(node: &TestNode) -> Vec<String> {
    let clients = node.api("/api/v1/clients").await;
    let clients = clients.as_array().unwrap().iter();
    let mut peers: Vec<_> = clients
        .map(|client| client["peer"].as_str().unwrap().to_owned())
        .collect();
    peers.sort();
    peers
}

async fn refused(node: &TestNode, reason: &str) -> u64 {
    let metric = format!("live_connections_refused_total{{reason=\"{reason}\"}}");
    node.metric(&metric).await
}

/// Sends a request with further headers on a connection.
async fn get(connection: &mut RawConnection, path: &str, headers: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n");
    connection.send(request).await;
    connection.response(true).await
}

#[tokio::test]
async fn clients_of_a_load_balancer_have_their_own_addresses() {
    let node = balanced(|config| config.tls = tls(Path::new(CERTIFICATES), "first")).await;
    let addresses = node.addresses;
    let _publisher = publish(&node, v1("192.0.2.1:1001")).await;
    let rtmp = balancer(addresses.rtmp, v2("192.0.2.2:1002")).await;
    let mut rtmp = RtmpViewer::start(rtmp, "live/a").await;
    let http = balancer(addresses.http, v2("192.0.2.3:1003")).await;
    let mut http = FlvViewer::open(http, "/live/a.flv").await;
    let client = TlsClient::new(&["first"], &TLS13);
    let rtmps = balancer(addresses.rtmps, v1("[2001:db8::4]:1004")).await;
    let mut rtmps = RtmpViewer::start(client.tunnel(rtmps).await, "live/a").await;
    let https = balancer(addresses.https, v2("192.0.2.5:1005")).await;
    let mut https = FlvViewer::open(client.tunnel(https).await, "/live/a.flv").await;
    for first in [
        rtmp.numbered().await,
        http.numbered().await,
        rtmps.numbered().await,
        https.numbered().await,
    ] {
        assert_eq!(first, Some((0, 0)));
    }
    let expected = [
        "192.0.2.1:1001",
        "192.0.2.2:1002",
        "192.0.2.3:1003",
        "192.0.2.5:1005",
        "[2001:db8::4]:1004",
    ];
    assert_eq!(peers(&node).await, expected);
}

#[tokio::test]
async fn limits_lists_and_hooks_see_the_clients_of_a_load_balancer() {
    let (server, mut callbacks) = hook_server(|_| ("200 OK", "0")).await;
    let node = balanced(|config| {
        config.limits.max_connections_per_address = 1;
        config.auth.play.cidrs.deny_cidrs = vec!["192.0.2.66/32".to_owned()];
        config.auth.publish.hook = Some(HookSettings {
            url: format!("http://{server}/"),
            timeout_seconds: 30,
            failure_policy: media_config::FailurePolicy::Deny,
        });
    })
    .await;
    let _publisher = publish(&node, v2("192.0.2.1:9")).await;
    let callback: Value = callbacks.recv().await.unwrap();
    assert_eq!(callback["ip"], "192.0.2.1");
    let status = async |client: &str| {
        let http = balancer(node.addresses.http, v1(client)).await;
        request(http, "HEAD", "/live/a.flv").await.status
    };
    assert_eq!(status("192.0.2.1:10").await, 503);
    assert_eq!(refused(&node, "address_connections").await, 1);
    assert_eq!(status("192.0.2.66:9").await, 403);
    assert_eq!(status("192.0.2.2:9").await, 200);
}

#[tokio::test]
async fn load_balancer_without_a_header_is_refused_with_a_reason() {
    let node = balanced(|config| config.tls = tls(Path::new(CERTIFICATES), "first")).await;
    let reason =
        "this media node expects a PROXY header from your address, see proxies.proxyProtocolCidrs";
    let response = request(node.addresses.http, "GET", "/").await;
    assert_eq!((response.status, response.text().trim()), (503, reason));
    let status = Publisher::try_start(node.addresses.rtmp, "live/a").await;
    assert_eq!(status.err().expect("a refusal").description, reason);
    let mut tls = RawConnection::connect(node.addresses.https).await;
    tls.send(b"\x16\x03\x01\x02\x00").await;
    assert!(tls.rest().await.is_empty());
    assert_eq!(refused(&node, "proxy_header_missing").await, 3);
    // The ports of probes and metrics need none.
    assert_eq!(
        request(node.addresses.internal, "GET", "/readyz")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn malformed_and_late_headers_close_the_connection() {
    let node = balanced(|config| config.limits.handshake_timeout_seconds = 3).await;
    for (header, reason) in [
        (
            &b"PROXY TCP4 nowhere\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"[..],
            "proxy_header_invalid",
        ),
        (b"PROXY TCP4 192.0.2.1 ", "proxy_header_timeout"),
        (b"", "proxy_header_timeout"),
    ] {
        let before = refused(&node, reason).await;
        let mut connection = RawConnection::connect(node.addresses.http).await;
        connection.send(header).await;
        assert!(connection.rest().await.is_empty());
        eventually("it is counted", async || {
            refused(&node, reason).await == before + 1
        })
        .await;
    }
}

#[tokio::test]
async fn load_balancer_itself_is_a_client_without_a_limit() {
    let node = balanced(|config| config.limits.max_connections_per_address = 1).await;
    let mut kept = Vec::new();
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut connection = RawConnection::connect(node.addresses.http).await;
        connection.send(header).await;
        assert_eq!(get(&mut connection, "/", "").await.status, 200);
        kept.push(connection);
    }
    // A health check that only connects is no fault.
    drop(RawConnection::connect(node.addresses.http).await);
    let mut last = RawConnection::connect(node.addresses.http).await;
    last.send(b"PROXY UNKNOWN\r\n").await;
    assert_eq!(get(&mut last, "/", "").await.status, 200);
    for reason in ["missing", "invalid", "timeout"] {
        assert_eq!(refused(&node, &format!("proxy_header_{reason}")).await, 0);
    }
}

#[tokio::test]
async fn header_of_a_peer_that_is_not_trusted_is_refused_as_its_bytes() {
    let node = TestNode::with(|config| {
        config.proxies.proxy_protocol_cidrs = vec!["192.0.2.0/24".to_owned()];
    })
    .await;
    let http = balancer(node.addresses.http, v1("192.0.2.1:9")).await;
    assert_eq!(request(http, "GET", "/").await.status, 400);
    let mut rtmp = RawConnection::connect(node.addresses.rtmp).await;
    rtmp.send(v2("192.0.2.1:9")).await;
    assert!(rtmp.rest().await.is_empty());
    assert_eq!(refused(&node, "request").await, 1);
    assert_eq!(refused(&node, "protocol").await, 1);
}

#[tokio::test]
async fn clients_of_a_reverse_proxy_have_their_own_addresses_and_limits() {
    let node = forwarded(|config| config.limits.max_connections_per_address = 1).await;
    let publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let play = async |client: &str| {
        let mut connection = RawConnection::connect(node.addresses.http).await;
        let headers = format!("X-Forwarded-For: 203.0.113.9, {client}\r\n");
        let request = format!("GET /live/a.flv HTTP/1.1\r\nHost: test\r\n{headers}\r\n");
        connection.send(request).await;
        (connection.response_header().await.status, connection)
    };
    let (status, first) = play("192.0.2.1").await;
    assert_eq!(status, 200);
    let (status, _) = play("192.0.2.1").await;
    assert_eq!(status, 503);
    assert_eq!(refused(&node, "address_connections").await, 1);
    let (status, _second) = play("192.0.2.2").await;
    assert_eq!(status, 200);
    let own = publisher.0.socket.local_addr().unwrap().to_string();
    assert_eq!(
        peers(&node).await,
        [own.as_str(), "192.0.2.1:0", "192.0.2.2:0"]
    );

    // A request counts until it is answered, and a stream until it ends.
    let mut shared = RawConnection::connect(node.addresses.http).await;
    for client in ["192.0.2.3", "192.0.2.3", "192.0.2.4", "192.0.2.3"] {
        let headers = format!("X-Forwarded-For: {client}\r\n");
        assert_eq!(get(&mut shared, "/", &headers).await.status, 200);
    }
    drop(first);
    eventually("the first viewer has left", async || {
        play("192.0.2.1").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn reverse_proxy_that_names_no_address_is_refused_with_a_reason() {
    let node =
        forwarded(|config| config.proxies.forwarded_header = ForwardedHeader::Forwarded).await;
    let mut connection = RawConnection::connect(node.addresses.http).await;
    let response = get(&mut connection, "/", "Forwarded: for=nonsense\r\n").await;
    let reason = "the header of the proxy does not name the client's address\n";
    assert_eq!((response.status, response.text()), (400, reason));
    assert!(connection.rest().await.is_empty());
    assert_eq!(refused(&node, "forwarded_header").await, 1);
    // The other header is the client's own.
    let mut connection = RawConnection::connect(node.addresses.http).await;
    let headers = "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: nonsense\r\n";
    assert_eq!(get(&mut connection, "/", headers).await.status, 200);
}

#[tokio::test]
async fn header_of_a_client_that_is_no_proxy_is_ignored() {
    let node = TestNode::with(|config| {
        config.auth.play.cidrs.allow_cidrs = vec!["192.0.2.0/24".to_owned()];
        config.proxies.forwarded_cidrs = vec!["10.0.0.0/8".to_owned()];
    })
    .await;
    let mut connection = RawConnection::connect(node.addresses.http).await;
    let response = get(
        &mut connection,
        "/streams.json",
        "X-Forwarded-For: 192.0.2.1\r\n",
    )
    .await;
    assert_eq!(response.status, 403);
}
