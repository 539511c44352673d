//! A server connection after its handshake: events in a valid order, bounded responses.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use media_wire::amf0::{Value, encode_all};
use media_wire::rtmp::{
    PlayRefusal, PublishRefusal, ServerConnection, ServerEvent, ServerSettings,
};

#[derive(Arbitrary, Debug)]
struct ServerInput<'a> {
    connect: bool,
    step: u8,
    /// One bit for each kind of request. A set bit means that it is refused.
    refused: u8,
    sent: Vec<Sent<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Sent<'a> {
    Command {
        name: u8,
        transaction: u8,
        arguments: Vec<Argument<'a>>,
    },
    Message {
        message_type: u8,
        timestamp: u32,
        payload: &'a [u8],
    },
    Bytes(&'a [u8]),
}

#[derive(Arbitrary, Debug)]
enum Argument<'a> {
    Null,
    Boolean(bool),
    Number(f64),
    Text(&'a str),
    StreamName(&'a str),
}

const COMMANDS: [&str; 18] = [
    "connect",
    "createStream",
    "releaseStream",
    "FCPublish",
    "publish",
    "FCUnpublish",
    "play",
    "play2",
    "FCSubscribe",
    "FCUnsubscribe",
    "pause",
    "seek",
    "closeStream",
    "deleteStream",
    "close",
    "getStreamLength",
    "_checkbw",
    "onStatus",
];

impl Sent<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Command {
                name,
                transaction,
                arguments,
            } => {
                let name = COMMANDS[usize::from(*name) % COMMANDS.len()];
                let mut values = vec![
                    name.into(),
                    Value::Number(f64::from(*transaction)),
                    Value::Null,
                ];
                values.extend(arguments.iter().map(Argument::value));
                chunks(20, 0, &encode_all(&values), out);
            }
            // Only `Bytes` change the chunk size, because `chunks` writes chunks of 128 bytes.
            Self::Message {
                message_type: 1, ..
            } => {}
            Self::Message {
                message_type,
                timestamp,
                payload,
            } => {
                chunks(*message_type, *timestamp, payload, out);
            }
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }
}

impl Argument<'_> {
    fn value(&self) -> Value {
        match *self {
            Self::Null => Value::Null,
            Self::Boolean(truth) => Value::Boolean(truth),
            Self::Number(number) => Value::Number(number),
            Self::Text(text) => text.into(),
            Self::StreamName(name) => Value::Object(vec![("streamName".to_owned(), name.into())]),
        }
    }
}

fn chunks(message_type: u8, timestamp: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.push(3);
    out.extend(&timestamp.min(0xFF_FFFE).to_be_bytes()[1..]);
    out.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend([message_type, 1, 0, 0, 0]);
    for (number, piece) in payload.chunks(128).enumerate() {
        if number > 0 {
            out.push(0xC3);
        }
        out.extend_from_slice(piece);
    }
}

fuzz_target!(|input: ServerInput| {
    let mut bytes = vec![0; 1 + 2 * 1536];
    bytes[0] = 3;
    if input.connect {
        Sent::Command {
            name: 0,
            transaction: 1,
            arguments: vec![],
        }
        .write(&mut bytes);
    }
    input.sent.iter().for_each(|sent| sent.write(&mut bytes));
    run(&bytes, usize::from(input.step) * 16 + 1, input.refused);
});

fn run(bytes: &[u8], step: usize, refused: u8) {
    let mut server = ServerConnection::new(ServerSettings::default());
    let mut input = BytesMut::new();
    let mut connection_use = ConnectionUse {
        publishing: false,
        playing: false,
    };
    let (mut read, mut written) = (0, 0);
    for piece in bytes.chunks(step) {
        input.extend_from_slice(piece);
        read += piece.len();
        loop {
            match server.receive(&mut input) {
                Ok(Some(event)) => connection_use.answer(&mut server, &event, refused),
                Ok(None) => break,
                Err(_) => return,
            }
            assert!(!server.waits_for_answer());
        }
        while let Some(bytes) = server.output() {
            written += bytes.len();
        }
        // The shortest request has about 20 bytes, and the longest response to it about 1,000.
        assert!(
            written < 10_000 + read * 50,
            "{written} bytes of responses to {read}"
        );
    }
}

/// The use of the connection according to its events.
struct ConnectionUse {
    publishing: bool,
    playing: bool,
}

impl ConnectionUse {
    fn answer(&mut self, server: &mut ServerConnection, event: &ServerEvent, refused: u8) {
        let idle = !self.publishing && !self.playing;
        match event {
            ServerEvent::Connected { .. } if refused & 1 == 0 => server.accept_connect(),
            ServerEvent::Connected { .. } => server.reject_connect("no"),
            ServerEvent::Publish { .. } => {
                assert!(idle);
                self.publishing = refused & 2 == 0;
                if self.publishing {
                    server.accept_publish();
                } else {
                    server.reject_publish(PublishRefusal::BadName, "no");
                }
            }
            ServerEvent::Play { .. } => {
                assert!(idle);
                self.playing = refused & 4 == 0;
                if self.playing {
                    server.accept_play();
                } else {
                    server.reject_play(PlayRefusal::StreamNotFound, "no");
                }
            }
            ServerEvent::Media(message) => assert!(self.publishing && !message.payload.is_empty()),
            ServerEvent::Unpublish => assert!(std::mem::take(&mut self.publishing)),
            ServerEvent::Pause(_) => assert!(self.playing),
            ServerEvent::StopPlay => assert!(std::mem::take(&mut self.playing)),
            ServerEvent::Skipped => {}
        }
    }
}
