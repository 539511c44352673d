//! Writes the header section of responses of the public HTTP port.

use std::fmt::Write as _;

use http::{HeaderMap, StatusCode};

use super::body::BodyFraming;

/// Returns the header section of a response whose body has a length.
pub(super) fn header(
    status: StatusCode,
    allow_origin: Option<&str>,
    headers: &[(&str, &str)],
    length: usize,
    keep_alive: bool,
) -> String {
    let mut section = begin(status, allow_origin);
    push(&mut section, "Cache-Control", "no-store");
    for (name, value) in headers {
        push(&mut section, name, value);
    }
    if status != StatusCode::NO_CONTENT {
        push(&mut section, "Content-Length", &length.to_string());
    }
    let connection = if keep_alive { "keep-alive" } else { "close" };
    push(&mut section, "Connection", connection);
    section + "\r\n"
}

/// Returns the header section of a file, which clients may keep but have to ask about again.
pub(super) fn file_header(
    status: StatusCode,
    allow_origin: Option<&str>,
    headers: &HeaderMap,
    keep_alive: bool,
) -> String {
    let mut section = begin(status, allow_origin);
    push(&mut section, "Cache-Control", "no-cache");
    for (name, value) in headers {
        push(
            &mut section,
            name.as_str(),
            value.to_str().unwrap_or_default(),
        );
    }
    let connection = if keep_alive { "keep-alive" } else { "close" };
    push(&mut section, "Connection", connection);
    section + "\r\n"
}

/// Returns the header section of a stream. The connection is closed at the stream's end.
pub(super) fn stream_header(framing: BodyFraming, allow_origin: Option<&str>) -> String {
    let mut section = begin(StatusCode::OK, allow_origin);
    push(&mut section, "Cache-Control", "no-store");
    push(&mut section, "Content-Type", "video/x-flv");
    if framing == BodyFraming::Chunked {
        push(&mut section, "Transfer-Encoding", "chunked");
    }
    push(&mut section, "Connection", "close");
    // Without it an nginx in front would buffer the stream.
    push(&mut section, "X-Accel-Buffering", "no");
    section + "\r\n"
}

/// Returns the header section that switches the connection to WebSocket, RFC 6455 section 4.2.2. Browsers close a WebSocket
/// that has offered subprotocols when the response chooses none.
pub(super) fn websocket_header(accept: &str, protocol: Option<&str>) -> String {
    let mut section = begin(StatusCode::SWITCHING_PROTOCOLS, None);
    push(&mut section, "Cache-Control", "no-store");
    push(&mut section, "Upgrade", "websocket");
    push(&mut section, "Connection", "Upgrade");
    push(&mut section, "Sec-WebSocket-Accept", accept);
    if let Some(protocol) = protocol {
        push(&mut section, "Sec-WebSocket-Protocol", protocol);
    }
    section + "\r\n"
}

fn begin(status: StatusCode, allow_origin: Option<&str>) -> String {
    let mut section = String::with_capacity(320);
    // Writing to a string does not fail.
    let _ = write!(section, "HTTP/1.1 {status}\r\n");
    let server = concat!("LiveCluster/", env!("CARGO_PKG_VERSION"));
    push(&mut section, "Server", server);
    if let Some(origin) = allow_origin {
        push(&mut section, "Access-Control-Allow-Origin", origin);
    }
    section
}

fn push(section: &mut String, name: &str, value: &str) {
    let _ = write!(section, "{name}: {value}\r\n");
}
