//! One chunk stream: the headers of its chunks (5.3.1), and the message that arrives in them.

use bytes::{Bytes, BytesMut};

use crate::fields::take;
use crate::rtmp::chunk_writer::EXTENDED_TIMESTAMP;

/// A message with its type as a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    /// The message type id (5.4, 7.1).
    pub message_type: u8,
    /// Milliseconds; wraps after 2^32.
    pub timestamp: u32,
    /// The body.
    pub payload: Bytes,
}

/// The state of a chunk stream: its last header, and the message that arrives on it.
#[derive(Debug)]
pub(super) struct ChunkStream {
    pub(super) id: u32,
    /// The timestamp of the current or last message.
    timestamp: u32,
    /// The timestamp field of the last header: a timestamp or a delta.
    timestamp_field: u32,
    /// Whether the last header had an extended timestamp.
    extended: bool,
    pub(super) len: usize,
    message_type: u8,
    /// Whether a message is incomplete.
    pub(super) partial: bool,
    pub(super) payload: BytesMut,
}

/// The fields of a chunk's header.
pub(super) struct ParsedChunkHeader {
    pub(super) format: u8,
    pub(super) chunk_stream: u32,
    timestamp_field: u32,
    extended: bool,
    /// Length and type, in formats 0 and 1.
    pub(super) message: Option<(usize, u8)>,
    /// Bytes of the header.
    pub(super) size: usize,
}

impl ChunkStream {
    pub(super) fn new(id: u32) -> Self {
        Self {
            id,
            timestamp: 0,
            timestamp_field: 0,
            extended: false,
            len: 0,
            message_type: 0,
            partial: false,
            payload: BytesMut::new(),
        }
    }

    /// Returns whether a header continues the incomplete message. Some senders repeat the full header instead of type 3.
    pub(super) fn continues(&self, header: &ParsedChunkHeader) -> bool {
        header.format == 3 || header.message == Some((self.len, self.message_type))
    }

    /// Begins a message with its first header (5.3.1.2). The timestamp field of type 0 is a timestamp, that of the others a
    /// delta. Type 3 applies the last field again.
    pub(super) fn begin(&mut self, header: &ParsedChunkHeader) {
        self.timestamp = match header.format {
            0 => header.timestamp_field,
            _ => self.timestamp.wrapping_add(header.timestamp_field),
        };
        self.timestamp_field = header.timestamp_field;
        self.extended = header.extended;
        if let Some((len, message_type)) = header.message {
            self.len = len;
            self.message_type = message_type;
        }
        self.partial = true;
    }

    /// Discards the incomplete message.
    pub(super) fn discard(&mut self) {
        self.partial = false;
        self.payload = BytesMut::new();
    }

    pub(super) fn message(&self, payload: Bytes) -> RawMessage {
        RawMessage {
            message_type: self.message_type,
            timestamp: self.timestamp,
            payload,
        }
    }
}

impl ParsedChunkHeader {
    /// Parses the header at the front of `input`. Returns `None` when more bytes are needed.
    pub(super) fn parse(input: &[u8], streams: &[ChunkStream]) -> Option<Self> {
        let mut rest = input;
        let [first] = take(&mut rest)?;
        let format = first >> 6;
        let chunk_stream = match first & 0x3F {
            0 => u32::from(take::<1>(&mut rest)?[0]) + 64,
            1 => u32::from(u16::from_le_bytes(take(&mut rest)?)) + 64,
            id => u32::from(id),
        };
        if format == 3 {
            let stream = streams.iter().find(|stream| stream.id == chunk_stream);
            return Self::parse_short(chunk_stream, stream, input, rest);
        }
        let [t2, t1, t0] = take(&mut rest)?;
        let mut timestamp_field = u32::from_be_bytes([0, t2, t1, t0]);
        let mut message = None;
        if format < 2 {
            let [l2, l1, l0, message_type] = take(&mut rest)?;
            let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
            message = Some((len, message_type));
        }
        if format == 0 {
            // The message stream is ignored: it is always the same, but some clients send another number.
            take::<4>(&mut rest)?;
        }
        let extended = timestamp_field == EXTENDED_TIMESTAMP;
        if extended {
            timestamp_field = u32::from_be_bytes(take(&mut rest)?);
        }
        Some(Self {
            format,
            chunk_stream,
            timestamp_field,
            extended,
            message,
            size: input.len() - rest.len(),
        })
    }

    /// Parses a type-3 header. Adobe's software, FFmpeg and this crate repeat the extended timestamp in it, others do not. So
    /// four bytes count as a repetition only if they have the same value.
    fn parse_short(
        chunk_stream: u32,
        stream: Option<&ChunkStream>,
        input: &[u8],
        mut rest: &[u8],
    ) -> Option<Self> {
        let (timestamp_field, extended) =
            stream.map_or((0, false), |s| (s.timestamp_field, s.extended));
        if let Some(stream) = stream.filter(|stream| stream.extended) {
            let values = [stream.timestamp_field, stream.timestamp].map(u32::to_be_bytes);
            let next = rest.get(..4).unwrap_or(rest);
            if values.iter().any(|value| value.starts_with(next)) {
                take::<4>(&mut rest)?;
            }
        }
        Some(Self {
            format: 3,
            chunk_stream,
            timestamp_field,
            extended,
            message: None,
            size: input.len() - rest.len(),
        })
    }
}
