//! Reading the stream that media nodes pass to each other: bytes in, numbered messages out.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::mark::{Epoch, Mark};
use crate::flv::{FlvError, FlvItem, TagReader};
use crate::{MediaKind, Message};

/// A reader of one relay stream.
#[derive(Debug)]
pub struct RelayReader {
    tags: TagReader,
    buffer: BytesMut,
    /// The position of the next tag.
    next: Option<Mark>,
}

/// An element of a relay stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayItem {
    /// The messages after this belong to the publication of this epoch.
    Epoch(Epoch),
    /// A message.
    Message {
        /// Its number in the publication.
        sequence: u64,
        /// The content.
        kind: MediaKind,
        /// Its timestamp at the source.
        timestamp: u32,
        /// Its body.
        payload: Bytes,
    },
}

/// An error of a relay stream.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RelayError {
    /// The bytes are not FLV.
    #[error("not a relay stream: {0}")]
    Flv(#[from] FlvError),
    /// A mark has another format than ours.
    #[error("a mark that cannot be read")]
    BrokenMark,
    /// A message precedes the first mark.
    #[error("a message before the first mark")]
    NoMark,
    /// A message would have a sequence beyond 64 bits.
    #[error("a message at the end of all sequences")]
    Sequence,
}

impl RelayReader {
    /// Returns a reader that refuses messages with a larger payload.
    pub fn new(max_message_bytes: usize) -> Self {
        Self {
            tags: TagReader::new(max_message_bytes),
            buffer: BytesMut::new(),
            next: None,
        }
    }

    /// Adds bytes of the stream. Call [`receive`](Self::receive) until it returns `None` before the next call.
    pub fn feed(&mut self, bytes: Bytes) {
        if self.buffer.is_empty() {
            // No copy when the caller holds the only reference to the bytes.
            self.buffer = BytesMut::from(bytes);
        } else {
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// Returns the bytes of memory that an incomplete message occupies.
    pub fn reserved(&self) -> usize {
        self.buffer.capacity()
    }

    /// Returns the next item, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the bytes are not a relay stream. The reader must not be used afterwards.
    pub fn receive(&mut self) -> Result<Option<RelayItem>, RelayError> {
        loop {
            match self.tags.receive(&mut self.buffer)? {
                None => {
                    if self.buffer.is_empty() {
                        // It can be a part of a larger one, which the caller reads into.
                        self.buffer = BytesMut::new();
                    }
                    return Ok(None);
                }
                Some(FlvItem::Header(_)) => {}
                Some(FlvItem::Tag(message)) if is_mark(&message) => {
                    let mark = Mark::decode(&message.payload).ok_or(RelayError::BrokenMark)?;
                    let before = self.next.replace(mark);
                    if before.is_none_or(|before| before.epoch != mark.epoch) {
                        return Ok(Some(RelayItem::Epoch(mark.epoch)));
                    }
                }
                Some(FlvItem::Tag(message)) => return self.numbered(message).map(Some),
            }
        }
    }

    fn numbered(&mut self, message: Message) -> Result<RelayItem, RelayError> {
        let mark = self.next.as_mut().ok_or(RelayError::NoMark)?;
        let sequence = mark.sequence;
        mark.sequence = sequence.checked_add(1).ok_or(RelayError::Sequence)?;
        Ok(RelayItem::Message {
            sequence,
            kind: message.kind,
            timestamp: message.timestamp.wrapping_sub(mark.shift),
            payload: message.payload,
        })
    }
}

fn is_mark(message: &Message) -> bool {
    message.kind == MediaKind::Data && Mark::is_named(&message.payload)
}

#[cfg(test)]
mod tests {
    use crate::flv::{Tracks, file_header, write_tag};

    use super::*;

    fn tag(timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_tag(&mut bytes, MediaKind::Audio, timestamp, payload);
        bytes
    }

    fn mark(epoch: u64, sequence: u64, shift: u32) -> Bytes {
        Mark {
            epoch: Epoch(epoch),
            sequence,
            shift,
        }
        .encode()
    }

    fn message(sequence: u64, timestamp: u32, payload: &'static [u8]) -> RelayItem {
        let payload = Bytes::from_static(payload);
        RelayItem::Message {
            sequence,
            kind: MediaKind::Audio,
            timestamp,
            payload,
        }
    }

    #[test]
    fn messages_are_numbered_from_their_mark_however_bytes_are_split() {
        let mut stream = file_header(Tracks {
            audio: true,
            video: false,
        })
        .to_vec();
        stream.extend(mark(7, 10, 100));
        stream.extend(tag(150, b"a"));
        stream.extend(tag(160, b"b"));
        stream.extend(mark(7, 15, 100));
        stream.extend(tag(200, b"c"));
        stream.extend(mark(8, 0, u32::MAX));
        stream.extend(tag(0, b"d"));
        let expected = [
            RelayItem::Epoch(Epoch(7)),
            message(10, 50, b"a"),
            message(11, 60, b"b"),
            message(15, 100, b"c"),
            RelayItem::Epoch(Epoch(8)),
            message(0, 1, b"d"),
        ];
        for cut in 0..stream.len() {
            let mut reader = RelayReader::new(1 << 10);
            let mut items = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                reader.feed(Bytes::copy_from_slice(part));
                while let Some(item) = reader.receive().unwrap() {
                    items.push(item);
                }
            }
            assert_eq!(items, expected, "cut at {cut}");
        }
    }

    #[test]
    fn message_without_mark_is_refused() {
        let mut reader = RelayReader::new(1 << 10);
        let mut stream = file_header(Tracks {
            audio: true,
            video: false,
        })
        .to_vec();
        stream.extend(tag(0, b"a"));
        reader.feed(stream.into());
        assert!(matches!(reader.receive(), Err(RelayError::NoMark)));
    }

    #[test]
    fn message_at_end_of_all_sequences_is_refused() {
        let mut reader = RelayReader::new(1 << 10);
        let mut stream = file_header(Tracks {
            audio: true,
            video: false,
        })
        .to_vec();
        stream.extend(mark(1, u64::MAX, 0));
        stream.extend(tag(0, b"a"));
        reader.feed(stream.into());
        assert!(matches!(reader.receive(), Ok(Some(RelayItem::Epoch(_)))));
        assert!(matches!(reader.receive(), Err(RelayError::Sequence)));
    }

    #[test]
    fn broken_mark_is_refused() {
        let mut stream = file_header(Tracks::default()).to_vec();
        write_tag(
            &mut stream,
            MediaKind::Data,
            0,
            b"\x02\0\x11onLiveClusterMark",
        );
        let mut reader = RelayReader::new(1 << 10);
        reader.feed(stream.into());
        assert_eq!(reader.receive(), Err(RelayError::BrokenMark));
    }
}
