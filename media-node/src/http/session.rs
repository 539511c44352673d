//! HTTP session: requests, until one of them turns the connection into a stream. The stream has a task of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::StatusCode;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, debug, debug_span};

use super::connection::{HttpConnection, TEXT};
use super::context::HttpContext;
use super::response;
use super::routes::{self, ConnectionOutcome};
use super::viewer::HttpViewer;
use super::websocket::WebSocket;
use crate::delivery::socket::NewConnection;
use crate::delivery::socket_memory::MAX_UNSENT_PAGE;
use crate::state::admitted::Admitted;
use crate::tls::TlsHandshakeError;

/// Time to refuse a connection over the limit.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves one connection to its end.
pub(crate) async fn serve(
    new: NewConnection,
    context: Arc<HttpContext>,
    worker: usize,
    admitted: Admitted,
) {
    let peer = new.peer;
    let span = debug_span!("http", %peer);
    let served = async {
        let deadline = Instant::now() + context.limits.get().handshake_timeout();
        let socket = match new.open_as_idle(deadline, &context.idle).await {
            Ok(socket) => socket,
            Err(error) => return debug!(%error, cause = error.cause(), "connection lost"),
        };
        socket.limit_unsent(MAX_UNSENT_PAGE);
        let connection = HttpConnection {
            socket,
            peer,
            client: peer,
            client_permit: None,
            context,
            worker,
            has_requested_stream: false,
            allow_origin: None,
        };
        run(connection, deadline, admitted).await;
    };
    served.instrument(span).await;
}

/// Refuses a connection over the limit with status 503.
pub(crate) async fn refuse(new: NewConnection, reason: &'static str) {
    let refused = async {
        let mut socket = new.open(Instant::now() + REFUSAL_TIMEOUT).await?;
        let body = format!("{reason}\n");
        let headers = [("Content-Type", TEXT), ("Retry-After", "5")];
        let header = response::header(
            StatusCode::SERVICE_UNAVAILABLE,
            // The request, and with it the page that sends it, is not read.
            Some("*"),
            &headers,
            body.len(),
            false,
        );
        // A response before the request would be lost: the unread request resets the connection.
        drop(timeout(REFUSAL_TIMEOUT, socket.readable()).await);
        socket.send((header + &body).as_bytes()).await?;
        socket.lingering_close().await;
        Ok::<_, TlsHandshakeError>(())
    };
    drop(timeout(REFUSAL_TIMEOUT * 2, refused).await);
}

async fn run(mut connection: HttpConnection, deadline: Instant, admitted: Admitted) {
    match routes::serve(&mut connection, deadline).await {
        ConnectionOutcome::Close => connection.socket.lingering_close().await,
        ConnectionOutcome::Flv(play, body) => {
            let header = response::stream_header(body, connection.allow_origin.as_deref());
            let input = BytesMut::new();
            let viewer = HttpViewer::new(connection, play.client, body, input, admitted);
            viewer.start(play.opened, header.as_bytes()).await;
        }
        ConnectionOutcome::WebSocket(play, input) => {
            let framing = WebSocket::default();
            let viewer = HttpViewer::new(connection, play.client, framing, input, admitted);
            viewer.start(play.opened, b"").await;
        }
    }
}
