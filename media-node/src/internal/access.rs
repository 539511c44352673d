//! Who may use the internal port: media nodes of this cluster relay, the operator reads and disconnects clients, and every
//! client may probe.
//!
//! Browsers are refused. A page of any site can make a browser send requests to an address that only its user reaches, and with
//! a host name that it resolves to that address it could also read the responses.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};

use super::connection::InternalConnection;
use crate::auth::{Caller, Denial, NodeIdentity};
use crate::response::{Body, json};
use crate::state::metrics::Metrics;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("a request of HTTP/1.1 has exactly one header Host")]
    NoHost,
    #[error(
        "this port is not for browsers: Host is neither an IP address nor a name inside of the cluster"
    )]
    ForeignHost,
    #[error("this port is not for browsers: the request has a header Origin or Sec-Fetch-Site")]
    Browser,
    #[error("{0}")]
    Identity(Denial),
    #[error("a media node's token does not allow this")]
    Node,
    #[error("the operator's token does not allow this")]
    Operator,
}

impl Refusal {
    /// Value of the metric's label `reason`.
    fn label(self) -> &'static str {
        match self {
            Self::NoHost | Self::ForeignHost => "host",
            Self::Browser => "browser",
            Self::Identity(denial) => denial.label(),
            Self::Node | Self::Operator => "role",
        }
    }

    /// Counts the refusal and returns the response to it. Then the connection ends: to verify a signature costs more than to send
    /// it, so that each attempt needs another connection.
    pub(super) fn response(self, metrics: &Metrics) -> Response<Body> {
        let label = self.label();
        metrics.connections.internal_refused.of([label]).inc();
        let status = match self {
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::Identity(Denial::KeysUnavailable) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Identity(denial) if denial.is_unauthorized() => StatusCode::UNAUTHORIZED,
            _ => StatusCode::FORBIDDEN,
        };
        let body = serde_json::json!({"reason": label, "message": self.to_string()});
        let mut response = json(status, &body);
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

/// Decides whether a request to the internal port is answered.
pub(super) fn judge<B>(
    identity: &NodeIdentity,
    connection: &InternalConnection,
    request: &Request<B>,
) -> Result<(), Refusal> {
    judge_sender(request)?;
    let path = request.uri().path();
    if matches!(path, "/livez" | "/readyz") {
        return Ok(());
    }
    let authorization = request.headers().get(header::AUTHORIZATION);
    let caller = connection
        .caller(identity, authorization)
        .map_err(Refusal::Identity)?;
    match caller {
        Caller::Local => Ok(()),
        Caller::Node if is_relay(path) || is_read_by_nodes(path) => Ok(()),
        Caller::Node => Err(Refusal::Node),
        Caller::Operator if is_relay(path) => Err(Refusal::Operator),
        Caller::Operator => Ok(()),
    }
}

/// Refuses browsers, on every port that is not public.
pub(super) fn judge_sender<B>(request: &Request<B>) -> Result<(), Refusal> {
    // A proxy's request names the host in its target as well, RFC 9112 section 3.2.2.
    let target = request.uri().authority();
    if target.is_some_and(|authority| !is_internal(authority)) {
        return Err(Refusal::ForeignHost);
    }
    let headers = request.headers();
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() != Version::HTTP_11 => {}
        (Some(host), None) if is_internal_host(host) => {}
        (Some(_), None) => return Err(Refusal::ForeignHost),
        (None, _) | (Some(_), Some(_)) => return Err(Refusal::NoHost),
    }
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        Err(Refusal::Browser)
    } else {
        Ok(())
    }
}

/// Returns whether the path is of the protocol between media nodes.
pub(super) fn is_relay(path: &str) -> bool {
    path.starts_with("/relay/v1/")
}

/// Returns whether media nodes read this path: the list of streams of an edge has those of its origins.
fn is_read_by_nodes(path: &str) -> bool {
    path == "/api/v1/streams"
}

fn is_internal_host(host: &HeaderValue) -> bool {
    Authority::try_from(host.as_bytes()).is_ok_and(|authority| is_internal(&authority))
}

/// Returns whether a host is an address, or a name that cannot be registered on the internet.
fn is_internal(authority: &Authority) -> bool {
    let name = authority
        .host()
        .trim_matches(['[', ']'])
        .to_ascii_lowercase();
    let is_inside = name.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || [".localhost", ".svc", ".svc.cluster.local"]
            .iter()
            .any(|suffix| name.ends_with(suffix));
    // A host names no user, and only a port stands behind it.
    let rest = authority.as_str().strip_prefix(authority.host());
    let is_port =
        |rest: &str| rest.is_empty() || rest.starts_with(':') && authority.port_u16().is_some();
    is_inside && rest.is_some_and(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut request = Request::builder().uri("/livez");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        judge_sender(&request.body(()).unwrap())
    }

    #[test]
    fn addresses_and_names_of_a_cluster_are_hosts() {
        for host in [
            "127.0.0.1:9090",
            "[::1]:9090",
            "10.1.2.3",
            "localhost:9090",
            "origin:9090",
            "demo-origin-headless.live.svc:9090",
            "10-1-2-3.demo-origin-headless.live.svc.cluster.local",
        ] {
            assert_eq!(judged(&[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn names_that_can_be_registered_are_not_hosts() {
        for host in [
            "evil.example",
            "localhost.evil.example:9090",
            "svc.evil.example",
            "127.0.0.1.evil.example",
            "a@evil.example",
            "a@127.0.0.1",
            "127.0.0.1:9090.evil.example",
            "[::1].evil.example",
            "[::1].evil.example:9090",
        ] {
            let refused = judged(&[("host", host)]);
            assert_eq!(refused, Err(Refusal::ForeignHost), "{host}");
        }
        assert_eq!(judged(&[]), Err(Refusal::NoHost));
        let two = [("host", "127.0.0.1"), ("host", "127.0.0.1")];
        assert_eq!(judged(&two), Err(Refusal::NoHost));
    }

    #[test]
    fn host_of_a_whole_url_counts_as_well() {
        let judged = |uri: &str| {
            let request = Request::builder().uri(uri).header("host", "127.0.0.1");
            judge_sender(&request.body(()).unwrap())
        };
        assert_eq!(judged("http://127.0.0.1:9090/livez"), Ok(()));
        let foreign = judged("http://evil.example/livez");
        assert_eq!(foreign, Err(Refusal::ForeignHost));
    }

    #[test]
    fn browsers_are_refused() {
        for (name, value) in [("origin", "null"), ("sec-fetch-site", "none")] {
            let refused = judged(&[("host", "127.0.0.1"), (name, value)]);
            assert_eq!(refused, Err(Refusal::Browser), "{name}");
        }
    }
}
