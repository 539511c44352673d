//! The client's side of a connection: it publishes one stream, or plays one.

use bytes::{Bytes, BytesMut};

use super::chunk_writer::MESSAGE_STREAM;
use super::command::{self, RtmpCommand};
use super::connection::{ChunkConnection, IncomingMessage, RtmpError};
use super::handshake::ClientHandshake;
use super::message;
use super::metadata;
use super::url::RtmpUrl;
use crate::amf0::{Decoder, Value};
use crate::{MediaKind, Message};

/// The settings of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Maximum bytes of a message.
    pub max_message_bytes: usize,
    /// Whether to offer the digest form of the handshake.
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

/// One connection to a server, without its socket. The driver's loop is that of [`super::ServerConnection`].
#[derive(Debug)]
pub struct ClientConnection {
    url: RtmpUrl,
    purpose: Purpose,
    handshake: Option<ClientHandshake>,
    connection: ChunkConnection,
    state: ClientState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Publish,
    Play,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientState {
    Connecting,
    CreatingStream,
    /// The publish or play is requested.
    Requested,
    Ready,
    Ended,
}

/// A response or message of a server.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// The publish or play has started.
    Ready,
    /// A message of the stream that is played.
    Media(Message),
    /// A status. Before `Ready`, an error is the response to publish, play or connect.
    Status(RtmpStatus),
    /// The stream that was played has ended.
    Ended,
}

/// The status of a connection or stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RtmpStatus {
    /// `status`, `warning` or `error`.
    pub level: String,
    /// For example `NetStream.Play.Start`.
    pub code: String,
    /// A text for users.
    pub description: String,
}

impl RtmpStatus {
    /// Returns whether the server has refused the request.
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

/// The transactions of commands that expect a response.
const CONNECT: f64 = 1.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;
const FC_UNPUBLISH: f64 = 6.0;

/// The acknowledgement window that the client announces.
const WINDOW: u32 = 2_500_000;

/// The codecs of Enhanced RTMP, as MediaMTX leaves out the tracks whose codec the player does not name. The last one stands for all others.
const FOUR_CCS: [&str; 12] = [
    "av01", "vp09", "vp08", "hvc1", "avc1", "Opus", "fLaC", "ac-3", "ec-3", "mp4a", ".mp3", "*",
];

/// The buffer length that the client announces in milliseconds. Players announce 3,000, and some servers pace by it.
const BUFFER_MILLISECONDS: u32 = 3_000;

impl ClientConnection {
    /// Returns a connection that publishes.
    pub fn publish(url: RtmpUrl, settings: ClientSettings) -> Self {
        Self::new(url, Purpose::Publish, settings)
    }

    /// Returns a connection that plays.
    pub fn play(url: RtmpUrl, settings: ClientSettings) -> Self {
        Self::new(url, Purpose::Play, settings)
    }

    fn new(url: RtmpUrl, purpose: Purpose, settings: ClientSettings) -> Self {
        let mut connection = ChunkConnection::new(settings.max_message_bytes);
        let handshake = ClientHandshake::new(settings.digest, connection.out());
        Self {
            url,
            purpose,
            handshake: Some(handshake),
            connection,
            state: ClientState::Connecting,
        }
    }

    /// Takes bytes off the front of `input`. Returns `None` when it needs more bytes.
    ///
    /// # Errors
    /// When the server violates the protocol or a limit. The connection must not be used afterwards.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<ClientEvent>, RtmpError> {
        if let Some(handshake) = &mut self.handshake {
            let receive = |input: &mut _, out: &mut _| handshake.receive(input, out);
            if !self.connection.continue_handshake(input, receive)? {
                return Ok(None);
            }
            self.handshake = None;
            self.connect();
        }
        loop {
            let Some(incoming) = self.connection.receive(input)? else {
                return Ok(None);
            };
            let event = match incoming {
                IncomingMessage::Media(message) => self.media(message),
                IncomingMessage::Command(command) => self.command(&command),
                IncomingMessage::PeerBandwidth(window) => {
                    let window = window.to_be_bytes();
                    self.connection
                        .control(message::WINDOW_ACKNOWLEDGEMENT_SIZE, &window);
                    None
                }
                IncomingMessage::Handled => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// Takes the output that waits to be sent.
    pub fn output(&mut self) -> Option<Bytes> {
        self.connection.output()
    }

    /// Sends a message of the stream that is published. Metadata gets its `@setDataFrame`. Messages before `Ready` and after
    /// [`finish`](Self::finish) are dropped.
    pub fn send(&mut self, message: &Message) {
        if self.state != ClientState::Ready || self.purpose != Purpose::Publish {
            return;
        }
        match message.kind {
            MediaKind::Data => self.connection.media(&Message {
                payload: metadata::for_server(&message.payload),
                ..*message
            }),
            MediaKind::Audio | MediaKind::Video => self.connection.media(message),
        }
    }

    /// Announces the end of the stream, as FFmpeg and players do before they close.
    pub fn finish(&mut self) {
        if self.state != ClientState::Ready {
            return;
        }
        self.state = ClientState::Ended;
        if self.purpose == Purpose::Publish {
            let stream = Value::from(self.url.stream.as_str());
            self.connection
                .command("FCUnpublish", FC_UNPUBLISH, &[Value::Null, stream]);
        }
        let stream = Value::from(f64::from(MESSAGE_STREAM));
        self.connection
            .command("deleteStream", 0.0, &[Value::Null, stream]);
    }

    /// Requests the server to pause or to resume.
    pub fn pause(&mut self, paused: bool) {
        let values = [Value::Null, Value::Boolean(paused), 0.0.into()];
        self.connection
            .command_on(MESSAGE_STREAM, "pause", 0.0, &values);
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
                ("fourCcList", four_ccs()),
            ])),
        }
        self.connection
            .command("connect", CONNECT, &[Value::Object(properties)]);
    }

    fn connected(&mut self) {
        self.state = ClientState::CreatingStream;
        self.connection
            .control(message::WINDOW_ACKNOWLEDGEMENT_SIZE, &WINDOW.to_be_bytes());
        if self.purpose == Purpose::Publish {
            self.connection.set_chunk_size();
            let stream = [Value::Null, self.url.stream.as_str().into()];
            self.connection
                .command("releaseStream", RELEASE_STREAM, &stream);
            self.connection.command("FCPublish", FC_PUBLISH, &stream);
        }
        self.connection
            .command("createStream", CREATE_STREAM, &[Value::Null]);
    }

    /// Requests the stream on the new message stream. Its number is not read from the response, because every server answers
    /// with 1.
    fn stream_created(&mut self) {
        self.state = ClientState::Requested;
        let stream = Value::from(self.url.stream.as_str());
        let (name, argument) = match self.purpose {
            Purpose::Publish => ("publish", "live".into()),
            // -2 requests a live stream, or else a recorded one (7.2.2.1).
            Purpose::Play => ("play", Value::Number(-2.0)),
        };
        self.connection
            .command_on(MESSAGE_STREAM, name, 0.0, &[Value::Null, stream, argument]);
        if self.purpose == Purpose::Play {
            let numbers = [MESSAGE_STREAM, BUFFER_MILLISECONDS];
            self.connection
                .send_user_control(message::EVENT_SET_BUFFER_LENGTH, &numbers);
        }
    }

    fn media(&self, message: Message) -> Option<ClientEvent> {
        if self.state != ClientState::Ready
            || self.purpose != Purpose::Play
            || message.payload.is_empty()
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

    fn command(&mut self, command: &RtmpCommand) -> Option<ClientEvent> {
        match command.name.as_str() {
            "_result"
                if command.transaction == CONNECT && self.state == ClientState::Connecting =>
            {
                self.connected();
                None
            }
            "_result"
                if command.transaction == CREATE_STREAM
                    && self.state == ClientState::CreatingStream =>
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
        if self.state == ClientState::Requested && status.code == started {
            self.state = ClientState::Ready;
            return ClientEvent::Ready;
        }
        if self.state == ClientState::Ready && ended.contains(&status.code.as_str()) {
            self.state = ClientState::Ended;
            return ClientEvent::Ended;
        }
        ClientEvent::Status(status)
    }
}

fn four_ccs() -> Value {
    Value::StrictArray(FOUR_CCS.iter().map(|&four_cc| four_cc.into()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amf0;
    use crate::rtmp::chunk_reader::ChunkReader;

    #[test]
    fn player_names_the_codecs_of_enhanced_rtmp() {
        let url = RtmpUrl::parse("rtmp://h/live/cam").unwrap();
        let settings = ClientSettings {
            digest: false,
            ..ClientSettings::default()
        };
        let mut client = ClientConnection::play(url, settings);
        let mut handshake = BytesMut::from(&[3; 1 + 2 * 1536][..]);
        client.receive(&mut handshake).unwrap();
        let mut sent = BytesMut::new();
        while let Some(bytes) = client.output() {
            sent.extend_from_slice(&bytes);
        }
        let mut connect = sent.split_off(1 + 2 * 1536);
        let connect = ChunkReader::new(1 << 20).receive(&mut connect).unwrap();
        let connect = amf0::decode_all(&connect.unwrap().payload).unwrap();
        let four_ccs = connect[2].property("fourCcList");
        let Some(Value::StrictArray(four_ccs)) = four_ccs else {
            panic!("no list of codecs: {four_ccs:?}")
        };
        for four_cc in ["hvc1", "av01", "vp09", "Opus", "*"] {
            assert!(four_ccs.contains(&four_cc.into()), "{four_cc}");
        }
    }
}
