//! Message types, protocol control messages (5.4), user control events (7.1.7) and aggregates (7.1.6).

use bytes::{Buf, Bytes};

use crate::flv::{PREVIOUS_TAG_SIZE_LEN, TAG_HEADER_LEN, TagHeader};
use crate::{MediaKind, Message};

pub(crate) const SET_CHUNK_SIZE: u8 = 1;
pub(crate) const ABORT: u8 = 2;
pub(crate) const ACKNOWLEDGEMENT: u8 = 3;
pub(crate) const USER_CONTROL: u8 = 4;
pub(crate) const WINDOW_ACKNOWLEDGEMENT_SIZE: u8 = 5;
pub(crate) const SET_PEER_BANDWIDTH: u8 = 6;
pub(crate) const AUDIO: u8 = 8;
pub(crate) const VIDEO: u8 = 9;
/// AMF 3 data: a byte 0, then AMF 0.
pub(crate) const DATA_AMF3: u8 = 15;
/// AMF 3 command: a byte 0, then AMF 0.
pub(crate) const COMMAND_AMF3: u8 = 17;
pub(crate) const DATA: u8 = 18;
pub(crate) const COMMAND: u8 = 20;
pub(crate) const AGGREGATE: u8 = 22;

pub(crate) const EVENT_STREAM_BEGIN: u16 = 0;
pub(crate) const EVENT_STREAM_EOF: u16 = 1;
pub(crate) const EVENT_SET_BUFFER_LENGTH: u16 = 3;
pub(crate) const EVENT_PING_REQUEST: u16 = 6;
pub(crate) const EVENT_PING_RESPONSE: u16 = 7;

/// Returns the number at the start of a protocol control message.
pub(crate) fn first_u32(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().copied().map(u32::from_be_bytes)
}

/// Returns the event type and first number of a user control message.
pub(crate) fn user_control(payload: &[u8]) -> Option<(u16, u32)> {
    let (event, rest) = payload.split_first_chunk()?;
    Some((u16::from_be_bytes(*event), first_u32(rest)?))
}

/// Returns the AMF 0 after the leading 0 of an AMF 3 message. Some senders omit the 0.
pub(crate) fn without_amf3_marker(payload: Bytes) -> Bytes {
    match payload.first() {
        // In AMF 0 a leading 0 is a number, and neither commands nor data start with one.
        Some(0) => payload.slice(1..),
        _ => payload,
    }
}

/// The maximum number of parts of an aggregate message. Senders gather about a second of media, while a message has room for
/// 500,000 empty parts.
const MAX_AGGREGATE_PARTS: usize = 4096;

/// The parts of an aggregate message (7.1.6): FLV tags whose timestamps are relative to the first one's.
#[derive(Debug)]
pub(crate) struct Aggregate {
    rest: Bytes,
    timestamp: u32,
    first: Option<u32>,
    parts: usize,
}

/// The error of an aggregate message with too many parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an aggregate message has more than {MAX_AGGREGATE_PARTS} parts")]
pub struct TooManyParts;

impl Aggregate {
    pub(crate) fn new(timestamp: u32, payload: Bytes) -> Self {
        Self {
            rest: payload,
            timestamp,
            first: None,
            parts: 0,
        }
    }

    /// Returns the next audio or video message. A truncated part is the end.
    pub(crate) fn receive(&mut self) -> Result<Option<Message>, TooManyParts> {
        loop {
            let Some(header) = self.rest.first_chunk() else {
                return Ok(None);
            };
            let header = TagHeader::parse(*header);
            self.rest.advance(TAG_HEADER_LEN);
            if self.rest.len() < header.len {
                self.rest.clear();
                return Ok(None);
            }
            self.parts += 1;
            if self.parts > MAX_AGGREGATE_PARTS {
                return Err(TooManyParts);
            }
            let payload = self.rest.split_to(header.len);
            // Some senders omit the size after the last part.
            let size = self.rest.len().min(PREVIOUS_TAG_SIZE_LEN);
            self.rest.advance(size);
            let first = *self.first.get_or_insert(header.timestamp);
            let offset = header.timestamp.wrapping_sub(first);
            let kind = match header.tag_type {
                AUDIO => MediaKind::Audio,
                VIDEO => MediaKind::Video,
                _ => continue,
            };
            return Ok(Some(Message {
                kind,
                timestamp: self.timestamp.wrapping_add(offset),
                payload,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(timestamp: u32, payload: impl Into<Bytes>) -> Result<Vec<Message>, TooManyParts> {
        let mut aggregate = Aggregate::new(timestamp, payload.into());
        let mut parts = Vec::new();
        while let Some(part) = aggregate.receive()? {
            parts.push(part);
        }
        Ok(parts)
    }

    #[test]
    fn aggregate_has_a_limited_number_of_parts() {
        let empty = b"\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\x0B";
        let most = parts(0, empty.repeat(MAX_AGGREGATE_PARTS)).unwrap();
        assert_eq!(most.len(), MAX_AGGREGATE_PARTS);
        // Data is left out, and counts.
        let data = b"\x12\0\0\0\0\0\0\0\0\0\0\0\0\0\x0B";
        for part in [empty, data] {
            let more = parts(0, part.repeat(MAX_AGGREGATE_PARTS + 1));
            assert_eq!(more, Err(TooManyParts));
        }
    }

    #[test]
    fn aggregate_is_split_and_its_timestamps_are_rebased() {
        let mut bytes = Vec::new();
        bytes.extend(b"\x08\0\0\x02\0\x03\xE8\0\0\0\0"); // audio, 2 bytes, time 1000
        bytes.extend(b"\xAF\x01\0\0\0\x0D"); // payload, size
        bytes.extend(b"\x12\0\0\x01\0\x03\xE8\0\0\0\0"); // script data, 1 byte
        bytes.extend(b"\x05\0\0\0\x0C");
        bytes.extend(b"\x09\0\0\x01\0\x04\x10\0\0\0\0"); // video, 1 byte, time 1040
        bytes.extend(b"\x27"); // no size
        let parts = parts(50, bytes).unwrap();
        let part = |kind, timestamp, payload: &'static [u8]| Message {
            kind,
            timestamp,
            payload: Bytes::from_static(payload),
        };
        assert_eq!(
            parts,
            [
                part(MediaKind::Audio, 50, b"\xAF\x01"),
                part(MediaKind::Video, 90, b"\x27"),
            ]
        );
    }

    #[test]
    fn truncated_aggregate_ends() {
        let bytes = b"\x09\xFF\xFF\xFF\0\0\0\0\0\0\0abc";
        for end in 0..bytes.len() {
            let payload = Bytes::copy_from_slice(&bytes[..end]);
            assert_eq!(parts(0, payload), Ok(Vec::new()));
        }
    }

    #[test]
    fn user_control_has_event_and_number() {
        assert_eq!(user_control(b"\0\x06\0\0\x01\0"), Some((6, 256)));
        assert_eq!(user_control(b"\0\x06\0"), None);
        assert_eq!(user_control(b""), None);
    }
}
