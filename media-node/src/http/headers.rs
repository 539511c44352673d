//! The head of a request to the public HTTP port: bytes in, what was asked for out; and the heads of answers.

use std::fmt::Write as _;

use super::body::Body;

/// Bytes of a request's head: a player's is below 1 KiB, a browser's with cookies below 8.
pub(crate) const MAX_HEAD: usize = 8 * 1024;

/// Header lines of a request.
const MAX_HEADERS: usize = 64;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) host: Option<String>,
    pub(crate) agent: String,
    /// Whether the connection may serve another request.
    pub(crate) keep_alive: bool,
    /// Whether it is HTTP/1.1, all of whose clients understand chunks (RFC 9112, section 7.1).
    pub(crate) knows_chunks: bool,
    /// Whether a body follows, which no request here may have.
    pub(crate) has_body: bool,
    /// The request is the opening of a WebSocket.
    pub(crate) websocket: Option<Opening>,
    /// A browser asks whether a public page may reach this private address.
    pub(crate) asks_private_network: bool,
}

/// The methods that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Options,
    Other,
}

/// The opening handshake of a WebSocket, RFC 6455 section 4.1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) key: String,
    pub(crate) version: String,
}

/// Why a request is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    /// Not HTTP/1.
    #[error("not an HTTP/1 request")]
    Malformed,
    /// The request line does not fit.
    #[error("the address is too long")]
    TargetTooLong,
    /// The headers do not fit.
    #[error("the request's headers are too large")]
    TooLarge,
}

impl HeadError {
    pub(crate) fn status(self) -> Status {
        match self {
            Self::Malformed => Status::BAD_REQUEST,
            Self::TargetTooLong => Status::URI_TOO_LONG,
            Self::TooLarge => Status::HEADERS_TOO_LARGE,
        }
    }
}

/// Reads a head and says how many bytes it had; `None` when it is not complete yet.
pub(crate) fn parse(input: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = input.get(..MAX_HEAD).unwrap_or(input);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) => Ok(Some((read(&request), length))),
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => Ok(None),
        Ok(httparse::Status::Partial) if head.contains(&b'\n') => Err(HeadError::TooLarge),
        Ok(httparse::Status::Partial) => Err(HeadError::TargetTooLong),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLarge),
        Err(_) => Err(HeadError::Malformed),
    }
}

fn read(request: &httparse::Request<'_, '_>) -> Head {
    let field = |name: &str| {
        let header = request
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok().map(str::trim)
    };
    let lists = |name: &str, wanted: &str| {
        let mut words = field(name).unwrap_or_default().split(',');
        words.any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    let opens_websocket = lists("Upgrade", "websocket") && lists("Connection", "upgrade");
    let keep_alive = match request.version {
        Some(1) => !lists("Connection", "close"),
        _ => lists("Connection", "keep-alive"),
    };
    Head {
        method: match request.method {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            Some("OPTIONS") => Method::Options,
            _ => Method::Other,
        },
        target: origin_form(request.path.unwrap_or_default()).to_owned(),
        host: field("Host").map(str::to_owned),
        agent: field("User-Agent").unwrap_or_default().to_owned(),
        keep_alive,
        knows_chunks: request.version == Some(1),
        has_body: field("Transfer-Encoding").is_some()
            || field("Content-Length").is_some_and(|length| length != "0"),
        websocket: opens_websocket.then(|| Opening {
            key: field("Sec-WebSocket-Key").unwrap_or_default().to_owned(),
            version: field("Sec-WebSocket-Version")
                .unwrap_or_default()
                .to_owned(),
        }),
        asks_private_network: field("Access-Control-Request-Private-Network").is_some(),
    }
}

/// A proxy's client may write the whole URL, RFC 9112 section 3.2.2.
fn origin_form(target: &str) -> &str {
    match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => rest
            .find('/')
            .map_or("/", |slash| rest.get(slash..).unwrap_or("/")),
        _ => target,
    }
}

/// The status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u16, &'static str);

impl Status {
    pub(crate) const OK: Self = Self(200, "OK");
    pub(crate) const NO_CONTENT: Self = Self(204, "No Content");
    pub(crate) const BAD_REQUEST: Self = Self(400, "Bad Request");
    pub(crate) const NOT_FOUND: Self = Self(404, "Not Found");
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self(405, "Method Not Allowed");
    pub(crate) const REQUEST_TIMEOUT: Self = Self(408, "Request Timeout");
    pub(crate) const URI_TOO_LONG: Self = Self(414, "URI Too Long");
    pub(crate) const UPGRADE_REQUIRED: Self = Self(426, "Upgrade Required");
    pub(crate) const HEADERS_TOO_LARGE: Self = Self(431, "Request Header Fields Too Large");
    pub(crate) const UNAVAILABLE: Self = Self(503, "Service Unavailable");
}

/// The head of an answer that has a length.
pub(crate) fn answer(
    status: Status,
    fields: &[(&str, &str)],
    length: usize,
    keep_alive: bool,
) -> String {
    let mut head = begin(status);
    for (name, value) in fields {
        line(&mut head, name, value);
    }
    if status != Status::NO_CONTENT {
        line(&mut head, "Content-Length", &length.to_string());
    }
    line(
        &mut head,
        "Connection",
        if keep_alive { "keep-alive" } else { "close" },
    );
    head.push_str("\r\n");
    head
}

/// The head in front of a stream; the connection ends with it.
pub(crate) fn stream(body: Body) -> String {
    let mut head = begin(Status::OK);
    line(&mut head, "Content-Type", "video/x-flv");
    if body == Body::Chunked {
        line(&mut head, "Transfer-Encoding", "chunked");
    }
    line(&mut head, "Connection", "close");
    // nginx in front would collect the stream in its buffers.
    line(&mut head, "X-Accel-Buffering", "no");
    head.push_str("\r\n");
    head
}

/// The head that turns the connection into a WebSocket, RFC 6455 section 4.2.2.
pub(crate) fn switch_to_websocket(accept: &str) -> String {
    let mut head = begin(Status(101, "Switching Protocols"));
    line(&mut head, "Upgrade", "websocket");
    line(&mut head, "Connection", "Upgrade");
    line(&mut head, "Sec-WebSocket-Accept", accept);
    head.push_str("\r\n");
    head
}

fn begin(status: Status) -> String {
    let mut head = String::with_capacity(320);
    // Writing to a string does not fail.
    let _ = write!(head, "HTTP/1.1 {} {}\r\n", status.0, status.1);
    line(
        &mut head,
        "Server",
        concat!("LiveCluster/", env!("CARGO_PKG_VERSION")),
    );
    line(&mut head, "Access-Control-Allow-Origin", "*");
    line(&mut head, "Cache-Control", "no-store");
    head
}

fn line(head: &mut String, name: &str, value: &str) {
    let _ = write!(head, "{name}: {value}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        parse(text.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn a_player_asks_for_a_stream() {
        let head =
            head("GET /live/a.flv?token=x HTTP/1.1\r\nHost: h:8080\r\nUser-Agent: Lavf\r\n\r\n");
        assert_eq!(head.target, "/live/a.flv?token=x");
        assert_eq!(head.host.as_deref(), Some("h:8080"));
        assert_eq!(
            (head.agent.as_str(), head.keep_alive, head.has_body),
            ("Lavf", true, false)
        );
    }

    #[test]
    fn http_1_0_closes_unless_asked_otherwise() {
        assert!(!head("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(head("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
        assert!(!head("GET / HTTP/1.0\r\n\r\n").knows_chunks);
        assert!(head("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").knows_chunks);
        assert!(!head("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").keep_alive);
    }

    #[test]
    fn a_whole_url_is_as_good_as_a_path() {
        assert_eq!(
            head("GET http://h/live/a.flv HTTP/1.1\r\n\r\n").target,
            "/live/a.flv"
        );
        assert_eq!(
            head("GET /live/a.flv?x=http://h/ HTTP/1.1\r\n\r\n").target,
            "/live/a.flv?x=http://h/"
        );
    }

    #[test]
    fn every_part_of_a_head_is_not_yet_a_head() {
        let text = b"GET /live/a.flv HTTP/1.1\r\nHost: h\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn limits_have_their_own_answers() {
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_HEAD));
        assert_eq!(parse(long.as_bytes()), Err(HeadError::TargetTooLong));
        let large = format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "a".repeat(MAX_HEAD));
        assert_eq!(parse(large.as_bytes()), Err(HeadError::TooLarge));
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "A: b\r\n".repeat(MAX_HEADERS + 1)
        );
        assert_eq!(parse(many.as_bytes()), Err(HeadError::TooLarge));
        assert_eq!(parse(b"\x03\0\0\0\0"), Err(HeadError::Malformed));
    }

    #[test]
    fn a_browser_opens_a_websocket() {
        let head = head(
            "GET /live/a.flv HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        let opening = head.websocket.unwrap();
        assert_eq!(
            (opening.key.as_str(), opening.version.as_str()),
            ("dGhlIHNhbXBsZSBub25jZQ==", "13")
        );
    }
}
