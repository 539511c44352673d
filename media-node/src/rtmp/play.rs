//! An RTMP viewer: its play command, its pauses, and the end of its stream.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use media_engine::Cursor;
use media_wire::rtmp::RtmpError;
use media_wire::rtmp::server::{PlayRefusal, ServerConnection, ServerEvent};
use tokio::time::timeout;
use tracing::{Instrument, debug_span};

use super::connection::{self, AfterStream, ConnectionLost, RtmpConnection};
use super::context::RtmpContext;
use super::message_timeout::MessageTimeout;
use super::request::{PlayDuration, StreamRequest};
use super::session_state::SessionState;
use crate::delivery::finder::{NotPlayable, OpenedStream, Play, PlayRequest};
use crate::delivery::framing::{FrameHeader, Framing, ViewerEvent};
use crate::delivery::socket_memory::unsent_limit;
use crate::delivery::viewer::Delivery;
use crate::delivery::viewer_end::{ViewerEnd, record_end};
use crate::state::clients::{Client, ClientGuard, ClientKind, StopReason};
use crate::state::metrics::Metrics;

/// The longest pause. A viewer that pauses longer is most likely forgotten.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// Finds the stream of a play command and accepts the command. Returns `None` after it has refused the command.
pub(super) async fn accept(
    connection: &mut RtmpConnection,
    context: &RtmpContext,
    worker: usize,
    request: StreamRequest,
) -> Result<Option<Play>, ConnectionLost> {
    let play = match find(connection, context, worker, request).await {
        Ok(play) => play,
        Err(error) => {
            let refusal = match error {
                NotPlayable::NotFound | NotPlayable::Name(_) => PlayRefusal::StreamNotFound,
                NotPlayable::Full(_) | NotPlayable::Denied(_) => PlayRefusal::Failed,
            };
            connection.protocol.reject_play(refusal, &error.to_string());
            connection.flush().await?;
            return Ok(None);
        }
    };
    connection.protocol.accept_play();
    connection.flush().await?;
    let unsent = unsent_limit(&context.registry);
    connection.socket.limit_unsent(unsent);
    Ok(Some(play))
}

async fn find(
    connection: &RtmpConnection,
    context: &RtmpContext,
    worker: usize,
    request: StreamRequest,
) -> Result<Play, NotPlayable> {
    let request = PlayRequest {
        key: request.key?,
        kind: ClientKind::Rtmp,
        peer: connection.peer,
        agent: connection.agent.clone(),
        credential: request.credential,
        tc_url: request.tc_url,
        page_url: connection.page_url.clone(),
        worker,
    };
    context.finder.play(request).await
}

/// A viewer that has the first bytes of its stream. Its task holds nothing of the search for it: a media node has thousands of
/// viewers.
pub(super) struct RtmpViewer {
    session: SessionState,
    client: ClientGuard,
    cursor: Cursor,
    /// As in [`Delivery`].
    until: i64,
}

impl RtmpViewer {
    /// Sends the first batch, and starts the task that sends the rest, up to `duration` after the first message.
    pub(super) async fn start(session: SessionState, play: Play, duration: PlayDuration) {
        let Play { client, opened } = play;
        let OpenedStream { cursor, first } = opened;
        let duration = duration.and_then(|duration| i64::try_from(duration.as_millis()).ok());
        let mut viewer = Self {
            session,
            client,
            cursor,
            until: first.begin().saturating_add(duration.unwrap_or(i64::MAX)),
        };
        let (mut delivery, mut framing, ..) = viewer.parts();
        match delivery.send_first(&mut framing, b"", first).await {
            Ok(()) => {
                // A span of its own: to enter the current one, which is always enabled, would cost something at every wake-up.
                let span = debug_span!("rtmp", peer = %viewer.client.peer);
                drop(tokio::spawn(viewer.run().instrument(span)));
            }
            Err(end) => viewer.end(end).await,
        }
    }

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

    /// Sends the stream. After each pause it continues at the newest keyframe.
    async fn deliver(&mut self) -> ViewerEnd {
        loop {
            let (mut delivery, mut framing, cursor, input) = self.parts();
            let end = delivery.deliver(&mut framing, cursor, input).await;
            if end != ViewerEnd::Paused {
                return end;
            }
            let SessionState {
                connection,
                context,
                ..
            } = &mut self.session;
            if let Err(end) = Box::pin(wait_for_resume(connection, context, &self.client)).await {
                return end;
            }
            self.cursor.catch_up();
        }
    }

    fn parts(&mut self) -> (Delivery<'_>, RtmpFraming<'_>, &mut Cursor, &mut BytesMut) {
        let SessionState {
            connection,
            context,
            ..
        } = &mut self.session;
        let delivery = Delivery::new(
            &mut connection.socket,
            &self.client,
            &context.limits.get(),
            &context.registry,
            self.until,
        );
        let framing = RtmpFraming {
            message_timeout: &mut connection.message_timeout,
            protocol: &mut connection.protocol,
            metrics: &context.metrics,
        };
        (delivery, framing, &mut self.cursor, &mut connection.input)
    }

    async fn end(self, end: ViewerEnd) {
        let Self {
            mut session,
            client,
            cursor,
            ..
        } = self;
        record_end(&session.context.metrics, &client, end);
        drop((client, cursor));
        let after = match end {
            end if end.is_abrupt() => Err(ConnectionLost::Closed),
            ViewerEnd::Stopped => Ok(AfterStream::Continue),
            ViewerEnd::Completed => {
                session.connection.protocol.complete_play();
                let flushed = session.connection.flush().await;
                flushed.map(|()| AfterStream::Continue)
            }
            _ => {
                session.connection.protocol.end_play();
                let flushed = session.connection.flush().await;
                flushed.map(|()| AfterStream::Close)
            }
        };
        (session.resume)(session, after);
    }
}

/// Waits until a paused viewer resumes.
async fn wait_for_resume(
    connection: &mut RtmpConnection,
    context: &RtmpContext,
    client: &Client,
) -> Result<(), ViewerEnd> {
    let resumed = async {
        loop {
            match connection.event().await {
                Ok(ServerEvent::Pause(false)) => return Ok(()),
                Ok(ServerEvent::StopPlay) => return Err(ViewerEnd::Stopped),
                Ok(_) => {}
                Err(ConnectionLost::Protocol(error)) => {
                    if let Some(limit) = connection::exceeded_limit(&error) {
                        context.metrics.exceeded(limit);
                    }
                    return Err(ViewerEnd::ProtocolError);
                }
                Err(_) => return Err(ViewerEnd::Closed),
            }
        }
    };
    tokio::select! {
        reason = client.stopped() => Err(ViewerEnd::Disconnected(reason)),
        resumed = timeout(MAX_PAUSE, resumed) => {
            resumed.unwrap_or(Err(ViewerEnd::Disconnected(StopReason::Kicked)))
        }
    }
}

/// RTMP needs no bytes around a batch. Its viewers send commands and acknowledgements.
struct RtmpFraming<'a> {
    protocol: &'a mut ServerConnection,
    message_timeout: &'a mut MessageTimeout,
    metrics: &'a Metrics,
}

impl Framing for RtmpFraming<'_> {
    type Error = RtmpError;

    fn header(&mut self, _: usize) -> FrameHeader {
        FrameHeader::default()
    }

    fn receive(&mut self, input: &mut BytesMut) -> Result<Option<ViewerEvent>, RtmpError> {
        let event = self.protocol.receive(input).inspect_err(|error| {
            if let Some(limit) = connection::exceeded_limit(error) {
                self.metrics.exceeded(limit);
                self.protocol.close(&connection::reason(error));
            }
        })?;
        if event.is_none() {
            self.message_timeout.observe(self.protocol.reserved());
        }
        Ok(event.map(|event| match event {
            ServerEvent::Pause(true) => ViewerEvent::Pause,
            ServerEvent::StopPlay => ViewerEvent::Stop,
            _ => ViewerEvent::Other,
        }))
    }

    fn is_overdue(&mut self) -> bool {
        let overdue = self.message_timeout.is_overdue();
        if overdue {
            self.metrics.exceeded("incomplete_messages");
            self.protocol.close("a message was incomplete for too long");
        }
        overdue
    }

    fn reply(&mut self) -> Option<Bytes> {
        self.protocol.output()
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
        let size = size_of_future(RtmpViewer::run);
        assert!(size <= 1024, "{size} bytes");
    }
}
