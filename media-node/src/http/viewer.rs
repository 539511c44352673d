//! An HTTP viewer: the stream on a connection, from its first bytes to its end.
//!
//! It writes the stream's bytes itself. An HTTP library frames and queues the body for each viewer, which costs 10 to 25 % more.
//!
//! Its task begins when the first bytes are sent, and holds nothing of the requests before: a media node has thousands of them.

use std::sync::Arc;

use bytes::BytesMut;
use media_engine::Cursor;
use tracing::{Instrument, debug_span};

use super::body::BodyFraming;
use super::connection::{self, HttpConnection};
use super::context::HttpContext;
use super::websocket::{CloseCode, WebSocket};
use crate::delivery::finder::OpenedStream;
use crate::delivery::framing::Framing;
use crate::delivery::socket::Socket;
use crate::delivery::socket_memory::unsent_limit;
use crate::delivery::viewer::Delivery;
use crate::delivery::viewer_end::{ViewerEnd, record_end};
use crate::state::admitted::Admitted;
use crate::state::clients::ClientGuard;

/// A protocol of the HTTP port.
pub(super) trait HttpFraming: Framing + Send + 'static {
    /// Returns the bytes that end the stream.
    fn end(&self, end: ViewerEnd) -> impl AsRef<[u8]> + Send;
}

/// A connection that is to become a stream.
pub(super) struct HttpViewer<F> {
    socket: Socket,
    context: Arc<HttpContext>,
    client: ClientGuard,
    framing: F,
    /// Bytes that were read and not yet processed.
    input: BytesMut,
    admitted: Admitted,
}

/// A viewer that has the first bytes of its stream.
struct StartedViewer<F> {
    viewer: HttpViewer<F>,
    cursor: Cursor,
}

impl<F: HttpFraming> HttpViewer<F> {
    pub(super) fn new(
        connection: HttpConnection,
        client: ClientGuard,
        framing: F,
        input: BytesMut,
        admitted: Admitted,
    ) -> Self {
        let admitted = match connection.client_permit {
            Some(permit) => Admitted::new((admitted, permit)),
            None => admitted,
        };
        Self {
            socket: connection.socket,
            context: connection.context,
            client,
            framing,
            input,
            admitted,
        }
    }

    /// Sends `header` and the first batch in one write, and starts the task that sends the rest.
    pub(super) async fn start(mut self, opened: OpenedStream, header: &[u8]) {
        let OpenedStream { cursor, first } = opened;
        let unsent = unsent_limit(&self.context.finder.registry);
        self.socket.limit_unsent(unsent);
        let (mut delivery, framing, _) = self.parts();
        let sent = delivery.send_first(framing, header, first).await;
        let started = StartedViewer {
            viewer: self,
            cursor,
        };
        match sent {
            Ok(()) => {
                // A span of its own: to enter the current one, which is always enabled, would cost something at every wake-up.
                let span = debug_span!("http", peer = %started.viewer.client.peer);
                drop(tokio::spawn(started.run().instrument(span)));
            }
            Err(end) => started.end(end).await,
        }
    }

    fn parts(&mut self) -> (Delivery<'_>, &mut F, &mut BytesMut) {
        let delivery = Delivery::new(
            &mut self.socket,
            &self.client,
            &self.context.limits.get(),
            &self.context.finder.registry,
            i64::MAX,
        );
        (delivery, &mut self.framing, &mut self.input)
    }
}

impl<F: HttpFraming> StartedViewer<F> {
    /// Sends the stream to its end.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` has room for its argument twice"
    )]
    fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            let end = self.deliver().await;
            Box::pin(self.end(end)).await;
        }
    }

    async fn deliver(&mut self) -> ViewerEnd {
        let (mut delivery, framing, input) = self.viewer.parts();
        delivery.deliver(framing, &mut self.cursor, input).await
    }

    async fn end(self, end: ViewerEnd) {
        let HttpViewer {
            mut socket,
            context,
            client,
            framing,
            admitted,
            ..
        } = self.viewer;
        record_end(&context.metrics, &client, end);
        drop((client, self.cursor));
        if !end.is_abrupt() {
            let written = connection::write(&mut socket, framing.end(end).as_ref()).await;
            // The connection ends whether or not the viewer reads that.
            drop(written);
            socket.lingering_close().await;
        }
        drop((socket, admitted));
    }
}

impl HttpFraming for BodyFraming {
    fn end(&self, _: ViewerEnd) -> impl AsRef<[u8]> + Send {
        self.last_bytes()
    }
}

impl HttpFraming for WebSocket {
    fn end(&self, end: ViewerEnd) -> impl AsRef<[u8]> + Send {
        Self::close(match end {
            ViewerEnd::StreamEnded | ViewerEnd::Stopped => CloseCode::Normal,
            ViewerEnd::ProtocolError => CloseCode::ProtocolError,
            _ => CloseCode::GoingAway,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the size of the futures that a function returns.
    fn size_of_future<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn task_of_a_viewer_is_small() {
        let flv = size_of_future(StartedViewer::<BodyFraming>::run);
        let websocket = size_of_future(StartedViewer::<WebSocket>::run);
        assert!(flv <= 1024, "{flv} bytes");
        assert!(websocket <= 1024, "{websocket} bytes");
    }
}
