//! Test streams, and readers that parse a cursor's bytes as a player does.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use media_engine::{
    Appended, Cursor, CursorEvent, DuplicatePolicy, EngineSettings, Epoch, Format, Mark,
    Publication, PublicationSource, Registry, Start, Stream,
};
use media_wire::flv::{FlvItem, TagReader, Tracks};
use media_wire::relay::{RelayItem, RelayReader};
use media_wire::rtmp::chunk_reader::ChunkReader;
use media_wire::{MediaKind, Message, StreamKey, amf0};

pub(crate) fn key(name: &str) -> StreamKey {
    StreamKey::new(None, "live", name).unwrap()
}

pub(crate) fn settings() -> EngineSettings {
    EngineSettings {
        pulse_max: Duration::ZERO,
        ..EngineSettings::default()
    }
}

pub(crate) fn encoder(registry: &Registry, name: &str, epoch: u64) -> Publication {
    publish(registry, name, epoch, PublicationSource::Encoder)
}

pub(crate) fn publish(
    registry: &Registry,
    name: &str,
    epoch: u64,
    source: PublicationSource,
) -> Publication {
    let policy = DuplicatePolicy::Takeover;
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

/// Returns whether another publication has the stream.
pub(crate) fn is_superseded(publication: &Publication) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    let superseded = pin!(publication.superseded());
    superseded.poll(&mut context).is_ready()
}

/// Returns a frame with a unique payload.
fn frame(kind: MediaKind, header: &[u8], timestamp: u32, number: u32, len: usize) -> Message {
    let mut payload = header.to_vec();
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

pub(crate) fn interframe(timestamp: u32, number: u32) -> Message {
    frame(MediaKind::Video, &[0x27, 1, 0, 0, 0], timestamp, number, 50)
}

/// Returns the frame padded to a length.
pub(crate) fn long_frame(message: Message, len: usize) -> Message {
    let mut payload = message.payload.to_vec();
    payload.resize(len, 0xDD);
    Message {
        payload: payload.into(),
        ..message
    }
}

pub(crate) fn audio_frame(timestamp: u32, number: u32) -> Message {
    frame(MediaKind::Audio, &[0xAF, 1], timestamp, number, 20)
}

pub(crate) fn video_header(variant: u8) -> Message {
    message(MediaKind::Video, 0, vec![0x17, 0, 0, 0, 0, variant])
}

/// Returns a sequence header of a track of Enhanced RTMP's multitrack.
pub(crate) fn track_header(track: u8, len: usize) -> Message {
    let mut payload = vec![0x96, 0, b'a', b'v', b'c', b'1', track];
    payload.resize(len, 0);
    message(MediaKind::Video, 0, payload)
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

/// Returns the metadata and sequence headers of a typical stream.
pub(crate) fn headers() -> [Message; 3] {
    let codecs = [
        ("videocodecid", 7.0),
        ("audiocodecid", 10.0),
        ("width", 640.0),
    ];
    [metadata(&codecs), audio_header(1), video_header(1)]
}

/// Appends messages and seals after each.
pub(crate) fn send(publication: &mut Publication, messages: impl IntoIterator<Item = Message>) {
    for message in messages {
        assert_eq!(publication.append(message), Appended::New);
        assert_eq!(publication.pulse(Instant::now()), None);
    }
}

/// Appends messages with these numbers, as a relay does, and seals after each.
pub(crate) fn relay(
    publication: &mut Publication,
    messages: impl IntoIterator<Item = (u64, Message)>,
) {
    for (sequence, message) in messages {
        publication.append_at(sequence, message.timestamp, message.kind, message.payload);
        publication.pulse(Instant::now());
    }
}

/// An FLV viewer and all that it has read.
pub(crate) struct FlvReader {
    pub(crate) cursor: Cursor,
    input: BytesMut,
    tags: TagReader,
    pub(crate) tracks: Vec<Tracks>,
    pub(crate) messages: Vec<Message>,
    pub(crate) lags: usize,
    pub(crate) ended: bool,
}

impl FlvReader {
    pub(crate) fn of(registry: &Registry, name: &str, start: Start) -> Self {
        let stream = registry.open(&key(name)).unwrap();
        Self {
            cursor: stream.subscribe(Format::Flv, start, 0),
            input: BytesMut::new(),
            tags: TagReader::new(16 << 20),
            tracks: Vec::new(),
            messages: Vec::new(),
            lags: 0,
            ended: false,
        }
    }

    /// Reads everything that is available. Each batch must consist of whole messages.
    pub(crate) fn read(&mut self) -> &mut Self {
        loop {
            match self.cursor.try_next() {
                Some(CursorEvent::Batch(mut batch)) => {
                    self.lags += usize::from(batch.lagged);
                    self.input
                        .extend_from_slice(&batch.copy_to_bytes(batch.remaining()));
                    self.parse();
                }
                Some(CursorEvent::Ended) => {
                    self.ended = true;
                    return self;
                }
                None => return self,
            }
        }
    }

    fn parse(&mut self) {
        while let Some(item) = self.tags.receive(&mut self.input).unwrap() {
            match item {
                FlvItem::Header(tracks) => self.tracks.push(tracks),
                FlvItem::Tag(message) => {
                    assert!(!is_mark(&message), "a viewer got a mark");
                    self.messages.push(message);
                }
            }
        }
        assert!(self.input.is_empty(), "a torn message");
    }

    /// Returns the messages since the last call.
    pub(crate) fn taken(&mut self) -> Vec<Message> {
        self.read();
        std::mem::take(&mut self.messages)
    }
}

fn is_mark(message: &Message) -> bool {
    message.kind == MediaKind::Data && Mark::is_named(&message.payload)
}

/// A message as a relay's receiver sees it: epoch, sequence, timestamp at the source and payload.
pub(crate) type Placed = (Epoch, u64, u32, Bytes);

/// A relay's connection to the node that it reads from.
pub(crate) struct Upstream {
    cursor: Cursor,
    reader: RelayReader,
    input: BytesMut,
    tags: TagReader,
    pub(crate) marks: usize,
    /// The epoch of the last message.
    epoch: Option<Epoch>,
}

impl Upstream {
    pub(crate) fn of(registry: &Registry, name: &str, start: Start) -> Self {
        let stream = registry.open(&key(name)).unwrap();
        Self {
            cursor: stream.subscribe(Format::Relay, start, 0),
            reader: RelayReader::new(16 << 20),
            input: BytesMut::new(),
            tags: TagReader::new(16 << 20),
            marks: 0,
            epoch: None,
        }
    }

    /// Returns the messages since the last call.
    pub(crate) fn placed(&mut self) -> Vec<Placed> {
        let mut placed = Vec::new();
        for item in self.taken() {
            match item {
                RelayItem::Epoch(epoch) => self.epoch = Some(epoch),
                RelayItem::Message {
                    sequence,
                    kind,
                    timestamp,
                    payload,
                } => {
                    let timestamp = match kind {
                        MediaKind::Data => 0,
                        MediaKind::Audio | MediaKind::Video => timestamp,
                    };
                    placed.push((self.epoch.unwrap(), sequence, timestamp, payload));
                }
            }
        }
        placed
    }

    /// Returns the items since the last call. Each batch must consist of whole messages.
    fn taken(&mut self) -> Vec<RelayItem> {
        let mut items = Vec::new();
        while let Some(CursorEvent::Batch(mut batch)) = self.cursor.try_next() {
            let bytes = batch.copy_to_bytes(batch.remaining());
            self.input.extend_from_slice(&bytes);
            while let Some(item) = self.tags.receive(&mut self.input).unwrap() {
                if let FlvItem::Tag(message) = item {
                    self.marks += usize::from(is_mark(&message));
                }
            }
            assert!(self.input.is_empty(), "a torn message");
            self.reader.feed(bytes);
            while let Some(item) = self.reader.receive().unwrap() {
                items.push(item);
            }
        }
        items
    }
}

/// A relay that copies a stream into a node, with the calls that media-node makes.
pub(crate) struct Pull {
    registry: Registry,
    name: String,
    pub(crate) publication: Option<Publication>,
}

impl Pull {
    pub(crate) fn new(registry: &Registry, name: &str) -> Self {
        Self {
            registry: registry.clone(),
            name: name.to_owned(),
            publication: None,
        }
    }

    /// Copies what an upstream has: an epoch begins a publication, messages are appended to it.
    pub(crate) fn take(&mut self, upstream: &mut Upstream) -> Vec<Appended> {
        let mut appended = Vec::new();
        for item in upstream.taken() {
            match item {
                RelayItem::Epoch(Epoch(epoch)) => {
                    let source = PublicationSource::Pulled;
                    self.publication = Some(publish(&self.registry, &self.name, epoch, source));
                }
                RelayItem::Message {
                    sequence,
                    kind,
                    timestamp,
                    payload,
                } => {
                    let publication = self.publication.as_mut().unwrap();
                    appended.push(publication.append_at(sequence, timestamp, kind, payload));
                    assert_eq!(publication.pulse(Instant::now()), None);
                }
            }
        }
        appended
    }

    pub(crate) fn stream(&self) -> Arc<Stream> {
        self.registry.find(&key(&self.name)).unwrap()
    }
}

/// Returns the message with another timestamp. Metadata always has the timestamp 0.
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

/// An RTMP viewer after the handshake and the announcement of our chunk size.
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

    /// Returns the messages since the last call. Each batch must consist of whole messages.
    pub(crate) fn taken(&mut self) -> Vec<Message> {
        while let Some(CursorEvent::Batch(mut batch)) = self.cursor.try_next() {
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
