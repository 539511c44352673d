//! The client of a request that a reverse proxy forwards: `X-Forwarded-For` or `Forwarded` (RFC 7239) names it.
//!
//! Clients may send these headers themselves. Each proxy appends the address that its connection comes from, so the list is read from
//! its end, for as long as trusted proxies wrote the entries: the first address that is not one of theirs is the client.

use std::io;
use std::net::{IpAddr, SocketAddr};

use http::StatusCode;
use media_config::ForwardedHeader;
use tokio::time::Instant;
use tracing::{Span, debug, debug_span};

use super::connection::{AfterResponse, HttpConnection, ResponseMode, TEXT};
use super::request::HttpRequest;
use crate::delivery::socket::canonical;
use crate::proxies::Proxies;
use crate::state::address_limits::AddressLimit;

/// Trusted proxies that a request may have passed. More are a loop.
const MAX_PROXIES: usize = 16;

/// Reason that a request of a reverse proxy is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClientRefusal {
    /// A trusted proxy wrote something else than addresses.
    #[error("the header of the proxy does not name the client's address")]
    Invalid,
    #[error("the request has passed more than {MAX_PROXIES} proxies")]
    TooManyProxies,
    #[error("{}", .0.reason())]
    Limit(AddressLimit),
}

impl ClientRefusal {
    /// Value of the metric's label `reason`.
    fn label(self) -> &'static str {
        match self {
            Self::Invalid | Self::TooManyProxies => "forwarded_header",
            Self::Limit(limit) => limit.label(),
        }
    }
}

impl HttpConnection {
    /// Determines the client of a request. A reverse proxy's connection counts as one of this client until the request is answered.
    pub(super) fn identify_client(&mut self, request: &HttpRequest) -> Result<(), ClientRefusal> {
        self.client_permit = None;
        self.client = self.peer;
        let Some(client) = client(&self.context.proxies, self.peer.ip(), request)? else {
            return Ok(());
        };
        self.client = client;
        let now = Instant::now().into_std();
        let admitted = self.context.addresses.admit(client.ip(), now);
        self.client_permit = Some(admitted.map_err(ClientRefusal::Limit)?);
        Ok(())
    }

    /// Returns the span of a request whose client is not the peer.
    pub(super) fn client_span(&self) -> Span {
        if self.client == self.peer {
            Span::none()
        } else {
            debug_span!("forwarded", client = %self.client.ip())
        }
    }

    /// Refuses a request, and closes the connection.
    pub(super) async fn refuse_client(
        &mut self,
        refusal: ClientRefusal,
    ) -> io::Result<AfterResponse> {
        let refused = &self.context.metrics.connections.refused;
        refused.of([refusal.label()]).inc();
        debug!(client = %self.client.ip(), reason = %refusal, "request refused");
        let line = format!("{refusal}\n");
        let mut headers = vec![("Content-Type", TEXT)];
        let status = match refusal {
            ClientRefusal::Limit(_) => {
                headers.push(("Retry-After", "5"));
                StatusCode::SERVICE_UNAVAILABLE
            }
            ClientRefusal::Invalid | ClientRefusal::TooManyProxies => StatusCode::BAD_REQUEST,
        };
        let mode = ResponseMode::CLOSING;
        self.respond(status, &headers, line.as_bytes(), mode).await
    }
}

/// Returns the client that trusted proxies name, with the port 0 where they name none. `None` when the peer is no trusted proxy, or
/// none of them knows the client.
fn client(
    proxies: &Proxies,
    peer: IpAddr,
    request: &HttpRequest,
) -> Result<Option<SocketAddr>, ClientRefusal> {
    if !proxies.is_reverse_proxy(peer) {
        return Ok(None);
    }
    let list = match proxies.header {
        ForwardedHeader::XForwardedFor => request.x_forwarded_for.as_deref(),
        ForwardedHeader::Forwarded => request.forwarded.as_deref(),
    };
    let entries = list.unwrap_or_default().rsplit(',').map(str::trim);
    let entries = entries.filter(|entry| !entry.is_empty());
    for (passed, entry) in entries.enumerate() {
        if passed == MAX_PROXIES {
            return Err(ClientRefusal::TooManyProxies);
        }
        let node = match proxies.header {
            ForwardedHeader::XForwardedFor => entry,
            ForwardedHeader::Forwarded => match forwarded_for(entry) {
                Some(node) => node,
                None => return Ok(None),
            },
        };
        // RFC 7239, section 6: `unknown`, or an identifier that hides the address.
        if node.eq_ignore_ascii_case("unknown") || node.starts_with('_') {
            return Ok(None);
        }
        let client = address(node).ok_or(ClientRefusal::Invalid)?;
        if !proxies.is_reverse_proxy(client.ip()) {
            return Ok(Some(client));
        }
    }
    Ok(None)
}

/// Returns the parameter `for` of one proxy, RFC 7239 section 4.
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let is_for = name.trim().eq_ignore_ascii_case("for");
        is_for.then(|| value.trim().trim_matches('"'))
    })
}

/// Parses an address, with or without a port, and that of IPv6 with or without brackets.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let ip = bare.unwrap_or(text).parse::<IpAddr>();
    let address = ip
        .map(|ip| SocketAddr::new(ip, 0))
        .or_else(|_| text.parse());
    address.ok().map(canonical)
}

#[cfg(test)]
mod tests {
    use media_config::ProxySettings;

    use super::*;
    use crate::http::request;

    /// Returns the client of a request of 10.0.0.1 with these headers, where 10.0.0.0/8 is trusted.
    fn client_of(header: ForwardedHeader, headers: &str) -> Result<Option<String>, ClientRefusal> {
        let settings = ProxySettings {
            forwarded_cidrs: vec!["10.0.0.0/8".to_owned()],
            forwarded_header: header,
            ..ProxySettings::default()
        };
        let proxies = Proxies::new(&settings).unwrap();
        let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        let request = request::parse(text.as_bytes()).unwrap().unwrap().0;
        let own = client(&proxies, "192.0.2.9".parse().unwrap(), &request);
        assert_eq!(own, Ok(None), "a header of an untrusted peer counts");
        let client = client(&proxies, "10.0.0.1".parse().unwrap(), &request)?;
        Ok(client.map(|client| client.to_string()))
    }

    fn by_list(list: &str) -> Result<Option<String>, ClientRefusal> {
        let headers = format!("X-Forwarded-For: {list}\r\nForwarded: for=198.51.100.9\r\n");
        client_of(ForwardedHeader::XForwardedFor, &headers)
    }

    fn by_forwarded(list: &str) -> Result<Option<String>, ClientRefusal> {
        let headers = format!("Forwarded: {list}\r\nX-Forwarded-For: 198.51.100.9\r\n");
        client_of(ForwardedHeader::Forwarded, &headers)
    }

    fn found(client: &str) -> Result<Option<String>, ClientRefusal> {
        Ok(Some(client.to_owned()))
    }

    #[test]
    fn first_address_from_the_end_that_is_no_trusted_proxy_is_the_client() {
        assert_eq!(by_list("192.0.2.1"), found("192.0.2.1:0"));
        assert_eq!(
            by_list("192.0.2.1, 10.0.0.3,10.0.0.2"),
            found("192.0.2.1:0")
        );
        assert_eq!(by_list("203.0.113.5, 192.0.2.1"), found("192.0.2.1:0"));
        assert_eq!(
            by_list("forged, , 192.0.2.1:4000,"),
            found("192.0.2.1:4000")
        );
        let lines = "203.0.113.5\r\nX-Forwarded-For: 192.0.2.1";
        assert_eq!(by_list(lines), found("192.0.2.1:0"));
        // What the client sent is not read, whatever it is.
        for forged in [
            "1.1.1.1,".repeat(800),
            "unknown,".repeat(800),
            ",".repeat(7_000),
        ] {
            let list = format!("{forged} 10.0.0.9, 192.0.2.1");
            assert_eq!(by_list(&list), found("192.0.2.1:0"));
        }
    }

    #[test]
    fn ipv6_addresses_are_understood_in_every_form() {
        assert_eq!(by_list("2001:db8::1"), found("[2001:db8::1]:0"));
        assert_eq!(by_list("[2001:db8::1]"), found("[2001:db8::1]:0"));
        assert_eq!(by_list("[2001:db8::1]:9"), found("[2001:db8::1]:9"));
        assert_eq!(by_list("::ffff:192.0.2.1"), found("192.0.2.1:0"));
    }

    #[test]
    fn forwarded_header_of_the_rfc_is_understood() {
        assert_eq!(by_forwarded("for=192.0.2.1"), found("192.0.2.1:0"));
        let list = "for=203.0.113.5, proto=http;For=\"[2001:db8::1]:4711\";by=10.0.0.1";
        assert_eq!(by_forwarded(list), found("[2001:db8::1]:4711"));
        assert_eq!(
            by_forwarded("for=192.0.2.1, for=\"10.0.0.7:80\""),
            found("192.0.2.1:0")
        );
    }

    #[test]
    fn client_that_no_proxy_knows_is_the_proxy_itself() {
        assert_eq!(by_list(""), Ok(None));
        assert_eq!(by_list("10.0.0.2"), Ok(None));
        assert_eq!(by_list("192.0.2.1, unknown"), Ok(None));
        assert_eq!(by_forwarded("for=192.0.2.1, for=_hidden"), Ok(None));
        assert_eq!(by_forwarded("for=192.0.2.1, proto=https"), Ok(None));
        assert_eq!(client_of(ForwardedHeader::Forwarded, ""), Ok(None));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for list in [
            "nonsense",
            "192.0.2.1, 10.0.0.256",
            "192.0.2.1:port",
            "192.0.2.1:65536",
            "192.0.2.1:-1",
            "192.0.2.1 10.0.0.2",
            "192.000.002.001",
            "3221225985",
            "0x7f.1",
            "fe80::1%eth0",
            "[fe80::1%25eth0]:80",
            "[192.0.2.1]x",
            "[::1",
            "\u{e9}",
        ] {
            assert_eq!(by_list(list), Err(ClientRefusal::Invalid), "{list}");
        }
        let quotes = "for=\"192.0.2.1, for=\"";
        assert_eq!(by_forwarded(quotes), Err(ClientRefusal::Invalid));
    }

    #[test]
    fn list_of_proxies_has_a_limit() {
        let proxies = |count| format!("192.0.2.1{}", ",10.0.0.2".repeat(count));
        assert_eq!(by_list(&proxies(MAX_PROXIES - 1)), found("192.0.2.1:0"));
        let refusal = ClientRefusal::TooManyProxies;
        assert_eq!(by_list(&proxies(MAX_PROXIES)), Err(refusal));
    }
}
