//! Parses the header section of requests to the public HTTP port.

mod target;

use http::header::{IF_MODIFIED_SINCE, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use self::target::{host, split_target};

/// The maximum bytes of a request's header section. A player's is below 1 KiB, a browser's with cookies below 8 KiB.
pub(super) const MAX_HEADER_BYTES: usize = 8 * 1024;

/// The maximum number of headers of a request.
const MAX_HEADERS: usize = 64;

/// Headers that matter for files.
const FILE_HEADERS: [HeaderName; 4] = [RANGE, IF_RANGE, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

/// A request without a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HttpRequest {
    pub(super) method: HttpMethod,
    /// Path and query.
    pub(super) target: String,
    /// Host and port that the request is for.
    pub(super) host: Option<String>,
    pub(super) agent: String,
    pub(super) authorization: Option<String>,
    /// The site of the page that sends the request.
    pub(super) origin: Option<String>,
    /// The page that embeds the player.
    pub(super) referer: Option<String>,
    /// Whether the connection may serve another request.
    pub(super) keep_alive: bool,
    /// Whether it is HTTP/1.1, all of whose clients decode chunked bodies (RFC 9112, section 7.1).
    pub(super) supports_chunked: bool,
    /// Whether a body follows. No request of this port may have one.
    pub(super) has_body: bool,
    /// The WebSocket handshake, if the request is one.
    pub(super) websocket: Option<WebSocketHandshake>,
    /// Headers of requests for files: ranges and conditions.
    pub(super) file_headers: HeaderMap,
    /// All values of `X-Forwarded-For`, with commas between them.
    pub(super) x_forwarded_for: Option<String>,
    /// The same of `Forwarded`.
    pub(super) forwarded: Option<String>,
    /// Whether a browser asks if a public page may connect to this private address.
    pub(super) requests_private_network: bool,
}

/// The methods that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpMethod {
    Get,
    Head,
    Options,
    Other,
}

/// A client's WebSocket handshake, RFC 6455 section 4.1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WebSocketHandshake {
    pub(super) key: String,
    pub(super) version: String,
    /// The first of the subprotocols that the client offers.
    pub(super) protocol: Option<String>,
}

/// Reason that a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    /// Not HTTP/1.
    #[error("not an HTTP/1 request")]
    Malformed,
    /// A client of another protocol.
    #[error("{0}")]
    Protocol(&'static str),
    /// A proxy before this port could see other lines than this port does.
    #[error("each line of a request ends with CR LF")]
    LineEnd,
    /// RFC 9112, section 3.2: a proxy before this port could read another host than this port.
    #[error("a request of HTTP/1.1 has exactly one header Host, with a host and optionally a port")]
    Host,
    /// The request line exceeds the limit.
    #[error("the request target is too long")]
    TargetTooLong,
    /// The headers exceed the limit.
    #[error("the request's headers are too large")]
    TooLarge,
}

impl RequestError {
    /// Returns the status of the response.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::Protocol(_) | Self::LineEnd | Self::Host => {
                StatusCode::BAD_REQUEST
            }
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }
}

/// Parses a request. Returns it with its length in bytes, or `None` while it is incomplete.
pub(super) fn parse(input: &[u8]) -> Result<Option<(HttpRequest, usize)>, RequestError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let section = input.get(..MAX_HEADER_BYTES).unwrap_or(input);
    match request.parse(section) {
        Ok(httparse::Status::Complete(length)) => {
            let lines = section.get(..length).unwrap_or(section);
            if has_bare_line_feed(lines) {
                return Err(RequestError::LineEnd);
            }
            Ok(Some((read(&request, host(&request)?), length)))
        }
        Ok(httparse::Status::Partial) if input.len() < MAX_HEADER_BYTES => Ok(None),
        Ok(httparse::Status::Partial) if section.contains(&b'\n') => Err(RequestError::TooLarge),
        Ok(httparse::Status::Partial) => Err(RequestError::TargetTooLong),
        Err(httparse::Error::TooManyHeaders) => Err(RequestError::TooLarge),
        Err(_) => Err(malformed(section)),
    }
}

/// Returns the error of bytes that are not a request. Protocols that clients confuse with HTTP/1 are recognized by their first bytes.
fn malformed(input: &[u8]) -> RequestError {
    match input {
        [0x16, ..] => RequestError::Protocol("the client uses TLS, HTTPS has another port"),
        [3, ..] => RequestError::Protocol("the client uses RTMP, which has another port"),
        _ if input.starts_with(b"PRI * HTTP/2") => {
            RequestError::Protocol("the client uses HTTP/2, use HTTP/1.1")
        }
        _ => RequestError::Malformed,
    }
}

fn has_bare_line_feed(lines: &[u8]) -> bool {
    let mut before = 0;
    lines
        .iter()
        .any(|byte| std::mem::replace(&mut before, *byte) != b'\r' && *byte == b'\n')
}

/// Returns the values of all headers with this name.
fn values<'a>(
    request: &'a httparse::Request<'_, '_>,
    name: &str,
) -> impl Iterator<Item = &'a [u8]> {
    let headers = request.headers.iter();
    let named = headers.filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value)
}

/// Returns the first value of a header, if it is text.
fn first<'a>(request: &'a httparse::Request<'_, '_>, name: &str) -> Option<&'a str> {
    let value = values(request, name).next()?;
    std::str::from_utf8(value).ok().map(str::trim)
}

/// Returns all values of a header with commas between them: a proxy may add a line, or append to the last one. Bytes that are not text
/// become characters that no value may have.
fn joined(request: &httparse::Request<'_, '_>, name: &str) -> Option<String> {
    let values = values(request, name);
    let values = values.map(|value| String::from_utf8_lossy(value).into_owned());
    values.reduce(|all, value| all + "," + &value)
}

/// Returns whether the values of a header list this one.
fn lists(request: &httparse::Request<'_, '_>, name: &str, wanted: &str) -> bool {
    let listed = joined(request, name).unwrap_or_default();
    let mut listed = listed.split(',');
    listed.any(|value| value.trim().eq_ignore_ascii_case(wanted))
}

fn read(request: &httparse::Request<'_, '_>, host: Option<String>) -> HttpRequest {
    let header = |name: &str| first(request, name);
    let (_, target) = split_target(request.path.unwrap_or_default());
    let keep_alive = match request.version {
        Some(1) => !lists(request, "Connection", "close"),
        _ => lists(request, "Connection", "keep-alive"),
    };
    HttpRequest {
        method: match request.method {
            Some("GET") => HttpMethod::Get,
            Some("HEAD") => HttpMethod::Head,
            Some("OPTIONS") => HttpMethod::Options,
            _ => HttpMethod::Other,
        },
        target: target.to_owned(),
        host,
        agent: header("User-Agent").unwrap_or_default().to_owned(),
        authorization: header("Authorization").map(str::to_owned),
        origin: header("Origin").map(str::to_owned),
        referer: header("Referer").map(str::to_owned),
        keep_alive,
        supports_chunked: request.version == Some(1),
        has_body: request.headers.iter().any(announces_body),
        websocket: websocket(request),
        file_headers: FILE_HEADERS
            .iter()
            .filter_map(|name| {
                let value = HeaderValue::from_str(header(name.as_str())?).ok()?;
                Some((name.clone(), value))
            })
            .collect(),
        x_forwarded_for: joined(request, "X-Forwarded-For"),
        forwarded: joined(request, "Forwarded"),
        requests_private_network: header("Access-Control-Request-Private-Network").is_some(),
    }
}

/// Returns the WebSocket handshake of a request, if it is one. HTTP/1.0 has no upgrades (RFC 9110, section 7.8).
fn websocket(request: &httparse::Request<'_, '_>) -> Option<WebSocketHandshake> {
    let may_upgrade = request.method == Some("GET") && request.version == Some(1);
    let is_websocket = may_upgrade
        && lists(request, "Upgrade", "websocket")
        && lists(request, "Connection", "upgrade");
    let header = |name: &str| first(request, name).unwrap_or_default().to_owned();
    is_websocket.then(|| WebSocketHandshake {
        key: header("Sec-WebSocket-Key"),
        version: header("Sec-WebSocket-Version"),
        protocol: joined(request, "Sec-WebSocket-Protocol")
            .and_then(|offered| Some(offered.split(',').next()?.trim().to_owned()))
            .filter(|protocol| is_token(protocol)),
    })
}

/// Returns whether a text is a token (RFC 9110, section 5.6.2), which can be repeated in a response.
fn is_token(text: &str) -> bool {
    HeaderName::try_from(text).is_ok()
}

/// Returns whether a header announces a body. A header that cannot be read counts as well: a proxy before this port could read it in
/// another way, and what it takes for a body would be the next request here.
fn announces_body(header: &httparse::Header<'_>) -> bool {
    header.name.eq_ignore_ascii_case("Transfer-Encoding")
        || header.name.eq_ignore_ascii_case("Content-Length") && header.value.trim_ascii() != b"0"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> HttpRequest {
        parse(text.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn request_of_a_player_is_parsed() {
        let request =
            request("GET /live/a.flv?token=x HTTP/1.1\r\nHost: h:8080\r\nUser-Agent: Lavf\r\n\r\n");
        assert_eq!(request.target, "/live/a.flv?token=x");
        assert_eq!(request.host.as_deref(), Some("h:8080"));
        assert_eq!(
            (request.agent.as_str(), request.keep_alive, request.has_body),
            ("Lavf", true, false)
        );
    }

    #[test]
    fn http_1_0_closes_unless_keep_alive_is_requested() {
        assert!(!request("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(request("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
        assert!(!request("GET / HTTP/1.0\r\n\r\n").supports_chunked);
        assert!(request("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").supports_chunked);
        assert!(!request("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").keep_alive);
    }

    #[test]
    fn line_without_carriage_return_is_refused() {
        let lines = "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";
        assert!(parse(lines.as_bytes()).unwrap().is_some());
        for (at, _) in lines.match_indices('\r') {
            let mut bytes = lines.as_bytes().to_vec();
            bytes.remove(at);
            assert_eq!(parse(&bytes), Err(RequestError::LineEnd), "{at}");
        }
        assert_eq!(
            parse(b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            Err(RequestError::LineEnd)
        );
    }

    #[test]
    fn each_line_of_a_list_counts() {
        let request = request(
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
        );
        assert!(!request.keep_alive);
    }

    #[test]
    fn only_a_get_request_of_http_1_1_opens_a_websocket() {
        let opens = |line: &str| {
            let text =
                format!("{line}\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            request(&text).websocket.is_some()
        };
        assert!(opens("GET /live/a.flv HTTP/1.1"));
        assert!(!opens("GET /live/a.flv HTTP/1.0") && !opens("HEAD /live/a.flv HTTP/1.1"));
    }

    #[test]
    fn every_prefix_of_a_request_is_incomplete() {
        let text = b"GET /live/a.flv HTTP/1.1\r\nHost: h\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn each_limit_has_its_own_error() {
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_HEADER_BYTES));
        assert_eq!(parse(long.as_bytes()), Err(RequestError::TargetTooLong));
        let large = format!(
            "GET / HTTP/1.1\r\nCookie: {}\r\n\r\n",
            "a".repeat(MAX_HEADER_BYTES)
        );
        assert_eq!(parse(large.as_bytes()), Err(RequestError::TooLarge));
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "A: b\r\n".repeat(MAX_HEADERS + 1)
        );
        assert_eq!(parse(many.as_bytes()), Err(RequestError::TooLarge));
        assert_eq!(parse(b"\0\0\0\0\0"), Err(RequestError::Malformed));
    }

    #[test]
    fn client_of_another_protocol_gets_its_name() {
        for (bytes, name) in [
            (&b"\x16\x03\x01\x02\0\x01"[..], "TLS"),
            (b"\x03\0\0\0\0", "RTMP"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
        ] {
            let error = parse(bytes).unwrap_err();
            let begin = format!("the client uses {name}, ");
            assert!(error.to_string().starts_with(&begin), "{error}");
        }
    }

    #[test]
    fn body_is_announced_by_every_header_that_another_reader_could_take_for_one() {
        let has_body = |headers: &[u8]| {
            let text = [&b"GET / HTTP/1.1\r\nHost: h\r\n"[..], headers, b"\r\n"].concat();
            parse(&text).unwrap().unwrap().0.has_body
        };
        assert!(!has_body(b"") && !has_body(b"Content-Length: 0\r\n"));
        for headers in [
            &b"Content-Length: 1\r\n"[..],
            b"Content-Length: 0\r\ncontent-length: 1\r\n",
            b"Content-Length: \xE9\r\n",
            b"Content-Length:\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\xE9\r\n",
            b"Content-Length: 0\r\nTRANSFER-ENCODING: x\r\n",
        ] {
            assert!(has_body(headers), "{}", headers.escape_ascii());
        }
    }

    #[test]
    fn websocket_handshake_of_a_browser_is_parsed() {
        let request = request(
            "GET /live/a.flv HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        let handshake = request.websocket.unwrap();
        assert_eq!(
            (handshake.key.as_str(), handshake.version.as_str()),
            ("dGhlIHNhbXBsZSBub25jZQ==", "13")
        );
        assert_eq!(handshake.protocol, None);
    }

    #[test]
    fn first_subprotocol_of_a_websocket_is_read() {
        let protocol = |headers: &str| {
            let text = format!(
                "GET /live/a.flv HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{headers}\r\n"
            );
            request(&text).websocket.unwrap().protocol
        };
        let offered = "Sec-WebSocket-Protocol: Flv, b\r\nSec-WebSocket-Protocol: c\r\n";
        assert_eq!(protocol(offered).as_deref(), Some("Flv"));
        for invalid in ["", "a b", "é", ",a"] {
            let header = format!("Sec-WebSocket-Protocol: {invalid}\r\n");
            assert_eq!(protocol(&header), None, "{invalid}");
        }
    }
}
