//! The routes of the internal and the metrics port, except those of relays.

use http::{HeaderValue, Method, Response, StatusCode, header};

use super::api;
use super::context::InternalContext;
use crate::response::{Body, json, text, with_type};
use crate::state::metrics::Scrape;
use crate::state::phase::Phase;

/// Answers a probe. Returns `None` for another request.
pub(super) fn probe(
    context: &InternalContext,
    method: &Method,
    path: &str,
) -> Option<Response<Body>> {
    match path {
        "/livez" => Some(get(method, &|| text(StatusCode::OK, "alive"))),
        "/readyz" => Some(get(method, &|| readiness(context))),
        _ => None,
    }
}

/// Answers a request to the API.
pub(super) fn route(context: &InternalContext, method: &Method, path: &str) -> Response<Body> {
    // The paths of SRS end with a slash.
    let path = path.strip_suffix('/').unwrap_or(path);
    if let Some(id) = path.strip_prefix("/api/v1/clients/") {
        return match (method, id.parse()) {
            (&Method::DELETE, Ok(id)) => api::disconnect(context, id),
            (_, Ok(_)) => method_not_allowed("DELETE"),
            (_, Err(_)) => text(StatusCode::NOT_FOUND, "no such client"),
        };
    }
    let ok = StatusCode::OK;
    let read: &dyn Fn() -> Response<Body> = match path {
        "/api/v1/summary" => &|| json(ok, &api::summary(context)),
        "/api/v1/streams" => &|| json(ok, &api::streams(context)),
        "/api/v1/clients" => &|| json(ok, &api::clients(context)),
        _ => return text(StatusCode::NOT_FOUND, NO_ROUTE),
    };
    get(method, read)
}

/// Text for a client that looks for the API.
const NO_ROUTE: &str =
    "not found; there are /api/v1/summary, /api/v1/streams, /api/v1/clients, /livez and /readyz";

/// Answers a request to the metrics port.
pub(super) fn route_metrics(
    context: &InternalContext,
    method: &Method,
    path: &str,
) -> Response<Body> {
    match path {
        "/metrics" => get(method, &|| metrics(context)),
        _ => text(StatusCode::NOT_FOUND, "not found, metrics are at /metrics"),
    }
}

fn get(method: &Method, read: &dyn Fn() -> Response<Body>) -> Response<Body> {
    match *method {
        Method::GET | Method::HEAD => read(),
        _ => method_not_allowed("GET, HEAD"),
    }
}

/// Answers the readiness probe.
///
/// A media node that drains is ready: a cluster of one media node has no other until the replacement serves. An edge becomes ready when
/// it has found an origin for the first time, because before that it can neither forward nor find a stream. It stays ready
/// when its origins disappear, or a restart of the only origin would remove all edges from their Service.
fn readiness(context: &InternalContext) -> Response<Body> {
    let unavailable = |reason| text(StatusCode::SERVICE_UNAVAILABLE, reason);
    match context.phase() {
        Phase::Closing => unavailable("shutting down"),
        Phase::Running | Phase::LameDuck if context.relay.found_origins() => {
            text(StatusCode::OK, "ready")
        }
        Phase::Running | Phase::LameDuck => unavailable("no origins found yet"),
    }
}

fn metrics(context: &InternalContext) -> Response<Body> {
    let rendered = context.metrics.render(&Scrape {
        registry: &context.registry,
        clients: &context.clients,
        limits: &context.limits.get(),
        connections: context.connections(),
        origins: context.relay.known_origins(),
        draining: context.phase() != Phase::Running,
    });
    with_type(StatusCode::OK, "text/plain; version=0.0.4", rendered)
}

fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}
