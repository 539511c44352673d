//! The internal port: probes, metrics, the API, and the other nodes' relays. Spoken by hyper; nothing here is hot.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::debug;

use super::api;
use crate::delivery::socket;
use crate::response::{Body, json, text, with_type};
use crate::server::admission::Permit;
use crate::server::context::{Phase, Shared};

/// A peer that does not finish the head of a request is not one of ours.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A node that acknowledges nothing for so long is gone: its relay has long gone elsewhere.
const UNANSWERED: Duration = Duration::from_secs(10);

/// Serves one connection of the internal port.
pub(crate) async fn serve(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    worker: usize,
    permit: Permit,
) {
    let stream = match socket::adopt(stream, UNANSWERED) {
        Ok(stream) => stream,
        Err(error) => return debug!(%peer, %error, "internal connection lost"),
    };
    let service = service_fn(move |mut request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        request.extensions_mut().insert(peer);
        async move {
            let mut answer = answer(&shared, request, worker).await;
            shared.relay.sign(&mut answer);
            Ok::<_, Infallible>(answer)
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%peer, %error, "internal connection ended");
    }
    drop(permit);
}

async fn answer(shared: &Shared, request: Request<Incoming>, worker: usize) -> Response<Body> {
    let path = request.uri().path();
    if path.starts_with("/relay/v1/") {
        return shared.relay.serve(request, worker).await;
    }
    if let Some(id) = path.strip_prefix("/api/v1/clients/") {
        return match (request.method(), id.parse()) {
            (&Method::DELETE, Ok(id)) => api::kick(shared, id),
            (_, Ok(_)) => not_allowed("DELETE"),
            (_, Err(_)) => text(StatusCode::NOT_FOUND, "no such client"),
        };
    }
    if !matches!(path, "/livez" | "/readyz" | "/metrics") && !path.starts_with("/api/v1/") {
        return text(StatusCode::NOT_FOUND, "nothing here");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return not_allowed("GET, HEAD");
    }
    match path {
        "/livez" => text(StatusCode::OK, "alive"),
        "/readyz" => ready(shared),
        "/metrics" => with_type(
            StatusCode::OK,
            "text/plain; version=0.0.4",
            shared.metrics.render(shared),
        ),
        "/api/v1/summary" => json(StatusCode::OK, &api::summary(shared)),
        "/api/v1/streams" => json(StatusCode::OK, &api::streams(shared)),
        "/api/v1/clients" => json(StatusCode::OK, &api::clients(shared)),
        _ => text(StatusCode::NOT_FOUND, "nothing here"),
    }
}

/// A lame duck is still ready: it is what a cluster of one has until its replacement serves. An edge becomes ready when it
/// has found an origin for the first time: before, it can neither take a stream nor find one. That origins go away later
/// changes nothing, or one restart of the only origin would take all edges out of their Service.
fn ready(shared: &Shared) -> Response<Body> {
    let unavailable = |why| text(StatusCode::SERVICE_UNAVAILABLE, why);
    match shared.phase() {
        Phase::Closing => unavailable("leaving"),
        Phase::Running | Phase::LameDuck if shared.relay.found_origins() => {
            text(StatusCode::OK, "ready")
        }
        Phase::Running | Phase::LameDuck => unavailable("no origins found yet"),
    }
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    answer
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}
