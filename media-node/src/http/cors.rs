//! Which pages of other sites may use this port from a browser (CORS, and the origin of a WebSocket).

use media_config::CorsSettings;

use super::request::HttpRequest;

/// Returns the value of `Access-Control-Allow-Origin`; `None` when the request's page may not read the response.
pub(super) fn allowed_origin(settings: &CorsSettings, request: &HttpRequest) -> Option<String> {
    if settings.allow_origins.iter().any(|origin| origin == "*") {
        return Some("*".to_owned());
    }
    let origin = request.origin.as_deref()?;
    let is_listed = |listed: &String| listed.eq_ignore_ascii_case(origin);
    let is_allowed = settings.allow_origins.iter().any(is_listed) || is_own(origin, request);
    is_allowed.then(|| origin.to_owned())
}

/// Returns whether the page of a request may open a WebSocket. Browsers send no preflight request before it, so the server has to
/// refuse. Players other than browsers send no origin.
pub(super) fn allows_websocket(settings: &CorsSettings, request: &HttpRequest) -> bool {
    request.origin.is_none() || allowed_origin(settings, request).is_some()
}

/// Returns whether the page is of this host.
fn is_own(origin: &str, request: &HttpRequest) -> bool {
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_some() && host == request.host.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request;

    fn allowed(origins: &[&str], headers: &str) -> Option<String> {
        let settings = CorsSettings {
            allow_origins: origins.iter().map(ToString::to_string).collect(),
            ..CorsSettings::default()
        };
        let text = format!("GET / HTTP/1.1\r\nHost: own.example:8080\r\n{headers}\r\n");
        let request = request::parse(text.as_bytes()).unwrap().unwrap().0;
        allowed_origin(&settings, &request)
    }

    #[test]
    fn listed_origins_and_the_own_one_are_allowed() {
        let listed = ["https://a.example"];
        let origin = |origin: &str| format!("Origin: {origin}\r\n");
        let allows = |name: &str| allowed(&listed, &origin(name)).as_deref() == Some(name);
        assert!(allows("https://a.example") && allows("http://own.example:8080"));
        assert!(!allows("https://b.example") && !allows("null") && !allows("own.example:8080"));
        assert_eq!(allowed(&listed, ""), None);
        assert_eq!(allowed(&["*"], &origin("null")).as_deref(), Some("*"));
    }
}
