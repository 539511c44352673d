//! RTMPS, HTTPS-FLV and WSS, with a client of a TLS library: streams, renewal of the certificate, failed handshakes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use media_node::{Node, NodeConfig, Timings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::support::tls::{CERTIFICATES, TlsClient, VERSIONS, certificate, tls};
use crate::support::{
    Clip, FlvViewer, Protocol, Publisher, RawConnection, RtmpViewer, Start, TestNode,
    assert_complete, assert_stalled_viewer_is_disconnected, begin, ended, eventually, finish,
    publish, replace_file, request, watch_at, within_deadline,
};

/// Keyframes that neither a socket nor the buffer of TLS accepts in one write.
const LARGE: Clip = Clip {
    keyframe: 2_000_000,
    ..Clip::PLAIN
};

async fn node(change: impl FnOnce(&mut NodeConfig)) -> TestNode {
    TestNode::with(|config| {
        config.tls = tls(Path::new(CERTIFICATES), "first");
        change(config);
    })
    .await
}

#[tokio::test]
async fn streams_are_complete_by_both_versions_of_tls() {
    for version in VERSIONS {
        let node = node(|config| {
            config.stream.window_seconds = 60;
            config.stream.continuity_seconds = 1;
        })
        .await;
        let client = TlsClient::new(&["first"], version);
        let rtmp = client.tunnel(node.addresses.rtmps).await;
        let http = client.tunnel(node.addresses.https).await;
        let mut publisher = Publisher::start(rtmp, "live/tls").await;
        let clip = LARGE.messages(50);
        let mut viewers = [Protocol::Flv, Protocol::Rtmp]
            .map(|protocol| watch_at(rtmp, http, "live/tls", protocol));
        let rest = begin(&mut publisher, &clip, &mut viewers).await;
        publish(&mut publisher, rest, 10).await;
        finish(publisher).await;
        for received in ended(viewers.into()).await {
            assert_complete(&clip, &received, Start::Beginning);
        }
    }
}

#[tokio::test]
async fn page_and_websocket_are_served_by_tls() {
    let node = node(|_| {}).await;
    let client = TlsClient::new(&["first"], &TLS13);
    let http = client.tunnel(node.addresses.https).await;
    assert_eq!(request(http, "GET", "/").await.status, 200);
    let rtmp = client.tunnel(node.addresses.rtmps).await;
    let _publisher = Publisher::with_group(rtmp, "live/a").await;
    let mut websocket = RawConnection::connect(http).await;
    websocket
        .send(
            "GET /live/a.flv HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        .await;
    assert_eq!(websocket.response_header().await.status, 101);
    // A binary frame.
    assert_eq!(websocket.take(1).await[0], 0x82);
    let stream = client.connect(node.addresses.https).await.unwrap();
    let protocol = stream.get_ref().1.alpn_protocol();
    assert_eq!(protocol, Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn ports_without_tls_can_be_closed() {
    let node = node(|config| {
        config.listen.rtmp = None;
        config.listen.http = None;
    })
    .await;
    assert_eq!(
        (node.addresses.rtmp.port(), node.addresses.http.port()),
        (0, 0)
    );
    let client = TlsClient::new(&["first"], &TLS13);
    let rtmp = client.tunnel(node.addresses.rtmps).await;
    let _publisher = Publisher::start(rtmp, "live/a").await;
}

/// Starts a media node that looks for another certificate in the folder 50 times a second.
async fn node_that_renews(folder: &Path) -> TestNode {
    copy_certificate("first", folder);
    let timings = Timings {
        key_poll: Duration::from_millis(20),
        ..Timings::default()
    };
    TestNode::with_timings(timings, |config| config.tls = tls(folder, "tls")).await
}

#[tokio::test]
async fn renewed_certificate_is_served_and_connections_stay() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = node_that_renews(folder).await;
    let client = TlsClient::new(&["first", "second"], &TLS13);
    let served = async || {
        let stream = client.connect(node.addresses.https).await.unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        chain[0].clone().into_owned()
    };
    assert_eq!(served().await, certificate("first"));
    let mut publisher =
        Publisher::with_group(client.tunnel(node.addresses.rtmps).await, "live/a").await;
    let http = client.tunnel(node.addresses.https).await;
    let mut viewer = FlvViewer::open(http, "/live/a.flv").await;
    assert_eq!(viewer.numbered().await.unwrap().0, 0);

    copy_certificate("second", folder);
    eventually("the second certificate", async || {
        served().await == certificate("second")
    })
    .await;
    let errors = "live_tls_certificate_reloads_total{result=\"error\"}";
    // A reload between the copies of the two files has failed, too.
    let before = node.metric(errors).await;
    let failed = async |times: u64| {
        eventually("a failed reload", async || {
            node.metric(errors).await == before + times
        })
        .await;
        assert_eq!(served().await, certificate("second"));
    };
    replace_file(&folder.join("tls.crt"), "no certificate");
    failed(1).await;
    fs::remove_file(folder.join("tls.key")).unwrap();
    failed(2).await;

    // The media node still has the connections of the first certificate.
    publisher.send_group(10).await;
    while viewer.numbered().await.unwrap().0 < 19 {}
    let metrics = node.metrics().await;
    let mut failed = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("live_tls_handshakes_failed_total{"));
    assert!(failed.all(|line| line.ends_with("} 0")), "{metrics}");
    let expiry = metrics
        .lines()
        .find_map(|line| line.strip_prefix("live_tls_certificate_expiry_timestamp_seconds "));
    let expiry: i64 = expiry.unwrap().parse().unwrap();
    assert!(expiry > 4_900_000_000, "{expiry}");
}

#[tokio::test]
async fn sessions_are_resumed_until_the_certificate_is_renewed() {
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let node = node_that_renews(folder).await;
        let client = TlsClient::new(&["first", "second"], version);
        // A client has its ticket when it has read the response.
        let handshake = async || {
            let mut stream = client.connect(node.addresses.https).await.unwrap();
            let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
            stream.write_all(request).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
            stream.get_ref().1.handshake_kind()
        };
        assert_eq!(handshake().await, Some(HandshakeKind::Full));
        assert_eq!(handshake().await, Some(HandshakeKind::Resumed));
        copy_certificate("second", folder);
        let reloaded = "live_tls_certificate_reloads_total{result=\"success\"} 1";
        eventually(reloaded, async || node.metrics().await.contains(reloaded)).await;
        eventually("a whole handshake", async || {
            handshake().await == Some(HandshakeKind::Full)
        })
        .await;
        assert_eq!(handshake().await, Some(HandshakeKind::Resumed));
    }
}

#[tokio::test]
async fn clients_of_rtmps_get_no_ticket_after_their_handshake() {
    let node = node(|_| {}).await;
    let client = TlsClient::new(&["first"], &TLS13);
    for _ in 0..2 {
        let mut stream = client.connect(node.addresses.rtmps).await.unwrap();
        let hello = [&[3][..], &[0; 1536]].concat();
        stream.write_all(&hello).await.unwrap();
        stream.read_exact(&mut [0; 1 + 2 * 1536]).await.unwrap();
        let handshake = stream.get_ref().1.handshake_kind();
        assert_eq!(handshake, Some(HandshakeKind::Full));
    }
}

/// Writes a certificate and its key as `tls.crt` and `tls.key`.
fn copy_certificate(name: &str, folder: &Path) {
    for ending in ["crt", "key"] {
        let from = format!("{CERTIFICATES}/{name}.{ending}");
        fs::copy(from, folder.join(format!("tls.{ending}"))).unwrap();
    }
}

#[tokio::test]
async fn failed_handshakes_are_counted_by_reason() {
    let node = node(|config| config.limits.handshake_timeout_seconds = 3).await;
    // A client without TLS, a client that does not trust the certificate, one that leaves, and a silent one.
    let mut plain = RawConnection::connect(node.addresses.rtmps).await;
    plain.send([3; 1537]).await;
    let mut plain = RawConnection::connect(node.addresses.https).await;
    plain.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let distrusting = TlsClient::new(&["second"], &TLS12);
    assert!(distrusting.connect(node.addresses.https).await.is_err());
    drop(RawConnection::connect(node.addresses.https).await);
    let mut silent = RawConnection::connect(node.addresses.rtmps).await;
    assert!(silent.rest().await.is_empty());
    for counted in [
        "{reason=\"not_tls\"} 2",
        "{reason=\"certificate\"} 1",
        "{reason=\"closed\"} 1",
        "{reason=\"timeout\"} 1",
    ] {
        let counted = format!("live_tls_handshakes_failed_total{counted}");
        eventually(&counted, async || node.metrics().await.contains(&counted)).await;
    }
}

#[tokio::test]
async fn handshake_and_first_request_have_one_time_limit() {
    let node = node(|config| config.limits.handshake_timeout_seconds = 3).await;
    let client = TlsClient::new(&["first"], &TLS13);
    for address in [node.addresses.rtmps, node.addresses.https] {
        let mut silent = client.connect(address).await.unwrap();
        let end = within_deadline("the end", silent.read(&mut [0; 16])).await;
        assert!(!matches!(end, Ok(read) if read > 0), "{end:?}");
    }
}

#[tokio::test]
async fn handshakes_give_way_to_newer_connections() {
    // Two workers would begin the handshakes of connections in any order.
    let node = node(|config| {
        config.workers = 1;
        config.limits.max_connections = 160;
    })
    .await;
    let mut oldest = RawConnection::connect(node.addresses.https).await;
    let mut others = Vec::new();
    for _ in 0..16 {
        others.push(RawConnection::connect(node.addresses.https).await);
    }
    assert!(oldest.rest().await.is_empty());
    let exceeded = "live_limits_exceeded_total{limit=\"idle_connections\"} 1";
    assert!(node.metrics().await.contains(exceeded));
}

#[tokio::test]
async fn connection_over_the_limit_is_refused_with_a_reason() {
    let node = node(|config| config.limits.max_connections = 1).await;
    let client = TlsClient::new(&["first"], &TLS13);
    let rtmp = client.tunnel(node.addresses.rtmps).await;
    let _publisher = Publisher::start(rtmp, "live/a").await;
    let refused = RtmpViewer::try_start(rtmp, "live/a").await.err().unwrap();
    assert_eq!(refused.code, "NetConnection.Connect.Rejected");
    let http = client.tunnel(node.addresses.https).await;
    assert_eq!(request(http, "GET", "/").await.status, 503);
}

#[tokio::test]
async fn stalled_viewer_is_disconnected() {
    let node = node(|config| config.limits.stall_timeout_seconds = 1).await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let client = TlsClient::new(&["first"], &TLS13);
    let http = client.tunnel(node.addresses.https).await;
    assert_stalled_viewer_is_disconnected(&node, &mut publisher, http).await;
}

#[tokio::test]
async fn unusable_certificate_is_refused_with_its_field() {
    let folder = Path::new(CERTIFICATES);
    let mut wrong_key = tls(folder, "first").unwrap();
    wrong_key.key = folder.join("second.key");
    let mut swapped = tls(folder, "first").unwrap();
    std::mem::swap(&mut swapped.certificate, &mut swapped.key);
    for (settings, named) in [
        (tls(folder, "third").unwrap(), "tls.certificate: "),
        (wrong_key, "tls.key: "),
        (swapped, "tls.certificate: "),
    ] {
        let config = NodeConfig {
            tls: Some(settings),
            ..NodeConfig::default()
        };
        let error = Node::bind(config).await.err().unwrap().to_string();
        assert!(error.starts_with(named), "{error}");
    }
}
