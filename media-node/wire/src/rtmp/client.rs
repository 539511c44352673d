//! The dialling side of a connection: publishes one stream, or plays one.

use bytes::{Bytes, BytesMut};

use super::RtmpError;
use super::chunk_writer::MESSAGE_STREAM;
use super::command::{self, Command};
use super::connection::{Incoming, Link};
use super::handshake::ClientHandshake;
use super::message;
use super::metadata;
use super::url::RtmpUrl;
use crate::amf0::{Decoder, Value};
use crate::{MediaKind, Message};

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Bytes of the largest message.
    pub max_message_bytes: usize,
    /// Offers the digest form of the handshake.
    pub digest: bool,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            max_message_bytes: 16 << 20,
            digest: true,
        }
    }
}

/// One connection to a server, without its socket. It is driven as [`super::ServerConnection`] is.
#[derive(Debug)]
pub struct ClientConnection {
    url: RtmpUrl,
    purpose: Purpose,
    handshake: Option<ClientHandshake>,
    link: Link,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Publish,
    Play,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    CreatingStream,
    Asking,
    Ready,
    Ended,
}

/// What a server says or sends.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// The publish or play has started.
    Ready,
    /// A message of the stream that is played.
    Media(Message),
    /// How something went; before `Ready` an error is the answer to publish, play or connect.
    Status(RtmpStatus),
    /// The stream that was played has ended.
    Ended,
}

/// What a server says of a connection or stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RtmpStatus {
    /// `status`, `warning` or `error`.
    pub level: String,
    /// `NetStream.Play.Start`, and the like.
    pub code: String,
    /// For people.
    pub description: String,
}

impl RtmpStatus {
    /// Whether the server refuses.
    pub fn is_error(&self) -> bool {
        self.level == "error"
    }

    fn of(value: Option<&Value>) -> Self {
        let text = |name: &str| {
            let value = value.and_then(|value| value.property(name));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Self {
            level: text("level"),
            code: text("code"),
            description: text("description"),
        }
    }
}

/// Transactions of the commands whose answers matter.
const CONNECT: f64 = 1.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;
const FC_UNPUBLISH: f64 = 6.0;

/// The window that we announce and, without being asked, grant.
const WINDOW: u32 = 2_500_000;

/// Milliseconds of media that we say to buffer: players say 3,000 and some servers pace by it.
const BUFFER_MILLISECONDS: u32 = 3_000;

impl ClientConnection {
    /// A connection that publishes.
    pub fn publish(url: RtmpUrl, settings: ClientSettings) -> Self {
        Self::new(url, Purpose::Publish, settings)
    }

    /// A connection that plays.
    pub fn play(url: RtmpUrl, settings: ClientSettings) -> Self {
        Self::new(url, Purpose::Play, settings)
    }

    fn new(url: RtmpUrl, purpose: Purpose, settings: ClientSettings) -> Self {
        let mut link = Link::new(settings.max_message_bytes);
        let handshake = ClientHandshake::new(settings.digest, link.out());
        Self {
            url,
            purpose,
            handshake: Some(handshake),
            link,
            state: State::Connecting,
        }
    }

    /// Takes bytes off the front of `input`; `None` when it needs more of them.
    ///
    /// # Errors
    /// When the server breaks the protocol or a limit. The connection is of no use afterwards.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<ClientEvent>, RtmpError> {
        if !self.shake_hands(input)? {
            return Ok(None);
        }
        loop {
            let Some(incoming) = self.link.receive(input)? else {
                return Ok(None);
            };
            let event = match incoming {
                Incoming::Media(message) => self.media(message),
                Incoming::Command(command) => self.command(&command),
                Incoming::PeerBandwidth(window) => {
                    let window = window.to_be_bytes();
                    self.link
                        .control(message::WINDOW_ACKNOWLEDGEMENT_SIZE, &window);
                    None
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// What is to be sent now.
    pub fn output(&mut self) -> Option<Bytes> {
        self.link.output()
    }

    /// Sends a message of the stream that is published; metadata gets its `@setDataFrame`. Before `Ready` and after
    /// [`finish`](Self::finish) it is dropped.
    pub fn send(&mut self, message: &Message) {
        if self.state != State::Ready || self.purpose != Purpose::Publish {
            return;
        }
        match message.kind {
            MediaKind::Data => self.link.media(&Message {
                payload: metadata::to_publish(&message.payload),
                ..*message
            }),
            MediaKind::Audio | MediaKind::Video => self.link.media(message),
        }
    }

    /// Says that the stream ends, as FFmpeg and players do before they close.
    pub fn finish(&mut self) {
        if self.state != State::Ready {
            return;
        }
        self.state = State::Ended;
        if self.purpose == Purpose::Publish {
            let stream = Value::from(self.url.stream.as_str());
            self.link
                .command("FCUnpublish", FC_UNPUBLISH, &[Value::Null, stream]);
        }
        let stream = Value::from(f64::from(MESSAGE_STREAM));
        self.link
            .command("deleteStream", 0.0, &[Value::Null, stream]);
    }

    /// Asks the server to hold the picture, or to go on.
    pub fn pause(&mut self, paused: bool) {
        let values = [Value::Null, Value::Boolean(paused), 0.0.into()];
        self.link.command_on(MESSAGE_STREAM, "pause", 0.0, &values);
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
            self.connect();
        }
        Ok(done)
    }

    fn connect(&mut self) {
        let mut properties = command::properties([
            ("app", self.url.app.as_str().into()),
            ("flashVer", "LNX 9,0,124,2".into()),
            ("tcUrl", self.url.tc_url.as_str().into()),
            ("objectEncoding", 0.0.into()),
        ]);
        match self.purpose {
            Purpose::Publish => properties.push(("type".to_owned(), "nonprivate".into())),
            Purpose::Play => properties.extend(command::properties([
                ("fpad", Value::Boolean(false)),
                ("capabilities", 15.0.into()),
                ("audioCodecs", 4071.0.into()),
                ("videoCodecs", 252.0.into()),
                ("videoFunction", 1.0.into()),
            ])),
        }
        self.link
            .command("connect", CONNECT, &[Value::Object(properties)]);
    }

    fn connected(&mut self) {
        self.state = State::CreatingStream;
        self.link
            .control(message::WINDOW_ACKNOWLEDGEMENT_SIZE, &WINDOW.to_be_bytes());
        if self.purpose == Purpose::Publish {
            self.link.set_chunk_size();
            let stream = [Value::Null, self.url.stream.as_str().into()];
            self.link.command("releaseStream", RELEASE_STREAM, &stream);
            self.link.command("FCPublish", FC_PUBLISH, &stream);
        }
        self.link
            .command("createStream", CREATE_STREAM, &[Value::Null]);
    }

    /// The message stream is there. Its number is always ours to media, whatever a server says: all say 1.
    fn stream_created(&mut self) {
        self.state = State::Asking;
        let stream = Value::from(self.url.stream.as_str());
        let (name, argument) = match self.purpose {
            Purpose::Publish => ("publish", "live".into()),
            // -2: live, or else recorded (7.2.2.1).
            Purpose::Play => ("play", Value::Number(-2.0)),
        };
        self.link
            .command_on(MESSAGE_STREAM, name, 0.0, &[Value::Null, stream, argument]);
        if self.purpose == Purpose::Play {
            let numbers = [MESSAGE_STREAM, BUFFER_MILLISECONDS];
            self.link
                .send_user_control(message::EVENT_SET_BUFFER_LENGTH, &numbers);
        }
    }

    fn media(&self, message: Message) -> Option<ClientEvent> {
        if self.state != State::Ready || self.purpose != Purpose::Play || message.payload.is_empty()
        {
            return None;
        }
        if message.kind == MediaKind::Data {
            let name = Decoder::new(&message.payload).value().ok()?;
            if matches!(name.as_str()?, "|RtmpSampleAccess" | "onStatus") {
                return None;
            }
        }
        Some(ClientEvent::Media(message))
    }

    fn command(&mut self, command: &Command) -> Option<ClientEvent> {
        match command.name.as_str() {
            "_result" if command.transaction == CONNECT && self.state == State::Connecting => {
                self.connected();
                None
            }
            "_result"
                if command.transaction == CREATE_STREAM && self.state == State::CreatingStream =>
            {
                self.stream_created();
                None
            }
            "_error" if matches!(command.transaction, CONNECT | CREATE_STREAM) => {
                let mut status = RtmpStatus::of(command.argument(0));
                "error".clone_into(&mut status.level);
                Some(ClientEvent::Status(status))
            }
            "onStatus" => Some(self.status(RtmpStatus::of(command.argument(0)))),
            _ => None,
        }
    }

    fn status(&mut self, status: RtmpStatus) -> ClientEvent {
        let started = match self.purpose {
            Purpose::Publish => "NetStream.Publish.Start",
            Purpose::Play => "NetStream.Play.Start",
        };
        let ended = [
            "NetStream.Play.UnpublishNotify",
            "NetStream.Play.Stop",
            "NetStream.Play.Complete",
        ];
        if self.state == State::Asking && status.code == started {
            self.state = State::Ready;
            return ClientEvent::Ready;
        }
        if self.state == State::Ready && ended.contains(&status.code.as_str()) {
            self.state = State::Ended;
            return ClientEvent::Ended;
        }
        ClientEvent::Status(status)
    }
}
