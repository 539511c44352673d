//! An encoder's connection, on air or standing by: its messages and the requests to disconnect it.

use std::time::Duration;

use media_engine::IncompleteMessages;
use media_wire::media::{Av1Configuration, KeyframeFlags, use_coded_frames};
use media_wire::rtmp::server::ServerEvent;
use media_wire::{Message, StreamKey};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::super::connection::RtmpConnection;
use super::super::context::RtmpContext;
use super::super::read_buffer;
use super::arrivals::Arrivals;
use super::bitrate::BitrateLimit;
use super::end::PublishEnd;
use super::message_rate::MessageRate;
use crate::delivery::socket_memory::unread_limit;
use crate::state::clients::{ClientGuard, StopReason};

/// Time that a draining publish may take to its second keyframe.
const LAST_GROUPS: Duration = Duration::from_secs(10);

/// An encoder that may publish or stand by.
pub(super) struct EncoderConnection<'a> {
    pub(super) connection: &'a mut RtmpConnection,
    pub(super) context: &'a RtmpContext,
    pub(super) client: ClientGuard,
    pub(super) key: StreamKey,
    pub(super) priority: u8,
    pub(super) arrivals: Arrivals,
    keyframe_flags: KeyframeFlags,
    av1: Av1Configuration,
    /// The frame after a configuration that was held back for it.
    next_frame: Option<Message>,
    incomplete: IncompleteMessages,
    bitrate: BitrateLimit,
    messages: MessageRate,
    /// The message that [`EncoderConnection::put_back`] returned.
    put_back: Option<Message>,
    /// The input is in the worker's buffer.
    has_buffer: bool,
    /// The last call of [`EncoderConnection::input`] has read.
    has_read: bool,
    /// The last read filled its buffer, so that more bytes are probably there already.
    was_full: bool,
    /// What the kernel may hold unread, in bytes, if it was limited.
    unread_limit: Option<u32>,
    drain: Option<DrainStep>,
}

/// What a draining publish waits for, and until when.
#[derive(Clone, Copy)]
enum DrainStep {
    /// The next keyframe, at which viewers here are disconnected. They find the group that begins there on another media node, as long
    /// as the encoder sends it.
    Viewers(Instant),
    /// The next keyframe, at which the encoder is requested to end.
    Keyframe(Instant),
    /// The encoder connects to another media node first, and then ends this publish.
    Reconnect(Instant),
    /// The encoder was requested to end.
    End(Instant),
}

impl DrainStep {
    fn deadline(self) -> Instant {
        match self {
            Self::Viewers(deadline)
            | Self::Keyframe(deadline)
            | Self::Reconnect(deadline)
            | Self::End(deadline) => deadline,
        }
    }
}

impl<'a> EncoderConnection<'a> {
    pub(super) fn new(
        connection: &'a mut RtmpConnection,
        context: &'a RtmpContext,
        client: ClientGuard,
        key: StreamKey,
        priority: u8,
        bitrate: BitrateLimit,
    ) -> Self {
        let (silence, now) = (context.config.stream.failover_after(), Instant::now());
        let max_messages = context.limits.get().max_publish_messages_per_second();
        Self {
            messages: MessageRate::new(max_messages, connection.protocol.messages(), now),
            connection,
            context,
            client,
            key,
            priority,
            arrivals: Arrivals::new(silence, now),
            keyframe_flags: KeyframeFlags::default(),
            av1: Av1Configuration::default(),
            next_frame: None,
            incomplete: context.registry.incomplete_messages(),
            bitrate,
            put_back: None,
            has_buffer: false,
            has_read: false,
            was_full: false,
            drain: None,
            unread_limit: None,
        }
    }

    /// Returns the next of the messages that were read.
    pub(super) async fn next_message(&mut self) -> Result<Option<Message>, PublishEnd> {
        if let Some(message) = self.put_back.take().or_else(|| self.next_frame.take()) {
            return Ok(Some(message));
        }
        loop {
            let RtmpConnection {
                protocol, input, ..
            } = &mut *self.connection;
            let (received, now) = (protocol.receive(input), Instant::now());
            let counted = self.messages.receive(protocol.messages(), now);
            counted.map_err(PublishEnd::TooManyMessages)?;
            match received {
                Ok(Some(ServerEvent::Media(mut message))) => {
                    self.arrivals.record(now);
                    self.flag_keyframe(&mut message);
                    use_coded_frames(&mut message);
                    if message.is_keyframe() {
                        self.drain_at_keyframe();
                    }
                    if self.av1.hold(&message) {
                        continue;
                    }
                    let configuration = self.av1.release(&message);
                    if configuration.is_some() {
                        self.next_frame = Some(message);
                        return Ok(configuration);
                    }
                    return Ok(Some(message));
                }
                Ok(Some(ServerEvent::Unpublish)) => {
                    return Err(self.end_by_encoder(PublishEnd::Unpublished));
                }
                // The worker's viewers get their turn.
                Ok(Some(ServerEvent::Skipped)) => yield_now().await,
                Ok(Some(_)) => {}
                Ok(None) => {
                    let held = self.incomplete.hold(protocol.reserved());
                    self.give_back_buffer();
                    return held.map(|()| None).map_err(PublishEnd::OutOfMemory);
                }
                Err(error) => {
                    debug!(%error, "encoder violated the protocol");
                    return Err(PublishEnd::ProtocolError(error));
                }
            }
        }
    }

    /// Returns a message to those that were read, as the first one.
    pub(super) fn put_back(&mut self, message: Message) {
        self.put_back = Some(message);
    }

    /// Limits what the kernel holds unread of an encoder that sends faster than it is read.
    fn limit_unread(&mut self) {
        if let Some(limit) = unread_limit(&self.context.registry)
            && self.unread_limit.replace(limit) != Some(limit)
        {
            self.connection.socket.limit_unread(limit);
        }
    }

    fn flag_keyframe(&mut self, message: &mut Message) {
        if self.keyframe_flags.add_missing(message) {
            let (stream, client, agent) = (&self.key, self.client.id, &self.connection.agent);
            let codec = message.header().codec.map(tracing::field::debug);
            warn!(%stream, client, agent, codec, "encoder does not flag keyframes, so they are found by their content");
        }
    }

    /// Sends pending answers.
    pub(super) async fn flush(&mut self) -> Result<(), PublishEnd> {
        let flushed = self.connection.flush().await;
        flushed.map_err(|_| PublishEnd::Closed)
    }

    /// Waits for more bytes, until `due` at the latest. Returns a request to drain. Cancel safe.
    pub(super) async fn input(&mut self, due: Instant) -> Result<Option<Drain>, PublishEnd> {
        let now = Instant::now();
        let idle = self.arrivals.last() + self.context.config.stream.publish_idle_timeout();
        if std::mem::take(&mut self.has_read) && idle <= now {
            return Err(PublishEnd::Idle);
        }
        let deadline = self.drain.map(DrainStep::deadline);
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(self.end_by_encoder(PublishEnd::Disconnected));
        }
        let due = [Some(due), Some(idle), deadline];
        let due = due.into_iter().flatten().min().unwrap_or(idle);
        if std::mem::take(&mut self.was_full) {
            self.limit_unread();
            // The worker's viewers get their turn between two full reads. After a smaller read they do not: its keyframe would reach
            // them one turn later.
            yield_now().await;
        }
        let RtmpConnection { socket, input, .. } = &mut *self.connection;
        tokio::select! {
            biased;
            reason = self.client.stopped() => match reason {
                StopReason::Draining => return Ok(Some(Drain)),
                StopReason::Kicked => return Err(PublishEnd::Disconnected),
                StopReason::Now => self.request_end(),
            },
            read = read_buffer::read(socket, input) => match read {
                Ok(0) | Err(_) => return Err(self.end_by_encoder(PublishEnd::Closed)),
                Ok(read) => {
                    self.has_buffer = true;
                    self.has_read = true;
                    self.client.received(read);
                    let received = self.bitrate.receive(read, Instant::now());
                    received.map_err(PublishEnd::BitrateExceeded)?;
                    self.was_full = read >= read_buffer::READ;
                }
            },
            () = timed_out(due, idle) => if idle <= Instant::now() {
                return Err(PublishEnd::Idle);
            },
        }
        Ok(None)
    }

    /// Starts to drain the publish. An encoder that supports it is requested to reconnect: it connects to another media node
    /// first and then ends this publish. Any other encoder is requested to end at its second keyframe, or `immediately` where no viewer
    /// waits for a keyframe.
    pub(super) fn drain(&mut self, immediately: bool) {
        let protocol = &mut self.connection.protocol;
        let deadline = Instant::now() + LAST_GROUPS;
        if protocol.request_reconnect(None, "this media node is shutting down") {
            self.drain = Some(DrainStep::Reconnect(deadline));
        } else if immediately {
            self.request_end();
        } else {
            self.drain = Some(DrainStep::Viewers(deadline));
        }
    }

    fn drain_at_keyframe(&mut self) {
        match self.drain {
            Some(DrainStep::Viewers(deadline)) => self.drain = Some(DrainStep::Keyframe(deadline)),
            Some(DrainStep::Keyframe(_)) => self.request_end(),
            _ => {}
        }
    }

    /// Requests the encoder to end. It sends more until it has the request.
    fn request_end(&mut self) {
        if let Some((refusal, reason)) = PublishEnd::Disconnected.refusal() {
            let protocol = &mut self.connection.protocol;
            protocol.announce_publish_end(refusal, &reason);
        }
        self.drain = Some(DrainStep::End(Instant::now() + self.context.last_bytes));
    }

    /// Returns why the publish ends when the encoder ends it, or its time to do so is over.
    fn end_by_encoder(&self, end: PublishEnd) -> PublishEnd {
        match self.drain {
            Some(DrainStep::End(_)) => PublishEnd::Drained,
            _ => end,
        }
    }

    fn give_back_buffer(&mut self) {
        if std::mem::take(&mut self.has_buffer) {
            read_buffer::give_back(&mut self.connection.input);
        }
    }
}

/// Waits until `due`, and for what has arrived when that is `idle`: a media node that did not run for a while finds the timeout over before
/// it finds what the encoder has sent meanwhile.
async fn timed_out(due: Instant, idle: Instant) {
    sleep_until(due).await;
    if idle <= Instant::now() {
        yield_now().await;
    }
}

/// The connection may stay, and must not keep the worker's buffer.
impl Drop for EncoderConnection<'_> {
    fn drop(&mut self) {
        self.give_back_buffer();
    }
}

/// A request to drain the publish.
pub(super) struct Drain;
