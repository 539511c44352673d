//! HTTP server of the internal and the metrics port. It uses hyper, because nothing here is hot.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::debug;

use super::connection::InternalConnection;
use super::context::InternalContext;
use super::{access, routes};
use crate::delivery::socket;
use crate::host::net::DetachedStream;
use crate::response::{Body, text};

/// Time for which a peer may acknowledge nothing. The relay at the other end has failed over before.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's header section. A token has a few KiB.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Serves one connection of the internal port.
pub(crate) async fn serve(
    stream: DetachedStream,
    peer: SocketAddr,
    context: Arc<InternalContext>,
    worker: usize,
) {
    let (connection, mut eviction) = InternalConnection::open(&context, peer.ip());
    let connection = Arc::new(connection);
    let header_timeout = context.header_timeout;
    let respond = move |request| {
        let (context, connection) = (Arc::clone(&context), Arc::clone(&connection));
        async move { answer(&context, &connection, request, worker).await }
    };
    tokio::select! {
        () = serve_http(stream, peer, header_timeout, respond) => {}
        () = eviction.requested() => debug!(%peer, "internal connection closed for another one"),
    }
}

/// Serves one connection of the metrics port, which has nothing else.
pub(crate) async fn serve_metrics(
    stream: DetachedStream,
    peer: SocketAddr,
    context: Arc<InternalContext>,
) {
    let (_idle, mut eviction) = context.idle_metrics.enter(peer.ip());
    let header_timeout = context.header_timeout;
    let respond = move |request| {
        let context = Arc::clone(&context);
        async move { answer_metrics(&context, &request).await }
    };
    tokio::select! {
        () = serve_http(stream, peer, header_timeout, respond) => {}
        () = eviction.requested() => debug!(%peer, "metrics connection closed for another one"),
    }
}

async fn serve_http<F>(
    stream: DetachedStream,
    peer: SocketAddr,
    header_timeout: Duration,
    respond: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Response<Body>>,
{
    let adopted = socket::adopt(stream).and_then(|stream| {
        socket::limit_unacknowledged(&stream, USER_TIMEOUT)?;
        Ok(stream)
    });
    let stream = match adopted {
        Ok(stream) => stream,
        Err(error) => return debug!(%peer, %error, "internal connection lost"),
    };
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let response = respond(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .half_close(false)
        .max_header_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%peer, %error, "internal connection ended");
    }
}

async fn answer(
    context: &Arc<InternalContext>,
    connection: &InternalConnection,
    request: Request<Incoming>,
    worker: usize,
) -> Response<Body> {
    let mut response = match access::judge(&context.identity, connection, &request) {
        Err(refusal) => refusal.response(&context.metrics),
        Ok(()) => answer_allowed(context, connection, request, worker).await,
    };
    context.relay.add_node_id(&mut response);
    response
}

async fn answer_allowed(
    context: &Arc<InternalContext>,
    connection: &InternalConnection,
    request: Request<Incoming>,
    worker: usize,
) -> Response<Body> {
    let path = request.uri().path();
    // Here, because the control thread can be busy with lists and metrics.
    if let Some(response) = routes::probe(context, request.method(), path) {
        return closing_after_body(&request, response);
    }
    if !access::is_relay(path) {
        return on_control_thread(context, &request, routes::route).await;
    }
    if connection.may_relay(context) {
        context.relay.serve(request, worker).await
    } else {
        let line = "too many relays on this media node";
        text(StatusCode::SERVICE_UNAVAILABLE, line)
    }
}

async fn answer_metrics(
    context: &Arc<InternalContext>,
    request: &Request<Incoming>,
) -> Response<Body> {
    match access::judge_sender(request) {
        Err(refusal) => refusal.response(&context.metrics),
        Ok(()) => on_control_thread(context, request, routes::route_metrics).await,
    }
}

/// Answers a request on the control thread. To list thousands of clients takes milliseconds, in which the worker serves viewers.
async fn on_control_thread(
    context: &Arc<InternalContext>,
    request: &Request<Incoming>,
    route: fn(&InternalContext, &Method, &str) -> Response<Body>,
) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let routed = Arc::clone(context);
    let response = context
        .control
        .spawn(async move { route(&routed, &method, &path) });
    let response = response.await;
    let response =
        response.unwrap_or_else(|_| text(StatusCode::SERVICE_UNAVAILABLE, "shutting down"));
    closing_after_body(request, response)
}

/// Ends the connection after a request with a body, which nothing here reads. A proxy in between can take another part of the bytes
/// for the body, and the rest would be a request that none of its clients sent.
fn closing_after_body(request: &Request<Incoming>, mut response: Response<Body>) -> Response<Body> {
    if !request.body().is_end_stream() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}
