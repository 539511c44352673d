//! Streams to test with, and readers that parse what a cursor gives, byte by byte, as a player would.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use media_engine::{
    Appended, Cursor, Duplicate, EngineSettings, Epoch, Format, Mark, Next, Publication, Registry,
    Source, Start,
};
use media_wire::flv::{Item, TagReader, Tracks};
use media_wire::rtmp::chunk_reader::ChunkReader;
use media_wire::{MediaKind, Message, StreamKey, amf0};

pub(crate) fn key(name: &str) -> StreamKey {
    StreamKey::new(None, "live", name).unwrap()
}

pub(crate) fn settings() -> EngineSettings {
    EngineSettings {
        pulse_per_viewer: Duration::ZERO,
        ..EngineSettings::default()
    }
}

pub(crate) fn encoder(registry: &Registry, name: &str, epoch: u64) -> Publication {
    publish(registry, name, epoch, Source::Encoder)
}

pub(crate) fn publish(registry: &Registry, name: &str, epoch: u64, source: Source) -> Publication {
    let policy = Duplicate::Takeover;
    registry
        .publish(&key(name), Epoch(epoch), source, policy, Instant::now())
        .unwrap()
}

pub(crate) fn message(kind: MediaKind, timestamp: u32, payload: Vec<u8>) -> Message {
    Message {
        kind,
        timestamp,
        payload: Bytes::from(payload),
    }
}

/// A frame whose payload tells it from all others.
fn frame(kind: MediaKind, head: &[u8], timestamp: u32, number: u32, len: usize) -> Message {
    let mut payload = head.to_vec();
    payload.extend(number.to_be_bytes());
    payload.resize(len.max(payload.len()), 0xEE);
    message(kind, timestamp, payload)
}

pub(crate) fn keyframe(timestamp: u32, number: u32) -> Message {
    frame(
        MediaKind::Video,
        &[0x17, 1, 0, 0, 0],
        timestamp,
        number,
        100,
    )
}

pub(crate) fn inter(timestamp: u32, number: u32) -> Message {
    frame(MediaKind::Video, &[0x27, 1, 0, 0, 0], timestamp, number, 50)
}

/// The same frame, padded.
pub(crate) fn long_frame(message: Message, len: usize) -> Message {
    let mut payload = message.payload.to_vec();
    payload.resize(len, 0xDD);
    Message {
        payload: payload.into(),
        ..message
    }
}

pub(crate) fn sound(timestamp: u32, number: u32) -> Message {
    frame(MediaKind::Audio, &[0xAF, 1], timestamp, number, 20)
}

pub(crate) fn video_header(variant: u8) -> Message {
    message(MediaKind::Video, 0, vec![0x17, 0, 0, 0, 0, variant])
}

pub(crate) fn audio_header(variant: u8) -> Message {
    message(MediaKind::Audio, 0, vec![0xAF, 0, variant])
}

pub(crate) fn metadata(properties: &[(&str, f64)]) -> Message {
    let properties = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), amf0::Value::Number(*value)))
        .collect();
    let values = [
        amf0::Value::String("onMetaData".to_owned()),
        amf0::Value::EcmaArray(properties),
    ];
    message(MediaKind::Data, 0, amf0::encode_all(&values))
}

/// Metadata and sequence headers of a usual stream.
pub(crate) fn headers() -> [Message; 3] {
    let codecs = [
        ("videocodecid", 7.0),
        ("audiocodecid", 10.0),
        ("width", 640.0),
    ];
    [metadata(&codecs), audio_header(1), video_header(1)]
}

/// Appends and shows at once.
pub(crate) fn send(publication: &mut Publication, messages: impl IntoIterator<Item = Message>) {
    for message in messages {
        assert_eq!(publication.append(message), Appended::New);
        assert_eq!(publication.pulse(Instant::now()), None);
    }
}

/// All that a reader has read.
pub(crate) struct FlvReader {
    pub(crate) cursor: Cursor,
    input: BytesMut,
    tags: TagReader,
    pub(crate) tracks: Vec<Tracks>,
    pub(crate) messages: Vec<Message>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) items: Vec<Item>,
    pub(crate) skips: usize,
    pub(crate) ended: bool,
}

impl FlvReader {
    pub(crate) fn new(cursor: Cursor) -> Self {
        Self {
            cursor,
            input: BytesMut::new(),
            tags: TagReader::new(16 << 20),
            tracks: Vec::new(),
            messages: Vec::new(),
            marks: Vec::new(),
            items: Vec::new(),
            skips: 0,
            ended: false,
        }
    }

    pub(crate) fn of(registry: &Registry, name: &str, format: Format, start: Start) -> Self {
        let stream = registry.open(&key(name)).unwrap();
        Self::new(stream.subscribe(format, start, 0))
    }

    /// Reads all that is there. Each batch must be whole messages.
    pub(crate) fn read(&mut self) -> &mut Self {
        while self.read_one() {}
        self
    }

    /// Reads one batch.
    pub(crate) fn read_one(&mut self) -> bool {
        match self.cursor.try_next() {
            Some(Next::Batch(mut batch)) => {
                self.skips += usize::from(batch.skipped);
                self.input
                    .extend_from_slice(&batch.copy_to_bytes(batch.remaining()));
                self.parse();
                true
            }
            Some(Next::Ended) => {
                self.ended = true;
                false
            }
            None => false,
        }
    }

    fn parse(&mut self) {
        while let Some(item) = self.tags.receive(&mut self.input).unwrap() {
            match item.clone() {
                Item::Header(tracks) => self.tracks.push(tracks),
                Item::Tag(message) => self.messages.push(message),
                Item::Mark(mark) => self.marks.push(mark),
            }
            self.items.push(item);
        }
        assert!(self.input.is_empty(), "a torn message");
    }

    /// What was read since the last call.
    pub(crate) fn taken(&mut self) -> Vec<Message> {
        self.read();
        std::mem::take(&mut self.messages)
    }

    pub(crate) fn taken_items(&mut self) -> Vec<Item> {
        self.read();
        self.messages.clear();
        std::mem::take(&mut self.items)
    }
}

/// The same message at another time; metadata is always sent with 0.
pub(crate) fn at(timestamp: u32, message: Message) -> Message {
    let timestamp = match message.kind {
        MediaKind::Data => 0,
        MediaKind::Audio | MediaKind::Video => timestamp,
    };
    Message {
        timestamp,
        ..message
    }
}

pub(crate) fn timestamps(messages: &[Message]) -> Vec<u32> {
    messages.iter().map(|message| message.timestamp).collect()
}

/// An RTMP connection behind its handshake, that is told our chunk size.
pub(crate) struct RtmpReader {
    cursor: Cursor,
    input: BytesMut,
    chunks: ChunkReader,
    messages: Vec<Message>,
}

impl RtmpReader {
    pub(crate) fn of(registry: &Registry, name: &str) -> Self {
        let stream = registry.open(&key(name)).unwrap();
        let set_chunk_size = [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0xEA, 0x60];
        Self {
            cursor: stream.subscribe(Format::Rtmp, Start::Newest, 0),
            input: BytesMut::from(&set_chunk_size[..]),
            chunks: ChunkReader::new(16 << 20),
            messages: Vec::new(),
        }
    }

    /// What was read since the last call. Each batch must be whole messages.
    pub(crate) fn taken(&mut self) -> Vec<Message> {
        while let Some(Next::Batch(mut batch)) = self.cursor.try_next() {
            self.input
                .extend_from_slice(&batch.copy_to_bytes(batch.remaining()));
            while let Some(message) = self.chunks.receive(&mut self.input).unwrap() {
                let kind = match message.message_type {
                    8 => MediaKind::Audio,
                    9 => MediaKind::Video,
                    18 => MediaKind::Data,
                    other => panic!("a message of type {other}"),
                };
                self.messages.push(Message {
                    kind,
                    timestamp: message.timestamp,
                    payload: message.payload,
                });
            }
            assert!(self.input.is_empty(), "a torn message");
        }
        std::mem::take(&mut self.messages)
    }
}

/// Passes on all that a relay's reader has read, as a receiving node would.
pub(crate) fn relay(from: &mut FlvReader, to: &mut Publication) -> Vec<Appended> {
    let mut appended = Vec::new();
    for item in from.taken_items() {
        match item {
            Item::Header(_) => {}
            Item::Mark(mark) => to.follow(mark),
            Item::Tag(message) => appended.push(to.append_relayed(message)),
        }
        assert_eq!(to.pulse(Instant::now()), None);
    }
    appended
}
