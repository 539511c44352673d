//! What a request is for: its target, and its host.

use http::uri::Authority;

use super::{RequestError, values};

/// Returns the host that the request is for: that of its target, or else of its header.
pub(super) fn host(request: &httparse::Request<'_, '_>) -> Result<Option<String>, RequestError> {
    let mut headers = values(request, "Host");
    let header = match (headers.next(), headers.next()) {
        (None, _) if request.version != Some(1) => None,
        (Some(host), None) => Some(std::str::from_utf8(host).map_err(|_| RequestError::Host)?),
        (None, _) | (Some(_), Some(_)) => return Err(RequestError::Host),
    };
    let (target, _) = split_target(request.path.unwrap_or_default());
    let hosts = [target, header.map(str::trim)];
    if !hosts.into_iter().flatten().all(is_host) {
        return Err(RequestError::Host);
    }
    let [target, header] = hosts;
    Ok(target.or(header).map(str::to_owned))
}

/// Returns whether a text is empty, or a host and optionally a port. A comma would be of two headers in one.
fn is_host(text: &str) -> bool {
    text.is_empty() || (!text.contains(['@', ',']) && Authority::try_from(text).is_ok())
}

/// Splits a target before its path and query. A proxy's client may send a whole URL, whose host counts (RFC 9112 section 3.2.2).
pub(super) fn split_target(target: &str) -> (Option<&str>, &str) {
    match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            let (host, path) = rest.split_at(at);
            let path = if path.starts_with('/') { path } else { "/" };
            (Some(host), path)
        }
        _ => (None, target),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::parse;
    use super::*;

    #[test]
    fn whole_url_names_path_and_host() {
        let read = |target: &str| {
            let text = format!("GET {target} HTTP/1.1\r\nHost: header:1\r\n\r\n");
            let request = parse(text.as_bytes()).unwrap().unwrap().0;
            (request.target, request.host.unwrap())
        };
        let expected = |target: &str, host: &str| (target.to_owned(), host.to_owned());
        assert_eq!(
            read("http://h:8080/live/a.flv"),
            expected("/live/a.flv", "h:8080")
        );
        assert_eq!(read("http://h"), expected("/", "h"));
        assert_eq!(
            read("/live/a.flv?x=http://h/"),
            expected("/live/a.flv?x=http://h/", "header:1")
        );
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let parsed = |target: &str, host: &str| {
            let text = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            parse(text.as_bytes()).map(|request| request.is_some())
        };
        for host in ["", "h", "h:1", "my_host", "192.0.2.1", "[2001:db8::1]:1"] {
            assert_eq!(parsed("/", host), Ok(true), "{host}");
        }
        for host in ["a b", "a,b", "a@b", "h/x", "h?x", "é", "[::1"] {
            assert_eq!(parsed("/", host), Err(RequestError::Host), "{host}");
        }
        let user = parsed("http://user@h/", "h");
        assert_eq!(user, Err(RequestError::Host));
    }

    #[test]
    fn request_without_host_or_with_two_is_refused() {
        let parsed = |headers: &str, version: u8| {
            let text = format!("GET / HTTP/1.{version}\r\n{headers}\r\n");
            parse(text.as_bytes()).map(|request| request.is_some())
        };
        assert_eq!(parsed("", 1), Err(RequestError::Host));
        assert_eq!(parsed("", 0), Ok(true));
        assert_eq!(parsed("Host: a\r\n", 1), Ok(true));
        for version in [0, 1] {
            let two = parsed("Host: a\r\nhost: a\r\n", version);
            assert_eq!(two, Err(RequestError::Host));
        }
        assert_eq!(RequestError::Host.status(), StatusCode::BAD_REQUEST);
    }
}
