//! HTTP server of the internal port. It uses hyper, because nothing here is hot.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::debug;

use super::api;
use super::connection::InternalConnection;
use super::context::InternalContext;
use crate::delivery::socket;
use crate::response::{Body, json, text, with_type};
use crate::state::metrics::Scrape;
use crate::state::phase::Phase;

/// Time for which a peer may acknowledge nothing. The relay at the other end has failed over before.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves one connection of the internal port.
pub(crate) async fn serve(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    context: Arc<InternalContext>,
    worker: usize,
) {
    let adopted = socket::adopt(stream).and_then(|stream| {
        socket::limit_unacknowledged(&stream, USER_TIMEOUT)?;
        Ok(stream)
    });
    let stream = match adopted {
        Ok(stream) => stream,
        Err(error) => return debug!(%peer, %error, "internal connection lost"),
    };
    let header_timeout = context.header_timeout;
    let (connection, mut eviction) = InternalConnection::open(&context);
    let connection = Arc::new(connection);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (context, connection) = (Arc::clone(&context), Arc::clone(&connection));
        request.extensions_mut().insert(peer);
        async move { Ok::<_, Infallible>(answer(&context, &connection, request, worker).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        served = served => if let Err(error) = served {
            debug!(%peer, %error, "internal connection ended");
        },
        () = eviction.requested() => debug!(%peer, "internal connection closed for another one"),
    }
}

async fn answer(
    context: &Arc<InternalContext>,
    connection: &InternalConnection,
    request: Request<Incoming>,
    worker: usize,
) -> Response<Body> {
    let mut response = match request.uri().path().starts_with("/relay/v1/") {
        _ if !has_valid_host(&request) => {
            let line = "a request of HTTP/1.1 has exactly one header Host";
            text(StatusCode::BAD_REQUEST, line)
        }
        true if connection.may_relay(context) => context.relay.serve(request, worker).await,
        true => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many relays on this media node",
        ),
        false => route_on_control_thread(context, &request).await,
    };
    context.relay.add_node_id(&mut response);
    response
}

/// RFC 9112, section 3.2.
fn has_valid_host(request: &Request<Incoming>) -> bool {
    match request.headers().get_all(header::HOST).iter().count() {
        0 => request.version() != Version::HTTP_11,
        count => count == 1,
    }
}

/// Routes a request on the control thread. To list thousands of clients takes milliseconds, in which the worker serves viewers.
async fn route_on_control_thread(
    context: &Arc<InternalContext>,
    request: &Request<Incoming>,
) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let routed = Arc::clone(context);
    let response = context
        .control
        .spawn(async move { route(&routed, &method, &path) });
    response
        .await
        .unwrap_or_else(|_| text(StatusCode::SERVICE_UNAVAILABLE, "shutting down"))
}

fn route(context: &InternalContext, method: &Method, path: &str) -> Response<Body> {
    if let Some(id) = path.strip_prefix("/api/v1/clients/") {
        return match (method, id.parse()) {
            (&Method::DELETE, Ok(id)) => api::disconnect(context, id),
            (_, Ok(_)) => method_not_allowed("DELETE"),
            (_, Err(_)) => text(StatusCode::NOT_FOUND, "no such client"),
        };
    }
    let ok = StatusCode::OK;
    let read: &dyn Fn() -> Response<Body> = match path {
        "/livez" => &|| text(ok, "alive"),
        "/readyz" => &|| readiness(context),
        "/metrics" => &|| metrics(context),
        "/api/v1/summary" => &|| json(ok, &api::summary(context)),
        "/api/v1/streams" => &|| json(ok, &api::streams(context)),
        "/api/v1/clients" => &|| json(ok, &api::clients(context)),
        _ => return text(StatusCode::NOT_FOUND, "not found"),
    };
    match *method {
        Method::GET | Method::HEAD => read(),
        _ => method_not_allowed("GET, HEAD"),
    }
}

/// Answers the readiness probe.
///
/// A lame duck is ready: a cluster of one media node has no other until the replacement serves. An edge becomes ready when
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
    let relays = context.relay.counts();
    let rendered = context.metrics.render(&Scrape {
        registry: &context.registry,
        clients: &context.clients,
        connections: context.connections(),
        draining: context.phase() != Phase::Running,
        relay_pulls: relays.pulls,
        relay_forwards: relays.forwards,
        relay_switches: relays.switches,
        relay_failures: relays.failures,
    });
    with_type(StatusCode::OK, "text/plain; version=0.0.4", rendered)
}

fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}
