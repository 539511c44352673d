//! Reading the stream that nodes pass to each other: bytes in, numbered messages out.

use bytes::{Bytes, BytesMut};
use media_wire::flv::{FlvError, Item, TagReader};
use media_wire::relay::{Epoch, Mark};
use media_wire::{MediaKind, Message};

/// A reader of one relay stream.
pub(super) struct Intake {
    reader: TagReader,
    buffer: BytesMut,
    /// What the next tag is.
    next: Option<Mark>,
}

/// What comes in a relay stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// What follows belongs to this publication.
    Epoch(Epoch),
    /// A message with its number and the timestamp that it had at its source.
    Message {
        sequence: u64,
        kind: MediaKind,
        timestamp: u32,
        payload: Bytes,
    },
}

/// Why a relay stream is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntakeError {
    #[error("not a relay stream: {0}")]
    Flv(#[from] FlvError),
    #[error("a message before the first mark")]
    NoMark,
    #[error("a mark at the end of all numbers")]
    Sequence,
}

impl Intake {
    pub(super) fn new(max_message_bytes: usize) -> Self {
        Self {
            reader: TagReader::new(max_message_bytes),
            buffer: BytesMut::new(),
            next: None,
        }
    }

    /// Takes bytes as they came. What is in them has to be asked for with [`Intake::receive`] before more is fed.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        if self.buffer.is_empty() {
            // hyper gives its buffer away: most of the time this is no copy.
            self.buffer = BytesMut::from(bytes);
        } else {
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// The next piece; `None` when more bytes are needed.
    pub(super) fn receive(&mut self) -> Result<Option<Piece>, IntakeError> {
        loop {
            match self.reader.receive(&mut self.buffer)? {
                None => return Ok(None),
                Some(Item::Header(_)) => {}
                Some(Item::Mark(mark)) => {
                    let before = self.next.replace(mark);
                    if before.is_none_or(|before| before.epoch != mark.epoch) {
                        return Ok(Some(Piece::Epoch(mark.epoch)));
                    }
                }
                Some(Item::Tag(message)) => return self.numbered(message).map(Some),
            }
        }
    }

    fn numbered(&mut self, message: Message) -> Result<Piece, IntakeError> {
        let mark = self.next.as_mut().ok_or(IntakeError::NoMark)?;
        let sequence = mark.sequence;
        mark.sequence = sequence.checked_add(1).ok_or(IntakeError::Sequence)?;
        Ok(Piece::Message {
            sequence,
            kind: message.kind,
            timestamp: message.timestamp.wrapping_sub(mark.shift),
            payload: message.payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use media_wire::flv::{Tracks, file_header, tag_head, tag_tail};

    use super::*;

    fn tag(timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap();
        let mut bytes = tag_head(MediaKind::Audio, timestamp, len).to_vec();
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(&tag_tail(len));
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

    fn message(sequence: u64, timestamp: u32, payload: &'static [u8]) -> Piece {
        let payload = Bytes::from_static(payload);
        Piece::Message {
            sequence,
            kind: MediaKind::Audio,
            timestamp,
            payload,
        }
    }

    #[test]
    fn messages_are_numbered_from_their_mark_wherever_the_bytes_are_cut() {
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
            Piece::Epoch(Epoch(7)),
            message(10, 50, b"a"),
            message(11, 60, b"b"),
            message(15, 100, b"c"),
            Piece::Epoch(Epoch(8)),
            message(0, 1, b"d"),
        ];
        for cut in 0..stream.len() {
            let mut intake = Intake::new(1 << 10);
            let mut pieces = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                intake.feed(Bytes::copy_from_slice(part));
                while let Some(piece) = intake.receive().unwrap() {
                    pieces.push(piece);
                }
            }
            assert_eq!(pieces, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_message_without_a_mark_is_refused() {
        let mut intake = Intake::new(1 << 10);
        let mut stream = file_header(Tracks {
            audio: true,
            video: false,
        })
        .to_vec();
        stream.extend(tag(0, b"a"));
        intake.feed(stream.into());
        assert!(matches!(intake.receive(), Err(IntakeError::NoMark)));
    }

    #[test]
    fn a_mark_at_the_end_of_all_numbers_is_refused() {
        let mut intake = Intake::new(1 << 10);
        let mut stream = file_header(Tracks {
            audio: true,
            video: false,
        })
        .to_vec();
        stream.extend(mark(1, u64::MAX, 0));
        stream.extend(tag(0, b"a"));
        intake.feed(stream.into());
        assert!(matches!(intake.receive(), Ok(Some(Piece::Epoch(_)))));
        assert!(matches!(intake.receive(), Err(IntakeError::Sequence)));
    }
}
