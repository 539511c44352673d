//! Reassembles messages from chunks (5.3), which chunk streams may interleave.

mod chunk_stream;

use bytes::{Buf, BytesMut};
use thiserror::Error;

pub use self::chunk_stream::RawMessage;
use self::chunk_stream::{ChunkStream, ParsedChunkHeader};
use super::chunk_writer::INITIAL_CHUNK_SIZE;
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
    /// The chunk size is below [`MIN_CHUNK_SIZE`].
    #[error("a chunk size of {0} is below {MIN_CHUNK_SIZE}")]
    ChunkSize(u32),
    /// A protocol control message is too short.
    #[error("a control message of type {0} is too short")]
    Control(u8),
}

/// The maximum number of chunk streams of one connection. Clients use 3 to 8. The protocol would allow 65,597.
pub const MAX_CHUNK_STREAMS: usize = 64;

/// The minimum chunk size. Senders should not go below it (5.4.1). With chunks of one byte, a message would cost a hundred times as
/// much as its bytes do.
pub const MIN_CHUNK_SIZE: u32 = 128;

/// The maximum chunk size. No message is longer (5.4.1).
const MAX_CHUNK_SIZE: u32 = 0xFF_FFFF;

/// The initial capacity for a message that arrives in parts, as a multiple of its first part. Memory stays in proportion to
/// the bytes that a peer sends, whatever length it announces, and a typical keyframe is still never moved.
const INITIAL_CAPACITY_FACTOR: usize = 4;

#[derive(Clone, Copy, Debug)]
struct OpenChunk {
    stream: usize,
    left: usize,
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
        let Some(header) = ParsedChunkHeader::parse(input, &self.streams) else {
            return Ok(false);
        };
        let index = self.stream_of(&header)?;
        let (max_message, chunk_size) = (self.max_message, self.chunk_size);
        let Some(stream) = self.streams.get_mut(index) else {
            return Err(ChunkError::TooManyStreams);
        };
        if stream.partial && !stream.continues(&header) {
            self.partial -= stream.payload.len();
            stream.discard();
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
        let available = open.left.min(input.len());
        let begins = |stream: &ChunkStream| stream.payload.is_empty() && available < stream.len;
        // Only for the first part of a message, because it visits all chunk streams.
        let reservable = if self.streams.get(open.stream).is_some_and(begins) {
            self.reservable()
        } else {
            0
        };
        let Some(stream) = self.streams.get_mut(open.stream) else {
            return Ok(None);
        };
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
            let first = available.saturating_mul(INITIAL_CAPACITY_FACTOR);
            let first = first.min(reservable);
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
        if self.partial > self.max_message {
            Err(ChunkError::TooMuchPartial(self.max_message))
        } else {
            Ok(())
        }
    }

    /// Returns the bytes that can be reserved in advance. Without this limit, many chunk streams that each begin a message would
    /// reserve a multiple of the limit of incomplete messages.
    fn reservable(&self) -> usize {
        self.max_message.saturating_sub(self.reserved())
    }

    fn set_chunk_size(&mut self, payload: &[u8]) -> Result<(), ChunkError> {
        let size =
            message::first_u32(payload).ok_or(ChunkError::Control(message::SET_CHUNK_SIZE))?;
        // The first bit must be 0. It is ignored.
        let size = (size & 0x7FFF_FFFF).min(MAX_CHUNK_SIZE);
        if size < MIN_CHUNK_SIZE {
            return Err(ChunkError::ChunkSize(size));
        }
        self.chunk_size = size as usize;
        Ok(())
    }

    fn abort(&mut self, payload: &[u8]) -> Result<(), ChunkError> {
        let id = message::first_u32(payload).ok_or(ChunkError::Control(message::ABORT))?;
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) {
            self.partial -= stream.payload.len();
            stream.discard();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
