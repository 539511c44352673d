//! The accepting side of a connection.

mod commands;
mod connect;

use bytes::{Bytes, BytesMut};

use super::RtmpError;
use super::chunk_writer::MESSAGE_STREAM;
use super::command;
use super::connection::{Incoming, Link};
use super::handshake::ServerHandshake;
use super::message;
use super::metadata;
use crate::amf0::Value;
use crate::{MediaKind, Message};

/// What a server allows and announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Bytes of the largest message.
    pub max_message_bytes: usize,
    /// Bytes after which the client acknowledges; also the bandwidth it is granted.
    pub window_ack: u32,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_message_bytes: 8 << 20,
            window_ack: 2_500_000,
        }
    }
}

/// One client's connection, without its socket.
///
/// ```text
/// loop:  read into `input`
///        while let Some(event) = receive(&mut input)?   each event is answered before the next call
///        while let Some(bytes) = output()               after every other call, and after an error
/// ```
///
/// # Guarantees
/// After `Connected`, `Publish` and `Play`, [`receive`](Self::receive) takes nothing more until the driver has answered,
/// so nothing of a client is lost while the driver waits for others. `Media` comes only between an accepted `Publish` and
/// its `Unpublish`; every accepted `Publish` and `Play` that the client ends gives one `Unpublish` or `StopPlay`.
///
/// # Caveats
/// A message's payload may share the memory of `input`: what is kept for long should be copied.
#[derive(Debug)]
pub struct ServerConnection {
    settings: ServerSettings,
    handshake: Option<ServerHandshake>,
    link: Link,
    state: State,
    /// An event that comes right behind another one.
    next: Option<ServerEvent>,
    tc_url: String,
    app: String,
    /// The client announced its stream by `FCPublish` and is answered in kind.
    fc_publish: bool,
    /// The client understands a request to connect elsewhere.
    can_reconnect: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// Waiting for `connect`.
    New,
    ConnectAsked(connect::Asked),
    Idle,
    PublishAsked,
    Publishing,
    PlayAsked,
    Playing,
}

/// What a client wants or sends.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerEvent {
    /// The client said what it connects to. Answer: [`ServerConnection::accept_connect`] or
    /// [`reject_connect`](ServerConnection::reject_connect).
    Connected {
        /// The application as it was sent, parameters included.
        app: String,
        /// The URL up to the application.
        tc_url: String,
        /// What the client calls itself (`flashVer`), fit to be shown; may be empty.
        agent: String,
    },
    /// The client wants to send a stream. Answer: [`ServerConnection::accept_publish`] or
    /// [`reject_publish`](ServerConnection::reject_publish).
    Publish {
        /// As in `Connected`.
        app: String,
        /// As in `Connected`.
        tc_url: String,
        /// The stream as it was sent, parameters included.
        stream: String,
    },
    /// The client wants to get a stream. Answer: [`ServerConnection::accept_play`] or
    /// [`reject_play`](ServerConnection::reject_play).
    Play {
        /// As in `Connected`.
        app: String,
        /// As in `Connected`.
        tc_url: String,
        /// The stream as it was sent, parameters included.
        stream: String,
    },
    /// A message of the stream that the client publishes.
    Media(Message),
    /// The viewer stops the picture (true) or wants it to go on. It is answered already.
    Pause(bool),
    /// The client has ended its stream and may publish again.
    Unpublish,
    /// The client wants no more of the stream and may play again.
    StopPlay,
}

/// Why a publish is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishRefusal {
    /// The name is taken, or no name.
    BadName,
    /// The client may not.
    Denied,
    /// The server cannot.
    Failed,
}

/// Why a play is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayRefusal {
    /// There is no such stream.
    StreamNotFound,
    /// The server cannot.
    Failed,
}

impl ServerConnection {
    /// A connection whose first byte is yet to come.
    pub fn new(settings: ServerSettings) -> Self {
        Self {
            settings,
            handshake: Some(ServerHandshake::new()),
            link: Link::new(settings.max_message_bytes),
            state: State::New,
            next: None,
            tc_url: String::new(),
            app: String::new(),
            fc_publish: false,
            can_reconnect: false,
        }
    }

    /// Takes bytes off the front of `input`; `None` when it needs more of them, or an answer.
    ///
    /// # Errors
    /// When the client breaks the protocol or a limit. The connection is of no use afterwards.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<ServerEvent>, RtmpError> {
        if !self.shake_hands(input)? {
            return Ok(None);
        }
        loop {
            if self.waits_for_answer() {
                return Ok(None);
            }
            if let Some(event) = self.next.take() {
                return Ok(Some(self.give(event)));
            }
            let Some(incoming) = self.link.receive(input)? else {
                return Ok(None);
            };
            let event = match incoming {
                Incoming::Media(message) => self.media(message),
                Incoming::Command(command) => self.command(&command)?,
                Incoming::PeerBandwidth(_) => None,
            };
            if let Some(event) = event {
                return Ok(Some(self.give(event)));
            }
        }
    }

    /// What is to be sent now. While a play is on, it goes between two messages of the stream.
    pub fn output(&mut self) -> Option<Bytes> {
        self.link.output()
    }

    /// Whether [`receive`](Self::receive) waits for the driver.
    pub fn waits_for_answer(&self) -> bool {
        matches!(
            self.state,
            State::ConnectAsked(_) | State::PublishAsked | State::PlayAsked
        )
    }

    fn shake_hands(&mut self, input: &mut BytesMut) -> Result<bool, RtmpError> {
        let Some(handshake) = &mut self.handshake else {
            return Ok(true);
        };
        let before = input.len();
        let done = handshake.receive(input, self.link.out())?;
        self.link.count(before - input.len());
        if done {
            self.handshake = None;
        }
        Ok(done)
    }

    fn media(&self, message: Message) -> Option<ServerEvent> {
        if self.state != State::Publishing || message.payload.is_empty() {
            return None;
        }
        if message.kind != MediaKind::Data {
            return Some(ServerEvent::Media(message));
        }
        metadata::published(message.payload.clone())
            .map(|payload| ServerEvent::Media(Message { payload, ..message }))
    }

    /// An event leaves: it decides what is waited for.
    fn give(&mut self, event: ServerEvent) -> ServerEvent {
        match &event {
            ServerEvent::Publish { .. } => self.state = State::PublishAsked,
            ServerEvent::Play { .. } => self.state = State::PlayAsked,
            ServerEvent::Unpublish | ServerEvent::StopPlay => self.state = State::Idle,
            ServerEvent::Connected { .. } | ServerEvent::Media(_) | ServerEvent::Pause(_) => {}
        }
        event
    }

    /// The stream may come.
    pub fn accept_publish(&mut self) {
        if self.state != State::PublishAsked {
            return;
        }
        self.state = State::Publishing;
        if std::mem::take(&mut self.fc_publish) {
            let status = command::status("status", PUBLISH_START, "Started publishing stream.");
            self.on_stream("onFCPublish", &[Value::Null, status]);
        }
        self.status("status", PUBLISH_START, "Started publishing stream.");
    }

    /// The stream may not come. The client may ask again.
    pub fn reject_publish(&mut self, refusal: PublishRefusal, description: &str) {
        if self.state != State::PublishAsked {
            return;
        }
        self.state = State::Idle;
        self.fc_publish = false;
        let code = match refusal {
            PublishRefusal::BadName => "NetStream.Publish.BadName",
            PublishRefusal::Denied => "NetStream.Publish.Denied",
            PublishRefusal::Failed => "NetStream.Publish.Failed",
        };
        self.status("error", code, description);
    }

    /// Ends the client's stream from our side, for example when another publisher takes over. It may publish again.
    pub fn end_publish(&mut self, refusal: PublishRefusal, description: &str) {
        if self.state == State::Publishing {
            self.state = State::PublishAsked;
            self.reject_publish(refusal, description);
        }
    }

    /// The stream comes: from now on the driver sends its messages, made by [`super::message_header`].
    pub fn accept_play(&mut self) {
        if self.state != State::PlayAsked {
            return;
        }
        self.state = State::Playing;
        self.stream_event(message::EVENT_STREAM_BEGIN);
        self.status(
            "status",
            "NetStream.Play.Reset",
            "Playing and resetting stream.",
        );
        self.status("status", "NetStream.Play.Start", "Started playing stream.");
        // Flash lets a script look at the picture only after this; `NetStream.Data.Start` is left out, as in SRS: some
        // players take it for media.
        self.link.data(&[
            "|RtmpSampleAccess".into(),
            Value::Boolean(true),
            Value::Boolean(true),
        ]);
    }

    /// The stream does not come. The client may ask again.
    pub fn reject_play(&mut self, refusal: PlayRefusal, description: &str) {
        if self.state != State::PlayAsked {
            return;
        }
        self.state = State::Idle;
        let code = match refusal {
            PlayRefusal::StreamNotFound => "NetStream.Play.StreamNotFound",
            PlayRefusal::Failed => "NetStream.Play.Failed",
        };
        self.status("error", code, description);
    }

    /// The stream that was played has ended. The client may play again.
    pub fn end_play(&mut self) {
        if self.state != State::Playing {
            return;
        }
        self.state = State::Idle;
        self.stream_event(message::EVENT_STREAM_EOF);
        self.status(
            "status",
            "NetStream.Play.UnpublishNotify",
            "The stream has ended.",
        );
    }

    fn stream_event(&mut self, event: u16) {
        self.link.send_user_control(event, &[MESSAGE_STREAM]);
    }

    /// Tells how the stream does.
    fn status(&mut self, level: &str, code: &str, description: &str) {
        let status = command::status(level, code, description);
        self.on_stream("onStatus", &[Value::Null, status]);
    }

    fn on_stream(&mut self, name: &str, values: &[Value]) {
        self.link.command_on(MESSAGE_STREAM, name, 0.0, values);
    }
}

const PUBLISH_START: &str = "NetStream.Publish.Start";

#[cfg(test)]
mod tests;
