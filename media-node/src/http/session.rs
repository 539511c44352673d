//! One connection of the public HTTP port: requests until one of them turns into a stream.
//!
//! The node writes these bytes itself: a body that a library frames and queues for each viewer costs 10 to 25 % more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{Instrument, debug_span};

use super::body::Body;
use super::headers::{self, Status};
use super::websocket::{CloseCode, WebSocket};
use crate::delivery::play::{self, Opened, Watching};
use crate::delivery::socket;
use crate::delivery::viewer::{Dialect, Ending, Viewer};
use crate::server::admission::Permit;
use crate::server::context::Shared;

use super::requests::TEXT;

/// How long a refused connection may take to be told so.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves one connection to its end.
pub(crate) async fn serve(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    worker: usize,
    permit: Permit,
) {
    let span = debug_span!("http", %peer);
    let served = async {
        let Ok(socket) = socket::adopt(stream, shared.config.limits.stall_timeout()) else {
            return;
        };
        let session = Session {
            socket,
            peer,
            shared,
            worker,
        };
        session.run().await;
    };
    served.instrument(span).await;
    drop(permit);
}

/// Tells a connection over the limit that the node is full.
pub(crate) async fn refuse(stream: std::net::TcpStream, shared: Arc<Shared>, permit: Permit) {
    let refused = async {
        let mut socket = socket::adopt(stream, REFUSAL_TIMEOUT)?;
        let (body, fields) = (
            "this node is full, try another or later\n",
            [("Content-Type", TEXT), ("Retry-After", "5")],
        );
        let head = headers::answer(Status::UNAVAILABLE, &fields, body.len(), false);
        // A peer that asks before it listens would lose the answer to the reset of its unread request.
        drop(timeout(REFUSAL_TIMEOUT, socket.readable()).await);
        socket.write_all(head.as_bytes()).await?;
        socket.write_all(body.as_bytes()).await?;
        socket::farewell(&mut socket).await;
        std::io::Result::Ok(())
    };
    drop(timeout(REFUSAL_TIMEOUT * 2, refused).await);
    drop((shared, permit));
}

pub(super) struct Session {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) shared: Arc<Shared>,
    pub(super) worker: usize,
}

/// What comes after the requests.
pub(super) enum Then {
    Close,
    Flv(Watching, Body),
    WebSocket(Watching, BytesMut),
}

impl Session {
    async fn run(mut self) {
        // Boxed and gone before the stream begins: a viewer shall be small.
        let then = Box::pin(self.requests()).await;
        match then {
            Then::Close => {}
            Then::Flv(watching, mut body) => {
                let head = headers::stream(body);
                let ending = self
                    .watch(watching, head.as_bytes(), &mut body, BytesMut::new())
                    .await;
                if ending.is_abrupt() {
                    return;
                }
                drop(self.write(body.end()).await);
            }
            Then::WebSocket(watching, input) => {
                let ending = self
                    .watch(watching, b"", &mut WebSocket::default(), input)
                    .await;
                if ending.is_abrupt() {
                    return;
                }
                let close = WebSocket::close(match ending {
                    Ending::StreamEnded | Ending::Left => CloseCode::Normal,
                    Ending::Broken => CloseCode::ProtocolError,
                    _ => CloseCode::GoingAway,
                });
                drop(self.write(&close).await);
            }
        }
        socket::farewell(&mut self.socket).await;
    }

    /// Sends a stream to its end.
    async fn watch(
        &mut self,
        watching: Watching,
        head: &[u8],
        dialect: &mut impl Dialect,
        mut input: BytesMut,
    ) -> Ending {
        let Watching { client, opened } = watching;
        let Opened {
            stream,
            mut cursor,
            first,
        } = opened;
        socket::prepare_viewer(&self.socket);
        let mut viewer = Viewer {
            socket: &mut self.socket,
            client: &client,
            stream: &stream,
            stall: self.shared.config.limits.stall_timeout(),
            leaving: false,
        };
        let prefix = dialect.prefix(first.remaining());
        let ending = match viewer
            .send(&mut Buf::chain(
                Buf::chain(Buf::chain(head, &*prefix), first),
                dialect.suffix(),
            ))
            .await
        {
            Ok(()) => viewer.watch(dialect, &mut cursor, &mut input).await,
            Err(ending) => ending,
        };
        play::ended(&self.shared, &client, ending);
        ending
    }
}
