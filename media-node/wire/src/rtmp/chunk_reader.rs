//! Chunks to messages (5.3), however they are interleaved.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use super::chunk_writer::{EXTENDED_TIMESTAMP, INITIAL_CHUNK_SIZE};
use super::message;

/// A reader of a chunk byte stream that returns whole messages.
///
/// It handles `SetChunkSize` and `Abort` itself and does not return them.
#[derive(Debug)]
pub struct ChunkReader {
    max_message: usize,
    chunk_size: usize,
    streams: Vec<ChunkStream>,
    /// The chunk whose payload is being read.
    open: Option<OpenChunk>,
    /// Payload bytes of all incomplete messages.
    partial: usize,
}

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

/// An error of a chunk byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// A short header has no full header before it.
    #[error("chunk stream {0} starts with a header of type {1}")]
    NoHeader(u32, u8),
    /// A message is larger than the limit.
    #[error("a message of {len} bytes is above the limit of {limit}")]
    TooLong {
        /// The announced length.
        len: usize,
        /// The largest length that is allowed.
        limit: usize,
    },
    /// There are more than [`MAX_CHUNK_STREAMS`] chunk streams.
    #[error("more than {MAX_CHUNK_STREAMS} chunk streams")]
    TooManyStreams,
    /// The incomplete messages have too many bytes.
    #[error("more than {0} bytes of incomplete messages")]
    TooMuchPartial(usize),
    /// The chunk size is 0.
    #[error("a chunk size of 0")]
    ChunkSize,
    /// A protocol control message is too short.
    #[error("a control message of type {0} is too short")]
    Control(u8),
}

/// The maximum number of chunk streams of one connection. Clients use 3 to 8. The protocol would allow 65,597.
pub const MAX_CHUNK_STREAMS: usize = 64;

/// The maximum chunk size. No message is longer (5.4.1).
const MAX_CHUNK_SIZE: u32 = 0xFF_FFFF;

/// The initial capacity for a message that arrives in parts, as a multiple of its first part. Memory stays in proportion to
/// the bytes that a peer sends, whatever length it announces, and a typical keyframe is still never moved.
const FIRST_ROOM: usize = 4;

#[derive(Debug)]
struct ChunkStream {
    id: u32,
    /// The timestamp of the current or last message.
    timestamp: u32,
    /// The timestamp field of the last header: a timestamp or a delta.
    timestamp_field: u32,
    /// Whether the last header had an extended timestamp.
    extended: bool,
    len: usize,
    message_type: u8,
    /// Whether a message is incomplete.
    partial: bool,
    payload: BytesMut,
}

#[derive(Clone, Copy, Debug)]
struct OpenChunk {
    stream: usize,
    left: usize,
}

/// The fields of a chunk's header.
struct ParsedChunkHeader {
    format: u8,
    chunk_stream: u32,
    timestamp_field: u32,
    extended: bool,
    /// Length and type, in formats 0 and 1.
    message: Option<(usize, u8)>,
    /// Bytes of the header.
    size: usize,
}

impl ChunkReader {
    /// Returns a reader that refuses longer messages.
    pub fn new(max_message_bytes: usize) -> Self {
        Self {
            max_message: max_message_bytes,
            chunk_size: INITIAL_CHUNK_SIZE,
            streams: Vec::new(),
            open: None,
            partial: 0,
        }
    }

    /// Changes the maximum length of a message, which is also that of all incomplete messages together. Incomplete messages
    /// above a lower limit are an error of the next call of [`receive`](Self::receive).
    pub fn limit_messages(&mut self, max_message_bytes: usize) {
        self.max_message = max_message_bytes;
    }

    /// Returns the bytes of memory that the incomplete messages occupy.
    pub fn reserved(&self) -> usize {
        let capacities = self.streams.iter().map(|stream| stream.payload.capacity());
        capacities.sum()
    }

    /// Takes the next message off the front of `input`. Returns `None` when more bytes are needed.
    ///
    /// # Guarantees
    /// A message that is complete in `input` and in one chunk is split off without a copy. The payload of other messages is
    /// taken as it arrives, so `input` never has to grow beyond a header.
    ///
    /// # Errors
    /// When the bytes are not chunks or exceed a limit. The reader must not be used afterwards.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<RawMessage>, ChunkError> {
        self.check_partial()?;
        loop {
            let Some(open) = self.open else {
                if !self.open_chunk(input)? {
                    return Ok(None);
                }
                continue;
            };
            let Some(message) = self.take_payload(open, input)? else {
                if self.open.is_some() {
                    return Ok(None);
                }
                continue;
            };
            match message.message_type {
                message::SET_CHUNK_SIZE => self.set_chunk_size(&message.payload)?,
                message::ABORT => self.abort(&message.payload)?,
                _ => return Ok(Some(message)),
            }
        }
    }

    /// Reads a header. Returns false when more bytes are needed.
    fn open_chunk(&mut self, input: &mut BytesMut) -> Result<bool, ChunkError> {
        let Some(header) = self.parse_header(input) else {
            return Ok(false);
        };
        let index = self.stream_of(&header)?;
        let (max_message, chunk_size) = (self.max_message, self.chunk_size);
        let Some(stream) = self.streams.get_mut(index) else {
            return Err(ChunkError::TooManyStreams);
        };
        if stream.partial && !stream.continues(&header) {
            self.partial -= stream.payload.len();
            stream.forget();
        }
        if !stream.partial {
            stream.begin(&header);
        }
        if stream.len > max_message {
            let (len, limit) = (stream.len, max_message);
            return Err(ChunkError::TooLong { len, limit });
        }
        let left = chunk_size.min(stream.len.saturating_sub(stream.payload.len()));
        self.open = Some(OpenChunk {
            stream: index,
            left,
        });
        input.advance(header.size);
        Ok(true)
    }

    /// Returns the index of the header's chunk stream. A full header creates it.
    fn stream_of(&mut self, header: &ParsedChunkHeader) -> Result<usize, ChunkError> {
        if let Some(index) = self.find(header.chunk_stream) {
            return Ok(index);
        }
        // Type 1 is accepted because old librtmp starts with it for its ping.
        if header.message.is_none() {
            return Err(ChunkError::NoHeader(header.chunk_stream, header.format));
        }
        if self.streams.len() == MAX_CHUNK_STREAMS {
            return Err(ChunkError::TooManyStreams);
        }
        self.streams.push(ChunkStream::new(header.chunk_stream));
        Ok(self.streams.len() - 1)
    }

    fn find(&self, id: u32) -> Option<usize> {
        self.streams.iter().position(|stream| stream.id == id)
    }

    /// Takes the available bytes of the open chunk. Returns the message when it is complete.
    fn take_payload(
        &mut self,
        open: OpenChunk,
        input: &mut BytesMut,
    ) -> Result<Option<RawMessage>, ChunkError> {
        let room = self.room();
        let Some(stream) = self.streams.get_mut(open.stream) else {
            return Ok(None);
        };
        let available = open.left.min(input.len());
        if available < open.left {
            self.open = Some(OpenChunk {
                left: open.left - available,
                ..open
            });
        } else {
            self.open = None;
        }
        if available == stream.len {
            stream.partial = false;
            return Ok(Some(stream.message(input.split_to(available).freeze())));
        }
        if stream.payload.is_empty() {
            let first = available.saturating_mul(FIRST_ROOM).min(room);
            stream.payload.reserve(stream.len.min(first));
        }
        stream
            .payload
            .extend_from_slice(input.get(..available).unwrap_or_default());
        input.advance(available);
        self.partial += available;
        if stream.payload.len() < stream.len {
            self.check_partial()?;
            return Ok(None);
        }
        self.partial -= stream.payload.len();
        stream.partial = false;
        let payload = std::mem::take(&mut stream.payload).freeze();
        Ok(Some(stream.message(payload)))
    }

    /// Checks that the incomplete messages together are no larger than one message.
    fn check_partial(&self) -> Result<(), ChunkError> {
        match self.partial > self.max_message {
            true => Err(ChunkError::TooMuchPartial(self.max_message)),
            false => Ok(()),
        }
    }

    /// Returns the bytes that can be reserved in advance. Without this limit, many chunk streams that each begin a message
    /// reserve a multiple of the limit of incomplete messages.
    fn room(&self) -> usize {
        self.max_message.saturating_sub(self.reserved())
    }

    fn set_chunk_size(&mut self, payload: &[u8]) -> Result<(), ChunkError> {
        let size =
            message::first_u32(payload).ok_or(ChunkError::Control(message::SET_CHUNK_SIZE))?;
        // The first bit must be 0. It is ignored.
        let size = (size & 0x7FFF_FFFF).min(MAX_CHUNK_SIZE);
        if size == 0 {
            return Err(ChunkError::ChunkSize);
        }
        self.chunk_size = size as usize;
        Ok(())
    }

    fn abort(&mut self, payload: &[u8]) -> Result<(), ChunkError> {
        let id = message::first_u32(payload).ok_or(ChunkError::Control(message::ABORT))?;
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) {
            self.partial -= stream.payload.len();
            stream.forget();
        }
        Ok(())
    }

    /// Parses the header at the front of `input`. Returns `None` when more bytes are needed.
    fn parse_header(&self, input: &[u8]) -> Option<ParsedChunkHeader> {
        let mut rest = input;
        let [first] = take(&mut rest)?;
        let format = first >> 6;
        let chunk_stream = match first & 0x3F {
            0 => u32::from(take::<1>(&mut rest)?[0]) + 64,
            1 => u32::from(u16::from_le_bytes(take(&mut rest)?)) + 64,
            id => u32::from(id),
        };
        if format == 3 {
            return self.parse_short_header(chunk_stream, input, rest);
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
        Some(ParsedChunkHeader {
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
    fn parse_short_header(
        &self,
        id: u32,
        input: &[u8],
        mut rest: &[u8],
    ) -> Option<ParsedChunkHeader> {
        let stream = self.find(id).and_then(|index| self.streams.get(index));
        let (timestamp_field, extended) =
            stream.map_or((0, false), |s| (s.timestamp_field, s.extended));
        if let Some(stream) = stream.filter(|stream| stream.extended) {
            let values = [stream.timestamp_field, stream.timestamp].map(u32::to_be_bytes);
            let next = rest.get(..4).unwrap_or(rest);
            if values.iter().any(|value| value.starts_with(next)) {
                take::<4>(&mut rest)?;
            }
        }
        Some(ParsedChunkHeader {
            format: 3,
            chunk_stream: id,
            timestamp_field,
            extended,
            message: None,
            size: input.len() - rest.len(),
        })
    }
}

impl ChunkStream {
    fn new(id: u32) -> Self {
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
    fn continues(&self, header: &ParsedChunkHeader) -> bool {
        header.format == 3 || header.message == Some((self.len, self.message_type))
    }

    /// Begins a message with its first header (5.3.1.2). The timestamp field of type 0 is a timestamp, that of the others a
    /// delta. Type 3 applies the last field again.
    fn begin(&mut self, header: &ParsedChunkHeader) {
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

    fn forget(&mut self) {
        self.partial = false;
        self.payload = BytesMut::new();
    }

    fn message(&self, payload: Bytes) -> RawMessage {
        RawMessage {
            message_type: self.message_type,
            timestamp: self.timestamp,
            payload,
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests;
