//! HTTP session: requests, until one of them turns the connection into a stream, and that stream to its end.
//!
//! The session writes the stream's bytes itself. An HTTP library frames and queues the body for each viewer, which costs 10 to
//! 25 % more.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::time::{Instant, timeout};
use tracing::{Instrument, debug, debug_span};

use super::connection::{HttpConnection, TEXT};
use super::context::HttpContext;
use super::response::{self, HttpStatus};
use super::routes::{self, Outcome};
use super::websocket::{CloseCode, WebSocket};
use crate::delivery::finder::{OpenedStream, Play};
use crate::delivery::socket::NewConnection;
use crate::delivery::viewer::{Framing, Viewer, ViewerEnd, record_end};
use crate::tls::HandshakeError;

/// Time to refuse a connection over the limit.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves one connection to its end.
pub(crate) async fn serve(new: NewConnection, context: Arc<HttpContext>, worker: usize) {
    let peer = new.peer;
    let span = debug_span!("http", %peer);
    let served = async {
        let deadline = Instant::now() + context.config.limits.handshake_timeout();
        let socket = match new.open_as_idle(deadline, &context.idle).await {
            Ok(socket) => socket,
            Err(error) => return debug!(%error, cause = error.cause(), "connection lost"),
        };
        let connection = HttpConnection {
            socket,
            peer,
            context,
            worker,
            allow_origin: None,
        };
        run(connection, deadline).await;
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
            HttpStatus::UNAVAILABLE,
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
        Ok::<_, HandshakeError>(())
    };
    drop(timeout(REFUSAL_TIMEOUT * 2, refused).await);
}

async fn run(mut connection: HttpConnection, deadline: Instant) {
    // Boxed and dropped before the stream starts, so that a viewer's future stays small.
    let outcome = Box::pin(routes::serve(&mut connection, deadline)).await;
    match outcome {
        Outcome::Close => {}
        Outcome::Flv(play, mut body) => {
            let header = response::stream_header(body, connection.allow_origin.as_deref());
            let input = BytesMut::new();
            let end = deliver(&mut connection, play, header.as_bytes(), &mut body, input).await;
            if end.is_abrupt() {
                return;
            }
            drop(connection.write(body.end()).await);
        }
        Outcome::WebSocket(play, input) => {
            let mut framing = WebSocket::default();
            let end = deliver(&mut connection, play, b"", &mut framing, input).await;
            if end.is_abrupt() {
                return;
            }
            let close = WebSocket::close(match end {
                ViewerEnd::StreamEnded | ViewerEnd::Stopped => CloseCode::Normal,
                ViewerEnd::ProtocolError => CloseCode::ProtocolError,
                _ => CloseCode::GoingAway,
            });
            drop(connection.write(&close).await);
        }
    }
    connection.socket.lingering_close().await;
}

/// Sends a stream to its end, after a header in the same write as the first batch.
async fn deliver(
    connection: &mut HttpConnection,
    play: Play,
    header: &[u8],
    framing: &mut impl Framing,
    mut input: BytesMut,
) -> ViewerEnd {
    let Play { client, opened } = play;
    let OpenedStream {
        stream,
        mut cursor,
        first,
    } = opened;
    connection.socket.prepare_viewer();
    let mut viewer = Viewer {
        socket: &mut connection.socket,
        client: &client,
        stream: &stream,
        stall_timeout: connection.context.config.limits.stall_timeout(),
        draining: false,
    };
    let frame_header = framing.header(first.remaining());
    let sent = viewer
        .send(&mut Buf::chain(
            Buf::chain(Buf::chain(header, &*frame_header), first),
            framing.trailer(),
        ))
        .await;
    let end = match sent {
        Ok(()) => viewer.deliver(framing, &mut cursor, &mut input).await,
        Err(end) => end,
    };
    record_end(&connection.context.metrics, &client, end);
    end
}
