//! Marks: which message of which publication comes next.

use bytes::Bytes;

use crate::MediaKind;
use crate::flv;

/// The position of the next tag of a relay stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The publication.
    pub epoch: Epoch,
    /// The number of the next tag in the publication.
    pub sequence: u64,
    /// The timestamp in the sender's log minus the timestamp at the source, wrapping.
    pub shift: u32,
}

/// The time at which a publication's encoder connected, in microseconds since 1970. The later publication wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The low bits that are random. Two media nodes whose clocks are both behind a third one's would otherwise choose the same next
    /// epoch, and two publications with one epoch would be spliced into one. The order of events within 4 ms is lost, which is faster
    /// than any encoder reconnects.
    const RANDOM: u64 = (1 << 12) - 1;

    /// Returns a later epoch with the random bits of `random`.
    pub fn next(self, random: u64) -> Self {
        let Self(latest) = self;
        let next = (latest | Self::RANDOM).saturating_add(1);
        Self(next.saturating_add(random & Self::RANDOM))
    }
}

impl Mark {
    /// Returns the mark as a whole FLV tag.
    pub fn encode(&self) -> Bytes {
        let Self {
            epoch: Epoch(epoch),
            sequence,
            shift,
        } = self;
        let value = format!("{epoch:016x}{sequence:016x}{shift:08x}");
        let payload = [NAME, VALUE_HEADER, value.as_bytes()].concat();
        let mut tag = Vec::new();
        flv::write_tag(&mut tag, MediaKind::Data, 0, &payload);
        tag.into()
    }

    /// Returns the mark in a script tag's payload, or `None` if it is not a mark.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let value = payload.strip_prefix(NAME)?.strip_prefix(VALUE_HEADER)?;
        let value = std::str::from_utf8(value).ok()?;
        let lower_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if value.len() != VALUE_DIGITS || !value.bytes().all(lower_hex) {
            return None;
        }
        Some(Self {
            epoch: Epoch(u64::from_str_radix(value.get(..16)?, 16).ok()?),
            sequence: u64::from_str_radix(value.get(16..32)?, 16).ok()?,
            shift: u32::from_str_radix(value.get(32..)?, 16).ok()?,
        })
    }

    /// Returns whether a script tag's payload has a mark's name. Encoders must not send such data, because relays would
    /// take it for a mark.
    pub fn is_named(payload: &[u8]) -> bool {
        payload.starts_with(NAME)
    }
}

/// The name as an AMF0 string: type, length, text.
const NAME: &[u8] = b"\x02\x00\x11onLiveClusterMark";

/// The type and length of the value, an AMF0 string.
const VALUE_HEADER: &[u8] = &[0x02, 0x00, 0x28];

/// Digits of epoch, sequence and shift. They are hexadecimal text because AMF0's only number, a double, cannot hold 64 bits.
const VALUE_DIGITS: usize = 16 + 16 + 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mark_is_script_tag_with_two_strings() {
        let mark = Mark {
            epoch: Epoch(0x1234),
            sequence: 0xFF,
            shift: 0xFFFF_FFFE,
        };
        let mut expected = Vec::new();
        expected.extend(b"\x12\x00\x00\x3F\x00\x00\x00\x00\x00\x00\x00"); // script tag, 63 bytes, time 0
        expected.extend(b"\x02\x00\x11onLiveClusterMark");
        expected.extend(b"\x02\x00\x28000000000000123400000000000000fffffffffe");
        expected.extend(b"\x00\x00\x00\x4A"); // 11 + 63
        assert_eq!(mark.encode(), expected);
    }

    #[test]
    fn damaged_mark_is_not_decoded() {
        let whole = Mark {
            epoch: Epoch(1),
            sequence: 2,
            shift: 3,
        }
        .encode();
        let body = &whole[11..whole.len() - 4];
        assert!(Mark::decode(body).is_some());
        for end in 0..body.len() {
            assert_eq!(Mark::decode(&body[..end]), None);
        }
        let mut signed = body.to_vec();
        signed[23] = b'+';
        assert_eq!(Mark::decode(&signed), None);
    }

    proptest! {
        #[test]
        fn every_mark_round_trips(epoch: u64, sequence: u64, shift: u32) {
            let mark = Mark { epoch: Epoch(epoch), sequence, shift };
            let tag = mark.encode();
            prop_assert_eq!(Mark::decode(&tag[11..tag.len() - 4]), Some(mark));
        }
    }
}
