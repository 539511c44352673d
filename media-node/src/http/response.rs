//! Writes the header section of responses of the public HTTP port.

use std::fmt::Write as _;

use http::{HeaderMap, StatusCode};

use super::body::BodyFraming;

/// The status of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HttpStatus(u16, &'static str);

impl HttpStatus {
    const SWITCHING_PROTOCOLS: Self = Self(101, "Switching Protocols");
    pub(super) const OK: Self = Self(200, "OK");
    pub(super) const MOVED: Self = Self(308, "Permanent Redirect");
    pub(super) const NO_CONTENT: Self = Self(204, "No Content");
    pub(super) const BAD_REQUEST: Self = Self(400, "Bad Request");
    pub(super) const UNAUTHORIZED: Self = Self(401, "Unauthorized");
    pub(super) const FORBIDDEN: Self = Self(403, "Forbidden");
    pub(super) const NOT_FOUND: Self = Self(404, "Not Found");
    pub(super) const METHOD_NOT_ALLOWED: Self = Self(405, "Method Not Allowed");
    pub(super) const REQUEST_TIMEOUT: Self = Self(408, "Request Timeout");
    pub(super) const URI_TOO_LONG: Self = Self(414, "URI Too Long");
    pub(super) const UPGRADE_REQUIRED: Self = Self(426, "Upgrade Required");
    pub(super) const HEADERS_TOO_LARGE: Self = Self(431, "Request Header Fields Too Large");
    pub(super) const UNAVAILABLE: Self = Self(503, "Service Unavailable");
}

impl From<StatusCode> for HttpStatus {
    fn from(status: StatusCode) -> Self {
        Self(
            status.as_u16(),
            status.canonical_reason().unwrap_or("Unknown"),
        )
    }
}

/// Returns the header section of a response whose body has a length.
pub(super) fn header(
    status: HttpStatus,
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
    if status != HttpStatus::NO_CONTENT {
        push(&mut section, "Content-Length", &length.to_string());
    }
    let connection = if keep_alive { "keep-alive" } else { "close" };
    push(&mut section, "Connection", connection);
    section + "\r\n"
}

/// Returns the header section of a file, which clients may keep but have to ask about again.
pub(super) fn file_header(
    status: HttpStatus,
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
    let mut section = begin(HttpStatus::OK, allow_origin);
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
    let mut section = begin(HttpStatus::SWITCHING_PROTOCOLS, None);
    push(&mut section, "Cache-Control", "no-store");
    push(&mut section, "Upgrade", "websocket");
    push(&mut section, "Connection", "Upgrade");
    push(&mut section, "Sec-WebSocket-Accept", accept);
    if let Some(protocol) = protocol {
        push(&mut section, "Sec-WebSocket-Protocol", protocol);
    }
    section + "\r\n"
}

fn begin(status: HttpStatus, allow_origin: Option<&str>) -> String {
    let mut section = String::with_capacity(320);
    // Writing to a string does not fail.
    let _ = write!(section, "HTTP/1.1 {} {}\r\n", status.0, status.1);
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
