//! The server's side of a connection.

mod commands;
mod connect;
mod event;

use bytes::{Bytes, BytesMut};

pub use self::event::{PlayRefusal, PublishRefusal, ServerEvent};
use super::chunk_writer::MESSAGE_STREAM;
use super::command;
use super::connection::{ChunkConnection, IncomingMessage, RtmpError};
use super::handshake::ServerHandshake;
use super::message;
use super::metadata;
use crate::amf0::Value;
use crate::{MediaKind, Message};

/// The limits and announcements of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Maximum bytes of a message of a client that publishes, and of its incomplete messages together.
    pub max_message_bytes: usize,
    /// The same maximum while the client does not publish. It needs commands only then.
    pub max_command_bytes: usize,
    /// The acknowledgement window, and the bandwidth that the client is granted.
    pub window_ack: u32,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_message_bytes: 8 << 20,
            max_command_bytes: command::MAX_COMMAND,
            window_ack: 2_500_000,
        }
    }
}

/// One client's connection, without its socket.
///
/// ```text
/// loop:  read into `input`
///        while let Some(event) = receive(&mut input)?   answer each request before the next call
///        while let Some(bytes) = output()               after every other call, and after an error
/// ```
///
/// # Guarantees
/// After `Connected`, `Publish` and `Play`, [`receive`](Self::receive) takes no further bytes until the driver has answered,
/// so no message is lost while the driver waits. `Media` occurs only between an accepted `Publish` and its `Unpublish`.
/// Every accepted `Publish` and `Play` that the client ends has one `Unpublish` or `StopPlay`.
///
/// # Caveats
/// A message's payload can share the memory of `input`. Copy a payload that is kept for long.
#[derive(Debug)]
pub struct ServerConnection {
    settings: ServerSettings,
    handshake: Option<ServerHandshake>,
    connection: ChunkConnection,
    state: ServerState,
    /// The number of messages received, modulo 2^32. Each part of an aggregate is one.
    messages: u32,
    /// An event that follows directly after another one.
    next: Option<ServerEvent>,
    tc_url: String,
    app: String,
    /// The client has sent `FCPublish` and expects `onFCPublish`.
    fc_publish: bool,
    /// The client supports reconnect requests.
    can_reconnect: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum ServerState {
    /// Waits for `connect`.
    New,
    ConnectRequested(ConnectRequest),
    Idle,
    PublishRequested,
    Publishing,
    PlayRequested,
    Playing,
}

/// The fields of `connect` that its response needs.
#[derive(Clone, Debug, PartialEq)]
struct ConnectRequest {
    transaction: f64,
    /// The AMF version that the client prefers, 0 or 3. The response repeats it. Responses are always AMF 0.
    object_encoding: f64,
    /// Enhanced RTMP's capability bits, or `None` if the client does not announce Enhanced RTMP.
    enhanced: Option<f64>,
}

/// The number of messages without an event after which there is [`ServerEvent::Skipped`].
const MAX_SKIPPED: usize = 256;

impl ServerConnection {
    /// Returns a connection before its first byte.
    pub fn new(settings: ServerSettings) -> Self {
        Self {
            settings,
            handshake: Some(ServerHandshake::new()),
            connection: ChunkConnection::new(settings.max_command_bytes),
            state: ServerState::New,
            messages: 0,
            next: None,
            tc_url: String::new(),
            app: String::new(),
            fc_publish: false,
            can_reconnect: false,
        }
    }

    /// Takes bytes off the front of `input`. Returns `None` when it needs more bytes, or an answer.
    ///
    /// # Errors
    /// When the client violates the protocol or a limit. The connection must not be used afterwards.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<ServerEvent>, RtmpError> {
        if let Some(handshake) = &mut self.handshake {
            let receive = |input: &mut _, out: &mut _| handshake.receive(input, out);
            if !self.connection.continue_handshake(input, receive)? {
                return Ok(None);
            }
            self.handshake = None;
        }
        for _ in 0..MAX_SKIPPED {
            if self.waits_for_answer() {
                return Ok(None);
            }
            if let Some(event) = self.next.take() {
                return Ok(Some(self.deliver(event)));
            }
            let Some(incoming) = self.connection.receive(input)? else {
                return Ok(None);
            };
            self.messages = self.messages.wrapping_add(1);
            let event = match incoming {
                IncomingMessage::Media(message) => self.media(message),
                IncomingMessage::Command(command) => self.command(&command)?,
                IncomingMessage::PeerBandwidth(_) | IncomingMessage::Handled => None,
            };
            if let Some(event) = event {
                return Ok(Some(self.deliver(event)));
            }
        }
        Ok(Some(ServerEvent::Skipped))
    }

    /// Takes the output that waits to be sent. While a stream is played, send it between two of its messages.
    pub fn output(&mut self) -> Option<Bytes> {
        self.connection.output()
    }

    /// Returns the bytes of memory that incomplete messages of the client occupy.
    pub fn reserved(&self) -> usize {
        self.connection.reserved()
    }

    /// Returns the number of messages that the client has sent, modulo 2^32. Each part of an aggregate message is one.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Returns whether [`receive`](Self::receive) waits for an answer of the driver.
    pub fn waits_for_answer(&self) -> bool {
        matches!(
            self.state,
            ServerState::ConnectRequested(_)
                | ServerState::PublishRequested
                | ServerState::PlayRequested
        )
    }

    fn media(&self, message: Message) -> Option<ServerEvent> {
        if self.state != ServerState::Publishing || message.payload.is_empty() {
            return None;
        }
        if message.kind != MediaKind::Data {
            return Some(ServerEvent::Media(message));
        }
        metadata::for_viewers(message.payload.clone())
            .map(|payload| ServerEvent::Media(Message { payload, ..message }))
    }

    /// Updates the state for an event that is returned to the driver.
    fn deliver(&mut self, event: ServerEvent) -> ServerEvent {
        match &event {
            ServerEvent::Publish { .. } => self.state = ServerState::PublishRequested,
            ServerEvent::Play { .. } => self.state = ServerState::PlayRequested,
            ServerEvent::Unpublish => self.stop_publishing(),
            ServerEvent::StopPlay => self.state = ServerState::Idle,
            ServerEvent::Connected { .. }
            | ServerEvent::Media(_)
            | ServerEvent::Pause(_)
            | ServerEvent::Skipped => {}
        }
        event
    }

    /// Accepts the stream.
    pub fn accept_publish(&mut self) {
        if self.state != ServerState::PublishRequested {
            return;
        }
        self.state = ServerState::Publishing;
        self.connection
            .limit_messages(self.settings.max_message_bytes);
        if std::mem::take(&mut self.fc_publish) {
            let status = command::status("status", PUBLISH_START, "Started publishing stream.");
            self.send_on_stream("onFCPublish", &[Value::Null, status]);
        }
        self.status("status", PUBLISH_START, "Started publishing stream.");
    }

    /// Refuses the stream. The client can try again.
    pub fn reject_publish(&mut self, refusal: PublishRefusal, description: &str) {
        if self.state != ServerState::PublishRequested {
            return;
        }
        self.stop_publishing();
        self.fc_publish = false;
        self.publish_error(refusal, description);
    }

    /// Announces the end of the client's stream, and the reason. What the client sends until it closes the connection still belongs to
    /// the stream.
    pub fn announce_publish_end(&mut self, refusal: PublishRefusal, description: &str) {
        if self.state == ServerState::Publishing {
            self.publish_error(refusal, description);
        }
    }

    fn publish_error(&mut self, refusal: PublishRefusal, description: &str) {
        let code = match refusal {
            PublishRefusal::BadName => "NetStream.Publish.BadName",
            PublishRefusal::Denied => "NetStream.Publish.Denied",
            PublishRefusal::Failed => "NetStream.Publish.Failed",
        };
        self.status("error", code, description);
    }

    /// Ends the client's stream, for example when another publisher takes over. The client can publish again.
    pub fn end_publish(&mut self, refusal: PublishRefusal, description: &str) {
        if self.state == ServerState::Publishing {
            self.state = ServerState::PublishRequested;
            self.reject_publish(refusal, description);
        }
    }

    fn stop_publishing(&mut self) {
        self.state = ServerState::Idle;
        self.connection
            .limit_messages(self.settings.max_command_bytes);
    }

    /// Accepts the viewer. From then on the driver sends the stream's messages, with headers of
    /// [`message_header`](super::message_header).
    pub fn accept_play(&mut self) {
        if self.state != ServerState::PlayRequested {
            return;
        }
        self.state = ServerState::Playing;
        self.stream_event(message::EVENT_STREAM_BEGIN);
        self.status(
            "status",
            "NetStream.Play.Reset",
            "Playing and resetting stream.",
        );
        self.status("status", "NetStream.Play.Start", "Started playing stream.");
        // Flash requires this before a script reads the video. `NetStream.Data.Start` is omitted, as in SRS, because some
        // players take it for media.
        self.connection.data(&[
            "|RtmpSampleAccess".into(),
            Value::Boolean(true),
            Value::Boolean(true),
        ]);
    }

    /// Refuses the viewer. The client can try again.
    pub fn reject_play(&mut self, refusal: PlayRefusal, description: &str) {
        if self.state != ServerState::PlayRequested {
            return;
        }
        self.state = ServerState::Idle;
        let code = match refusal {
            PlayRefusal::StreamNotFound => "NetStream.Play.StreamNotFound",
            PlayRefusal::Failed => "NetStream.Play.Failed",
        };
        self.status("error", code, description);
    }

    /// Ends the stream that is played. The client can play again.
    pub fn end_play(&mut self) {
        self.finish_play("NetStream.Play.UnpublishNotify", "The stream has ended.");
    }

    /// Ends the play after the time that the client has asked for. The client can play again.
    pub fn complete_play(&mut self) {
        self.finish_play(
            "NetStream.Play.Stop",
            "The duration of the play command is over.",
        );
    }

    fn finish_play(&mut self, code: &str, description: &str) {
        if self.state != ServerState::Playing {
            return;
        }
        self.state = ServerState::Idle;
        self.stream_event(message::EVENT_STREAM_EOF);
        self.status("status", code, description);
    }

    /// Sends the reason for which the driver closes the connection.
    pub fn close(&mut self, description: &str) {
        let status = command::status("error", "NetConnection.Connect.Closed", description);
        self.connection
            .command("onStatus", 0.0, &[Value::Null, status]);
    }

    fn stream_event(&mut self, event: u16) {
        self.connection.send_user_control(event, &[MESSAGE_STREAM]);
    }

    /// Sends `onStatus` for the stream.
    fn status(&mut self, level: &str, code: &str, description: &str) {
        let status = command::status(level, code, description);
        self.send_on_stream("onStatus", &[Value::Null, status]);
    }

    fn send_on_stream(&mut self, name: &str, values: &[Value]) {
        self.connection
            .command_on(MESSAGE_STREAM, name, 0.0, values);
    }
}

const PUBLISH_START: &str = "NetStream.Publish.Start";

#[cfg(test)]
mod tests;
