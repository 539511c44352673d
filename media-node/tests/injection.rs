//! Texts of clients, wherever they are shown: in logs of both formats, the API, lists and metrics. None forges a line or a field, and
//! none controls a terminal.

use media_wire::amf0::Value;
use serde_json::Value as Json;

use crate::support::raw_rtmp::{HANDSHAKE, command, connect};
use crate::support::{
    FlvViewer, Process, Publisher, RawConnection, connect_from_elsewhere, eventually, request, v2,
};

/// Characters that control terminals, separate lines, or show text in another order.
const PLANTED: &str = "a\u{1b}[31m\r\n{\"forged\":1}\t\u{7f}\u{85}\u{9b}31m\u{2028}\u{2029}\u{61c}\u{200e}\u{202e}\u{2066}b";

/// The name of a stream: without control characters, which are refused.
const NAME: &str = "x\"}\\\u{2028}\u{202e}\u{200f}y";

/// The same as a path.
const PATH: &str = "/live/x%22%7D%5C%E2%80%A8%E2%80%AE%E2%80%8Fy.flv";

fn is_unsafe(character: char) -> bool {
    let is_control = character.is_control() && character != '\n';
    let marks = [
        '\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{202e}', '\u{2066}',
    ];
    is_control || marks.contains(&character)
}

fn assert_safe(what: &str, text: &str) {
    let found = text.chars().find(|character| is_unsafe(*character));
    assert_eq!(found, None, "{what}: {text:?}");
}

/// Sends planted texts in every field of every protocol.
async fn plant(node: &Process) {
    let fields = ["app", "tcUrl", "pageUrl", "flashVer", "swfUrl"];
    for app in ["live", PLANTED] {
        let mut properties = fields.map(|name| (name, PLANTED));
        properties[0].1 = app;
        for name in [PLANTED.to_owned(), format!("{NAME}2"), PLANTED.repeat(100)] {
            for action in ["publish", "play", PLANTED] {
                let mut connection = RawConnection::connect(node.rtmp).await;
                let request = [action.into(), 3.0.into(), Value::Null, name.as_str().into()];
                let sent = [&HANDSHAKE[..], &connect(&properties), &command(&request)].concat();
                connection.send(sent).await;
                while connection.input.len() < 3073 + 200 && connection.read().await {}
            }
        }
    }
    // What no header may have is refused, and hides the rest.
    let allowed = |it: &char| *it == '\t' || !it.is_ascii_control();
    let allowed: String = PLANTED.chars().filter(allowed).collect();
    let line: String = PLANTED.chars().filter(|it| !"\r\n".contains(*it)).collect();
    let headers = [
        "User-Agent",
        "Referer",
        "Origin",
        "Authorization",
        "Cookie",
        "X-Forwarded-For",
    ];
    for name in headers {
        for path in [
            PATH,
            "/live/a%0A%1B%5B31m%C2%9B.flv",
            "/%E2%80%AE",
            "/streams.json",
        ] {
            for line in [&line, &allowed] {
                let mut connection = RawConnection::connect(node.http).await;
                let head = format!("GET {path} HTTP/1.0\r\nHost: h\r\n{name}: {line}\r\n\r\n");
                connection.send(head).await;
                assert!(connection.read().await, "an answer");
            }
        }
    }
    // An extension of a PROXY header: type, length, value.
    let mut header = v2("192.0.2.1:9");
    let text = PLANTED.as_bytes();
    let length = u8::try_from(text.len()).unwrap();
    header.extend([&[0xE0, 0, length], text].concat());
    header[15] += 3 + length;
    for header in [header, [b"PROXY ", text].concat()] {
        let mut connection = RawConnection::over(connect_from_elsewhere(node.http).await);
        connection.send(header).await;
        connection.send("GET / HTTP/1.0\r\n\r\n").await;
        connection.rest().await;
    }
}

#[tokio::test]
async fn texts_of_clients_forge_no_line_and_no_field() {
    for format in ["text", "json"] {
        let lines = format!(
            "stream: {{playWaitSeconds: 5, publishIdleTimeoutSeconds: 600}}\n\
             log: {{level: debug, format: {format}}}\nmetrics: {{streams: 9}}\n\
             proxies: {{proxyProtocolCidrs: [127.0.0.2], forwardedCidrs: [127.0.0.1]}}\n"
        );
        let mut node = Process::start_with("", &lines).await;
        let _publisher = Publisher::with_group(node.rtmp, &format!("live/{NAME}")).await;
        let mut viewer = FlvViewer::open(node.http, PATH).await;
        assert!(viewer.numbered().await.is_some());
        plant(&node).await;
        // The encoder and the viewer.
        let clients = "live_connections";
        eventually(clients, async || node.metric(clients).await == 2).await;
        assert_shown_safely(&node).await;
        let log = node.log();
        assert_safe("the log", &log);
        for line in log.lines() {
            let forged = match format {
                "json" => serde_json::from_str::<Json>(line)
                    .unwrap()
                    .get("forged")
                    .is_some(),
                _ => !line.starts_with("20"),
            };
            assert!(!forged, "{line}");
        }
        node.assert_healthy();
    }
}

/// Asserts that the name of a stream and its clients are shown as they are, and safely.
async fn assert_shown_safely(node: &Process) {
    for (port, path) in [
        (node.internal, "/api/v1/streams"),
        (node.internal, "/api/v1/clients"),
        (node.http, "/streams.json"),
    ] {
        let response = request(port, "GET", path).await;
        assert_safe(path, response.text());
        let shown: Json = serde_json::from_str(response.text()).unwrap();
        let streams = shown.get("streams").unwrap_or(&shown);
        let name = &streams[0][if path.ends_with("clients") {
            "stream"
        } else {
            "name"
        }];
        assert!(name.as_str().unwrap().ends_with(NAME), "{name}");
    }
    let metrics = request(node.metrics, "GET", "/metrics").await;
    assert_safe("/metrics", metrics.text());
    let label = "live_stream_viewers{stream=\"live/x\\\"}\\\\";
    assert!(metrics.text().contains(label), "{}", metrics.text());
}
