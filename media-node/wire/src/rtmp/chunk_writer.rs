//! Splits messages into chunks (5.3.1).
//!
//! Media always has one form: a type-0 header on the chunk stream of its kind, message stream 1, and chunks of
//! [`CHUNK_SIZE`] bytes with type-3 headers between them. A message then has the same bytes for every viewer, and they are
//! made once. The cost is at most 11 bytes per message more than the shortest form.

use std::ops::Deref;

use bytes::BufMut;

use super::message;
use crate::MediaKind;

/// The chunk size that every connection of ours announces. Nearly every message fits into one chunk. SRS has the same size.
pub const CHUNK_SIZE: usize = 60_000;

/// The chunk size before any announcement (5.4.1).
pub(crate) const INITIAL_CHUNK_SIZE: usize = 128;

/// The message stream that `createStream` returns, and that carries all media.
pub const MESSAGE_STREAM: u32 = 1;

/// The header of a chunk: a basic header of 1 byte, a message header of up to 11, an extended timestamp of 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    bytes: [u8; 16],
    len: u8,
}

impl Deref for ChunkHeader {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Returns the header of a message's first chunk.
pub fn message_header(kind: MediaKind, timestamp: u32, len: u32) -> ChunkHeader {
    let (chunk_stream, message_type) = channel(kind);
    full_header(chunk_stream, message_type, MESSAGE_STREAM, timestamp, len)
}

/// Returns the header of each further chunk of a message.
pub fn continuation_header(kind: MediaKind, timestamp: u32) -> ChunkHeader {
    let (chunk_stream, _) = channel(kind);
    continuation_header_on(chunk_stream, timestamp)
}

/// The value of the timestamp field that announces an extended timestamp. Larger timestamps need one, too (5.3.1.3).
pub(crate) const EXTENDED_TIMESTAMP: u32 = 0xFF_FFFF;

/// The chunk stream of commands, with the number that Flash and FFmpeg use.
pub(crate) const COMMAND_CHUNK_STREAM: u8 = 3;

/// The chunk stream of protocol control messages (5.4).
pub(crate) const CONTROL_CHUNK_STREAM: u8 = 2;

/// Returns the chunk stream and message type of media. The chunk streams are those of SRS.
fn channel(kind: MediaKind) -> (u8, u8) {
    match kind {
        MediaKind::Audio => (7, message::AUDIO),
        MediaKind::Video => (6, message::VIDEO),
        MediaKind::Data => (5, message::DATA),
    }
}

/// Returns a type-0 header. `chunk_stream` is between 2 and 63.
fn full_header(
    chunk_stream: u8,
    message_type: u8,
    stream: u32,
    timestamp: u32,
    len: u32,
) -> ChunkHeader {
    let [_, t2, t1, t0] = timestamp.min(EXTENDED_TIMESTAMP).to_be_bytes();
    let [_, l2, l1, l0] = len.to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_le_bytes(); // the only little-endian field
    let [e3, e2, e1, e0] = timestamp.to_be_bytes();
    ChunkHeader {
        bytes: [
            chunk_stream,
            t2,
            t1,
            t0,
            l2,
            l1,
            l0,
            message_type,
            s0,
            s1,
            s2,
            s3,
            e3,
            e2,
            e1,
            e0,
        ],
        len: if timestamp >= EXTENDED_TIMESTAMP {
            16
        } else {
            12
        },
    }
}

/// Returns a type-3 header. It repeats the extended timestamp, as Adobe's software does and FFmpeg expects.
fn continuation_header_on(chunk_stream: u8, timestamp: u32) -> ChunkHeader {
    let mut bytes = [0; 16];
    let [e3, e2, e1, e0] = timestamp.to_be_bytes();
    bytes
        .iter_mut()
        .zip([0xC0 | chunk_stream, e3, e2, e1, e0])
        .for_each(|(byte, value)| *byte = value);
    ChunkHeader {
        bytes,
        len: if timestamp >= EXTENDED_TIMESTAMP {
            5
        } else {
            1
        },
    }
}

/// Appends a whole message in chunks of `chunk_size`.
pub(crate) fn write_message(
    out: &mut impl BufMut,
    (chunk_stream, message_type, stream): (u8, u8, u32),
    timestamp: u32,
    payload: &[u8],
    chunk_size: usize,
) {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.put_slice(&full_header(
        chunk_stream,
        message_type,
        stream,
        timestamp,
        len,
    ));
    for (number, chunk) in payload.chunks(chunk_size.max(1)).enumerate() {
        if number > 0 {
            out.put_slice(&continuation_header_on(chunk_stream, timestamp));
        }
        out.put_slice(chunk);
    }
}

/// Appends a media message in chunks of [`CHUNK_SIZE`].
pub fn write_media_message(out: &mut impl BufMut, kind: MediaKind, timestamp: u32, payload: &[u8]) {
    let (chunk_stream, message_type) = channel(kind);
    let channel = (chunk_stream, message_type, MESSAGE_STREAM);
    write_message(out, channel, timestamp, payload, CHUNK_SIZE);
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::Message;

    #[test]
    fn message_starts_with_type_0_header() {
        let expected = [
            0x06, // type 0, chunk stream 6
            0x01, 0x02, 0x03, // timestamp
            0x04, 0x05, 0x06, // length
            0x09, // video
            0x01, 0x00, 0x00, 0x00, // message stream 1, little-endian
        ];
        assert_eq!(
            *message_header(MediaKind::Video, 0x01_0203, 0x04_0506),
            expected
        );
        assert_eq!(*continuation_header(MediaKind::Video, 0x01_0203), [0xC6]);
        assert_eq!(
            message_header(MediaKind::Audio, 0, 0)[..8],
            [0x07, 0, 0, 0, 0, 0, 0, 0x08]
        );
        assert_eq!(
            message_header(MediaKind::Data, 0, 0)[..8],
            [0x05, 0, 0, 0, 0, 0, 0, 0x12]
        );
    }

    #[test]
    fn timestamp_from_0xffffff_on_is_extended_in_every_header() {
        let expected = [
            0x07, // type 0, chunk stream 7
            0xFF, 0xFF, 0xFF, // see the extended timestamp
            0x00, 0x00, 0x02, // length
            0x08, // audio
            0x01, 0x00, 0x00, 0x00, // message stream 1
            0x00, 0xFF, 0xFF, 0xFF, // extended timestamp
        ];
        assert_eq!(*message_header(MediaKind::Audio, 0xFF_FFFF, 2), expected);
        assert_eq!(
            *continuation_header(MediaKind::Audio, 0xFF_FFFF),
            [0xC7, 0x00, 0xFF, 0xFF, 0xFF]
        );
        assert_eq!(message_header(MediaKind::Audio, 0xFF_FFFE, 2).len(), 12);
    }

    #[test]
    fn long_message_continues_with_type_3() {
        let payload = Bytes::from(vec![0xAB; 2 * CHUNK_SIZE + 1]);
        let message = Message {
            kind: MediaKind::Video,
            timestamp: 5,
            payload,
        };
        let mut out = BytesMut::new();
        write_media_message(&mut out, message.kind, message.timestamp, &message.payload);
        assert_eq!(out.len(), 12 + CHUNK_SIZE + 1 + CHUNK_SIZE + 1 + 1);
        assert_eq!(out[0], 0x06);
        assert_eq!(out[12 + CHUNK_SIZE], 0xC6);
        assert_eq!(out[12 + CHUNK_SIZE + 1 + CHUNK_SIZE], 0xC6);
    }

    #[test]
    fn message_of_exactly_one_chunk_has_one_header() {
        let mut out = BytesMut::new();
        write_message(&mut out, (3, 20, 0), 0, &[1; 128], 128);
        assert_eq!(out.len(), 12 + 128);
        out.clear();
        write_message(&mut out, (3, 20, 0), 0, &[], 128);
        assert_eq!(out.len(), 12);
    }
}
