//! An HTTP connection and the responses that are sent on it whole.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::timeout;

use super::context::HttpContext;
use super::response;
use crate::delivery::socket::Socket;
use crate::state::address_limits::AddressPermit;

/// Bytes of a response that are sent at one time.
const PIECE: usize = 16 * 1024;

/// Time that a connection may take to accept a piece of a response. A slow client gets large files as well.
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);

/// Media type of responses of one line.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// An HTTP connection.
pub(super) struct HttpConnection {
    pub(super) socket: Socket,
    pub(super) peer: SocketAddr,
    /// Sender of the current request: the peer, or the client that a reverse proxy names.
    pub(super) client: SocketAddr,
    /// The current request in the number of connections of its client, behind a reverse proxy.
    pub(super) client_permit: Option<AddressPermit>,
    pub(super) context: Arc<HttpContext>,
    /// Worker that serves the connection.
    pub(super) worker: usize,
    /// A stream was requested on this connection before.
    pub(super) has_requested_stream: bool,
    /// Pages that may read the response to the current request.
    pub(super) allow_origin: Option<String>,
}

/// Properties of a response that follow from its request.
#[derive(Clone, Copy)]
pub(super) struct ResponseMode {
    pub(super) keep_alive: bool,
    /// The response to a HEAD request.
    pub(super) without_body: bool,
}

impl ResponseMode {
    /// A response after which the connection is closed.
    pub(super) const CLOSING: Self = Self {
        keep_alive: false,
        without_body: false,
    };

    /// Returns what the connection does after the response.
    pub(super) fn after(self) -> AfterResponse {
        if self.keep_alive {
            AfterResponse::KeepAlive
        } else {
            AfterResponse::Close
        }
    }
}

/// What a connection does after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterResponse {
    /// It serves the next request.
    KeepAlive,
    /// It is closed.
    Close,
}

impl HttpConnection {
    /// Sends a response of one line.
    pub(super) async fn respond_text(
        &mut self,
        status: StatusCode,
        line: &str,
        mode: ResponseMode,
    ) -> io::Result<AfterResponse> {
        let line = format!("{line}\n");
        self.respond(status, &[("Content-Type", TEXT)], line.as_bytes(), mode)
            .await
    }

    /// Sends a response.
    pub(super) async fn respond(
        &mut self,
        status: StatusCode,
        headers: &[(&str, &str)],
        body: &[u8],
        mode: ResponseMode,
    ) -> io::Result<AfterResponse> {
        let header = response::header(
            status,
            self.allow_origin.as_deref(),
            headers,
            body.len(),
            mode.keep_alive,
        );
        let body = if mode.without_body { &[][..] } else { body };
        // A short response is one write. A long one is not copied, because a client may take its time to read it.
        let (first, rest) = body.split_at(body.len().min(PIECE.saturating_sub(header.len())));
        self.write(&[header.as_bytes(), first].concat()).await?;
        self.write(rest).await?;
        Ok(mode.after())
    }

    /// Sends bytes. Meanwhile the connection counts as one without a stream.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (_idle, mut eviction) = self.context.idle.enter(self.peer.ip());
        tokio::select! {
            biased;
            written = write(&mut self.socket, bytes) => written,
            () = eviction.requested() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// Sends bytes on a connection.
pub(super) async fn write(socket: &mut Socket, bytes: &[u8]) -> io::Result<()> {
    for piece in bytes.chunks(PIECE) {
        timeout(PIECE_TIMEOUT, socket.send(piece)).await??;
    }
    Ok(())
}
