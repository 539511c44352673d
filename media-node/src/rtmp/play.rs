//! An RTMP viewer: its play command, its pauses, and the end of its stream.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use media_wire::rtmp::RtmpError;
use media_wire::rtmp::server::{PlayRefusal, ServerConnection, ServerEvent};
use tokio::time::timeout;

use super::connection::{self, AfterStream, ConnectionLost, RtmpConnection};
use super::context::RtmpContext;
use super::request::StreamRequest;
use crate::delivery::finder::{NotPlayable, OpenedStream, Play, PlayRequest};
use crate::delivery::viewer::{FrameHeader, Framing, Viewer, ViewerEnd, ViewerEvent, record_end};
use crate::state::clients::{Client, ClientKind, StopReason};
use crate::state::metrics::Metrics;

/// The longest pause. A viewer that pauses longer is most likely forgotten.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// Serves a viewer until its stream ends.
pub(super) async fn serve(
    connection: &mut RtmpConnection,
    context: &RtmpContext,
    worker: usize,
    request: StreamRequest,
) -> Result<AfterStream, ConnectionLost> {
    // Boxed, because what only the search needs would make every viewer's future larger.
    let Play { client, opened } = match Box::pin(find(connection, context, worker, request)).await {
        Ok(play) => play,
        Err(error) => {
            let refusal = match error {
                NotPlayable::Full | NotPlayable::Denied(_) => PlayRefusal::Failed,
                NotPlayable::NotFound | NotPlayable::Name(_) => PlayRefusal::StreamNotFound,
            };
            connection.protocol.reject_play(refusal, &error.to_string());
            connection.flush().await?;
            return Ok(AfterStream::Close);
        }
    };
    connection.protocol.accept_play();
    connection.flush().await?;
    connection.socket.prepare_viewer();
    let end = deliver(connection, context, &client, opened).await;
    record_end(&context.metrics, &client, end);
    match end {
        end if end.is_abrupt() => Err(ConnectionLost::Closed),
        ViewerEnd::Stopped => Ok(AfterStream::Continue),
        _ => {
            connection.protocol.end_play();
            connection.flush().await?;
            Ok(AfterStream::Close)
        }
    }
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

/// Sends the stream. After each pause it continues at the newest keyframe.
async fn deliver(
    connection: &mut RtmpConnection,
    context: &RtmpContext,
    client: &Client,
    opened: OpenedStream,
) -> ViewerEnd {
    let OpenedStream {
        stream,
        mut cursor,
        first,
    } = opened;
    let mut first = Some(first);
    loop {
        let mut viewer = Viewer {
            socket: &mut connection.socket,
            client,
            stream: &stream,
            stall_timeout: context.config.limits.stall_timeout(),
            draining: false,
        };
        let mut framing = RtmpFraming {
            protocol: &mut connection.protocol,
            metrics: &context.metrics,
        };
        let sent = match first.take() {
            Some(first) => viewer.send_batch(&mut framing, first).await,
            None => Ok(()),
        };
        let end = match sent {
            Ok(()) => {
                let input = &mut connection.input;
                viewer.deliver(&mut framing, &mut cursor, input).await
            }
            Err(end) => end,
        };
        if end != ViewerEnd::Paused {
            return end;
        }
        if let Err(end) = Box::pin(wait_for_resume(connection, context, client)).await {
            return end;
        }
        cursor.catch_up();
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
        Ok(event.map(|event| match event {
            ServerEvent::Pause(true) => ViewerEvent::Pause,
            ServerEvent::StopPlay => ViewerEvent::Stop,
            _ => ViewerEvent::Other,
        }))
    }

    fn reply(&mut self) -> Option<Bytes> {
        self.protocol.output()
    }
}
