//! Chunks to messages (5.3), whoever sent them and however they are interleaved.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use super::chunk_writer::{EXTENDED, INITIAL_CHUNK_SIZE};
use super::message;

/// Takes bytes as they come and gives whole messages.
///
/// `SetChunkSize` and `Abort` are obeyed here and not given on.
#[derive(Debug)]
pub struct ChunkReader {
    max_message: usize,
    chunk_size: usize,
    streams: Vec<ChunkStream>,
    /// The chunk whose payload is being read.
    open: Option<OpenChunk>,
    /// Payload of all messages that are not complete.
    partial: usize,
}

/// A message as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    /// The message type id (5.4, 7.1).
    pub message_type: u8,
    /// Milliseconds; wraps after 2^32.
    pub timestamp: u32,
    /// The body.
    pub payload: Bytes,
}

/// Why bytes are no chunks, or too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// A short head without a full one before it.
    #[error("chunk stream {0} starts with a head of type {1}")]
    NoHead(u32, u8),
    /// A message above the limit.
    #[error("a message of {len} bytes is above the limit of {limit}")]
    TooLong {
        /// The announced length.
        len: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// More than [`MAX_CHUNK_STREAMS`].
    #[error("more than {MAX_CHUNK_STREAMS} chunk streams")]
    TooManyStreams,
    /// Too many bytes of messages that are not complete.
    #[error("more than {0} bytes of incomplete messages")]
    TooMuchPartial(usize),
    /// A chunk size of 0.
    #[error("a chunk size of 0")]
    ChunkSize,
    /// A protocol control message that is too short.
    #[error("a control message of type {0} is too short")]
    Control(u8),
}

/// Chunk streams of one connection. Clients use 3 to 8; the protocol would allow 65,597.
pub const MAX_CHUNK_STREAMS: usize = 64;

/// How many messages of the largest size may be incomplete together: a keyframe and something that interrupts it.
const PARTIAL_MESSAGES: usize = 2;

/// The largest chunk size that makes a difference: no message is longer (5.4.1).
const MAX_CHUNK_SIZE: u32 = 0xFF_FFFF;

/// Room for a message that does not come whole, as a multiple of its first piece: what a peer announces costs memory
/// only in proportion to what it sends, and a usual keyframe is still never moved.
const FIRST_ROOM: usize = 4;

#[derive(Debug)]
struct ChunkStream {
    id: u32,
    /// The time of the current or last message.
    timestamp: u32,
    /// The timestamp field of the last head: time or delta.
    field: u32,
    /// Whether that field was extended.
    extended: bool,
    len: usize,
    message_type: u8,
    /// Whether a message is begun and not complete.
    partial: bool,
    payload: BytesMut,
}

#[derive(Clone, Copy, Debug)]
struct OpenChunk {
    stream: usize,
    left: usize,
}

/// A chunk's head, as far as it says something.
struct ParsedChunkHeader {
    format: u8,
    chunk_stream: u32,
    field: u32,
    extended: bool,
    /// Length and type: formats 0 and 1.
    message: Option<(usize, u8)>,
    size: usize,
}

impl ChunkReader {
    /// A reader that refuses longer messages.
    pub fn new(max_message_bytes: usize) -> Self {
        Self {
            max_message: max_message_bytes,
            chunk_size: INITIAL_CHUNK_SIZE,
            streams: Vec::new(),
            open: None,
            partial: 0,
        }
    }

    /// Takes the next message off the front of `input`; `None` when more bytes are needed.
    ///
    /// # Guarantees
    /// A message that lies whole in `input`, in one chunk, is split off without a copy. Of any other the payload is
    /// taken as it comes, so `input` never has to grow beyond a head.
    ///
    /// # Errors
    /// When the bytes are no chunks or exceed a limit. The reader is of no use afterwards.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<RawMessage>, ChunkError> {
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

    /// Reads a head; false when there is not all of it.
    fn open_chunk(&mut self, input: &mut BytesMut) -> Result<bool, ChunkError> {
        let Some(head) = self.parse_head(input) else {
            return Ok(false);
        };
        let index = self.stream_of(&head)?;
        let (max_message, chunk_size) = (self.max_message, self.chunk_size);
        let Some(stream) = self.streams.get_mut(index) else {
            return Err(ChunkError::TooManyStreams);
        };
        if stream.partial && !stream.continues(&head) {
            self.partial -= stream.payload.len();
            stream.forget();
        }
        if !stream.partial {
            stream.begin(&head);
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
        input.advance(head.size);
        Ok(true)
    }

    /// The index of the head's chunk stream, which is made if the head is full.
    fn stream_of(&mut self, head: &ParsedChunkHeader) -> Result<usize, ChunkError> {
        if let Some(index) = self.find(head.chunk_stream) {
            return Ok(index);
        }
        // Type 1 in the beginning is what old librtmp does for its ping.
        if head.message.is_none() {
            return Err(ChunkError::NoHead(head.chunk_stream, head.format));
        }
        if self.streams.len() == MAX_CHUNK_STREAMS {
            return Err(ChunkError::TooManyStreams);
        }
        self.streams.push(ChunkStream::new(head.chunk_stream));
        Ok(self.streams.len() - 1)
    }

    fn find(&self, id: u32) -> Option<usize> {
        self.streams.iter().position(|stream| stream.id == id)
    }

    /// Takes what there is of the open chunk; gives the message when it is complete.
    fn take_payload(
        &mut self,
        open: OpenChunk,
        input: &mut BytesMut,
    ) -> Result<Option<RawMessage>, ChunkError> {
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
            stream
                .payload
                .reserve(stream.len.min(available.saturating_mul(FIRST_ROOM)));
        }
        stream
            .payload
            .extend_from_slice(input.get(..available).unwrap_or_default());
        input.advance(available);
        self.partial += available;
        if stream.payload.len() < stream.len {
            let limit = self.max_message.saturating_mul(PARTIAL_MESSAGES);
            if self.partial > limit {
                return Err(ChunkError::TooMuchPartial(limit));
            }
            return Ok(None);
        }
        self.partial -= stream.payload.len();
        stream.partial = false;
        let payload = std::mem::take(&mut stream.payload).freeze();
        Ok(Some(stream.message(payload)))
    }

    fn set_chunk_size(&mut self, payload: &[u8]) -> Result<(), ChunkError> {
        let size =
            message::first_u32(payload).ok_or(ChunkError::Control(message::SET_CHUNK_SIZE))?;
        // The first bit must be 0 and is ignored.
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

    /// The head at the front of `input`, if there is all of it.
    fn parse_head(&self, input: &[u8]) -> Option<ParsedChunkHeader> {
        let mut rest = input;
        let [first] = take(&mut rest)?;
        let format = first >> 6;
        let chunk_stream = match first & 0x3F {
            0 => u32::from(take::<1>(&mut rest)?[0]) + 64,
            1 => u32::from(u16::from_le_bytes(take(&mut rest)?)) + 64,
            id => u32::from(id),
        };
        if format == 3 {
            return self.parse_short_head(chunk_stream, input, rest);
        }
        let [t2, t1, t0] = take(&mut rest)?;
        let mut field = u32::from_be_bytes([0, t2, t1, t0]);
        let mut message = None;
        if format < 2 {
            let [l2, l1, l0, message_type] = take(&mut rest)?;
            let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
            message = Some((len, message_type));
        }
        if format == 0 {
            // The message stream: ours is always the same, and clients are known to send another.
            take::<4>(&mut rest)?;
        }
        let extended = field == EXTENDED;
        if extended {
            field = u32::from_be_bytes(take(&mut rest)?);
        }
        Some(ParsedChunkHeader {
            format,
            chunk_stream,
            field,
            extended,
            message,
            size: input.len() - rest.len(),
        })
    }

    /// A type-3 head. Adobe's software, FFmpeg and we repeat the extended timestamp in it; others do not, so it counts
    /// as repeated only if it is the same.
    fn parse_short_head(
        &self,
        id: u32,
        input: &[u8],
        mut rest: &[u8],
    ) -> Option<ParsedChunkHeader> {
        let stream = self.find(id).and_then(|index| self.streams.get(index));
        let (field, extended) = stream.map_or((0, false), |s| (s.field, s.extended));
        if let Some(stream) = stream.filter(|stream| stream.extended) {
            let known = [stream.field, stream.timestamp].map(u32::to_be_bytes);
            let seen = rest.get(..4).unwrap_or(rest);
            if known.iter().any(|known| known.starts_with(seen)) {
                take::<4>(&mut rest)?;
            }
        }
        Some(ParsedChunkHeader {
            format: 3,
            chunk_stream: id,
            field,
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
            field: 0,
            extended: false,
            len: 0,
            message_type: 0,
            partial: false,
            payload: BytesMut::new(),
        }
    }

    /// Whether a head goes on with the message that is begun. Besides type 3, some senders repeat the head in full.
    fn continues(&self, head: &ParsedChunkHeader) -> bool {
        head.format == 3 || head.message == Some((self.len, self.message_type))
    }

    /// Begins a message with its first head (5.3.1.2): the field of type 0 is a time, of the others a delta. Type 3
    /// applies the last field again.
    fn begin(&mut self, head: &ParsedChunkHeader) {
        self.timestamp = match head.format {
            0 => head.field,
            _ => self.timestamp.wrapping_add(head.field),
        };
        self.field = head.field;
        self.extended = head.extended;
        if let Some((len, message_type)) = head.message {
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
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}

#[cfg(test)]
mod tests;
