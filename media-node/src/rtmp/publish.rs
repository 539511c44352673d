//! An RTMP encoder: its publish command, its messages into the log, and the end of its stream.

use std::borrow::Cow;
use std::pin::pin;
use std::time::{Duration, Instant};

use media_config::DuplicatePublish;
use media_engine::{Appended, DuplicatePolicy, Publication, PublicationSource, PublishError};
use media_wire::media::KeyframeFlags;
use media_wire::rtmp::RtmpError;
use media_wire::rtmp::server::{PublishRefusal, ServerConnection, ServerEvent};
use media_wire::{Message, StreamKey};
use tokio::io::AsyncReadExt;
use tokio::time::sleep_until;
use tracing::{debug, info, warn};

use super::connection::{self, AfterStream, ConnectionLost, RtmpConnection};
use super::context::RtmpContext;
use super::request::StreamRequest;
use crate::auth::{Action, Request};
use crate::relay::{Forwarding, PublishRejection};
use crate::state::clients::{ClientGuard, ClientKind, ClientRole, NewClient, StopReason};

/// Bytes of the first read. The buffer of a read lives until its messages are sealed, and a stream of low bitrate has many.
const MIN_READ: usize = 4 * 1024;

/// Bytes of one read at most: most keyframes of high-quality video fit.
const MAX_READ: usize = 64 * 1024;

/// Time that a draining publish may take to its next keyframe.
const LAST_GROUP: Duration = Duration::from_secs(10);

/// A publish in progress. Fields are dropped in this order: the publication ends first, so that the relay still forwards
/// what is left in the log.
struct Publishing {
    publication: Publication,
    forwarding: Forwarding,
    client: ClientGuard,
    keyframe_flags: KeyframeFlags,
    /// Bytes of the next read.
    read_size: usize,
    /// Time at which the log seals its next segment.
    pulse: Option<Instant>,
    last_message: Instant,
    /// While it drains: the latest time to end. It ends earlier at a keyframe.
    drain_deadline: Option<Instant>,
    /// Whether the encoder reconnects elsewhere and ends this publish itself.
    reconnects: bool,
}

/// Reason that a publish ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PublishEnd {
    /// The encoder ended the stream and may publish another one.
    Unpublished,
    /// The encoder closed the connection.
    Closed,
    /// The encoder sent no message for too long.
    Idle,
    /// Another encoder has taken over the stream.
    Superseded,
    /// No origin accepts the stream.
    NoOrigin,
    /// The encoder violated the protocol or a limit.
    ProtocolError(RtmpError),
    /// A sequence header or metadata of the encoder is too long.
    InitDataTooLong { len: usize, limit: usize },
    /// The media node disconnects the encoder.
    Disconnected,
}

impl PublishEnd {
    /// Value of the metric's label `event`.
    fn label(self) -> &'static str {
        match self {
            Self::Unpublished => "unpublished",
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Superseded => "superseded",
            Self::NoOrigin => "no_origin",
            Self::ProtocolError(_) => "protocol_error",
            Self::InitDataTooLong { .. } => "init_data_too_long",
            Self::Disconnected => "disconnected",
        }
    }

    /// Returns the label of the limit that the encoder has exceeded.
    fn exceeded_limit(&self) -> Option<&'static str> {
        match self {
            Self::ProtocolError(error) => connection::exceeded_limit(error),
            Self::InitDataTooLong { .. } => Some("init_data"),
            _ => None,
        }
    }

    /// Returns the error that the encoder gets; `None` where it ended the stream itself.
    fn refusal(self) -> Option<(PublishRefusal, Cow<'static, str>)> {
        let failed = |reason| Some((PublishRefusal::Failed, Cow::Borrowed(reason)));
        match self {
            Self::Unpublished | Self::Closed => None,
            Self::Idle => failed("no message was received for too long"),
            Self::Superseded => Some((
                PublishRefusal::BadName,
                Cow::Borrowed("another encoder has taken over this stream"),
            )),
            Self::NoOrigin => failed("no origin accepts the stream"),
            Self::ProtocolError(error) => Some((
                PublishRefusal::Failed,
                Cow::Owned(connection::reason(&error)),
            )),
            Self::InitDataTooLong { len, limit } => Some((
                PublishRefusal::Failed,
                Cow::Owned(format!(
                    "a sequence header or metadata of {len} bytes is above the limit of {limit}"
                )),
            )),
            Self::Disconnected => failed("this media node disconnects the stream, connect again"),
        }
    }
}

/// Serves an encoder until its stream ends.
pub(super) async fn serve(
    connection: &mut RtmpConnection,
    context: &RtmpContext,
    request: StreamRequest,
) -> Result<AfterStream, ConnectionLost> {
    let started = match &request.key {
        Ok(key) => start(connection, context, key, &request).await,
        Err(error) => Err((PublishRefusal::BadName, error.to_string())),
    };
    let count = |event| context.metrics.publishes.with_label_values(&[event]).inc();
    let mut publishing = match started {
        Ok(publishing) => publishing,
        Err((refusal, reason)) => {
            count("refused");
            info!(peer = %connection.peer, reason, "publish refused");
            connection.protocol.reject_publish(refusal, &reason);
            connection.flush().await?;
            return Ok(AfterStream::Close);
        }
    };
    count("started");
    let (client, epoch) = (publishing.client.id, publishing.publication.epoch().0);
    let stream = publishing.publication.key().clone();
    info!(%stream, client, peer = %connection.peer, epoch, agent = connection.agent, "publish started");
    connection.protocol.accept_publish();
    let idle_timeout = context.config.stream.publish_idle_timeout();
    let end = match connection.flush().await {
        Ok(()) => receive_stream(connection, &mut publishing, idle_timeout).await,
        Err(_) => PublishEnd::Closed,
    };
    let received = publishing.client.counters().received;
    info!(%stream, client, ?end, received, "publish ended");
    drop(publishing);
    count(end.label());
    if let Some(limit) = end.exceeded_limit() {
        context.metrics.exceeded(limit);
    }
    finish(connection, end).await
}

async fn start(
    connection: &RtmpConnection,
    context: &RtmpContext,
    key: &StreamKey,
    request: &StreamRequest,
) -> Result<Publishing, (PublishRefusal, String)> {
    let id = context.clients.next_id();
    let grant = context.auth.decide(Request {
        action: Action::Publish,
        stream: key,
        credential: &request.credential,
        peer: connection.peer.ip(),
        client: id,
        tc_url: &request.tc_url,
        page_url: &connection.page_url,
    });
    let grant = grant
        .await
        .map_err(|denial| (PublishRefusal::Denied, denial.to_string()))?;
    let epoch = context
        .relay
        .resolve_conflict(key)
        .await
        .map_err(|rejection| {
            let kind = match rejection {
                PublishRejection::AlreadyPublished => PublishRefusal::BadName,
                _ => PublishRefusal::Failed,
            };
            (kind, rejection.to_string())
        })?;
    let policy = match context.config.stream.duplicate_publish {
        DuplicatePublish::Takeover => DuplicatePolicy::Takeover,
        DuplicatePublish::Reject => DuplicatePolicy::Reject,
    };
    let now = Instant::now();
    let publication = context
        .registry
        .publish(key, epoch, PublicationSource::Encoder, policy, now)
        .map_err(|error| {
            let kind = match error {
                PublishError::TooManyStreams(_) => PublishRefusal::Failed,
                _ => PublishRefusal::BadName,
            };
            (kind, error.to_string())
        })?;
    Ok(Publishing {
        forwarding: context
            .relay
            .forward(publication.stream(), publication.epoch()),
        publication,
        client: context.clients.enter(NewClient {
            id,
            grant,
            peer: connection.peer,
            kind: ClientKind::Rtmp,
            role: ClientRole::Publisher,
            stream: key.clone(),
            agent: connection.agent.clone(),
        }),
        keyframe_flags: KeyframeFlags::default(),
        read_size: MIN_READ,
        pulse: None,
        last_message: now,
        drain_deadline: None,
        reconnects: false,
    })
}

async fn receive_stream(
    connection: &mut RtmpConnection,
    publishing: &mut Publishing,
    idle_timeout: Duration,
) -> PublishEnd {
    let mut superseded = pin!(publishing.publication.superseded());
    loop {
        if let Some(end) = publishing.append_messages(connection) {
            return end;
        }
        if connection.flush().await.is_err() {
            return PublishEnd::Closed;
        }
        let now = Instant::now();
        publishing.pulse = publishing.publication.pulse(now);
        let idle = publishing.last_message + idle_timeout;
        let deadline = publishing
            .drain_deadline
            .map_or(idle, |drain| drain.min(idle));
        if deadline <= now {
            return if idle <= now {
                PublishEnd::Idle
            } else {
                PublishEnd::Disconnected
            };
        }
        let due = publishing
            .pulse
            .map_or(deadline, |pulse| pulse.min(deadline));
        connection.input.reserve(publishing.read_size);
        tokio::select! {
            biased;
            reason = publishing.client.stopped() => match reason {
                StopReason::Draining => publishing.drain(&mut connection.protocol, now),
                StopReason::Kicked | StopReason::Now => return PublishEnd::Disconnected,
            },
            () = &mut superseded => return PublishEnd::Superseded,
            rejection = publishing.forwarding.rejected() => return match rejection {
                PublishRejection::NoOrigin => PublishEnd::NoOrigin,
                PublishRejection::AlreadyPublished | PublishRejection::Superseded => PublishEnd::Superseded,
            },
            () = sleep_until(due.into()) => {}
            read = connection.socket.read_buf(&mut connection.input) => match read {
                Ok(0) | Err(_) => return PublishEnd::Closed,
                Ok(read) => {
                    publishing.client.received(read);
                    publishing.read_size = next_read_size(publishing.read_size, read);
                }
            },
        }
    }
}

/// Returns the size of the read after one of `size` that returned `read` bytes.
fn next_read_size(size: usize, read: usize) -> usize {
    match read {
        read if read >= size => (size * 2).min(MAX_READ),
        read if read < size / 4 => (size / 2).max(MIN_READ),
        _ => size,
    }
}

impl Publishing {
    /// Appends the messages that were read to the log.
    fn append_messages(&mut self, connection: &mut RtmpConnection) -> Option<PublishEnd> {
        loop {
            match connection.protocol.receive(&mut connection.input) {
                Ok(Some(ServerEvent::Media(mut message))) => {
                    self.last_message = Instant::now();
                    if self.keyframe_flags.add_missing(&mut message) {
                        let (stream, agent) = (self.publication.key(), &connection.agent);
                        let codec = message.header().codec.map(tracing::field::debug);
                        warn!(%stream, client = self.client.id, agent, codec, "encoder does not flag keyframes, so they are found by their content");
                    }
                    if self.ends_before(&message) {
                        return Some(PublishEnd::Disconnected);
                    }
                    let appended = self.publication.append(message);
                    if let Appended::InitDataTooLong { len, limit } = appended {
                        return Some(PublishEnd::InitDataTooLong { len, limit });
                    }
                }
                Ok(Some(ServerEvent::Unpublish)) => return Some(PublishEnd::Unpublished),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => {
                    debug!(%error, "encoder violated the protocol");
                    return Some(PublishEnd::ProtocolError(error));
                }
            }
        }
    }

    /// Starts to drain the publish. An encoder that supports it is requested to reconnect: it connects to another media node
    /// first and then ends this publish. Any other encoder is disconnected at its next keyframe.
    fn drain(&mut self, protocol: &mut ServerConnection, now: Instant) {
        self.reconnects = protocol.request_reconnect(None, "this media node is shutting down");
        let has_keyframes = self.publication.stream().stats().video.is_some();
        let wait = match has_keyframes || self.reconnects {
            true => LAST_GROUP,
            false => Duration::ZERO,
        };
        self.drain_deadline = Some(now + wait);
    }

    fn ends_before(&self, message: &Message) -> bool {
        self.drain_deadline.is_some() && !self.reconnects && message.is_keyframe()
    }
}

/// Sends the reason for the end, where the encoder can still receive it.
async fn finish(
    connection: &mut RtmpConnection,
    end: PublishEnd,
) -> Result<AfterStream, ConnectionLost> {
    if end == PublishEnd::Closed {
        return Err(ConnectionLost::Closed);
    }
    let Some((refusal, reason)) = end.refusal() else {
        connection.flush().await?;
        return Ok(AfterStream::Continue);
    };
    connection.protocol.end_publish(refusal, &reason);
    connection.flush().await?;
    Ok(AfterStream::Close)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_grow_with_the_bitrate_and_shrink_again() {
        let after = |size, reads: &[usize]| {
            let next = |size, read: &usize| next_read_size(size, (*read).min(size));
            reads.iter().fold(size, next)
        };
        assert_eq!(after(MIN_READ, &[300; 9]), MIN_READ);
        assert_eq!(after(MIN_READ, &[1 << 20; 3]), 32 * 1024);
        assert_eq!(after(MIN_READ, &[1 << 20; 9]), MAX_READ);
        assert_eq!(after(MAX_READ, &[20_000; 9]), MAX_READ);
        assert_eq!(after(MAX_READ, &[1_000; 9]), MIN_READ);
    }
}
