//! The stream that nodes pass to each other: FLV with marks.
//!
//! A mark is a script tag that no player knows the name of, so the stream stays valid FLV. It stands before the first
//! tag and wherever sequence or epoch does not just go on by one.

use bytes::Bytes;

use crate::MediaKind;
use crate::flv;

/// Says which message of which publication comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The publication.
    pub epoch: Epoch,
    /// The number of the next tag in it.
    pub sequence: u64,
    /// Timestamp in the log minus timestamp at the source, wrapping.
    pub shift: u32,
}

/// When the encoder of a publication connected, in microseconds since 1970; the later one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Mark {
    /// The mark as a whole FLV tag, tail included.
    pub fn encode(&self) -> Bytes {
        let Self {
            epoch: Epoch(epoch),
            sequence,
            shift,
        } = self;
        let value = format!("{epoch:016x}{sequence:016x}{shift:08x}");
        let len = u32::try_from(NAME.len() + VALUE_HEAD.len() + value.len())
            .expect("the sum of three small constants");
        let mut tag = Vec::new();
        tag.extend_from_slice(&flv::tag_head(MediaKind::Data, 0, len));
        tag.extend_from_slice(NAME);
        tag.extend_from_slice(VALUE_HEAD);
        tag.extend_from_slice(value.as_bytes());
        tag.extend_from_slice(&flv::tag_tail(len));
        tag.into()
    }

    /// The mark in a script tag's body, if it is one.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let value = body.strip_prefix(NAME)?.strip_prefix(VALUE_HEAD)?;
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

    /// Whether a script tag's body claims to be a mark. Encoders must not send any: relays would believe them.
    pub fn is_named(body: &[u8]) -> bool {
        body.starts_with(NAME)
    }
}

/// AMF0 string: marker, length, text.
const NAME: &[u8] = b"\x02\x00\x11onLiveClusterMark";

/// AMF0 string: marker and the length of the digits.
const VALUE_HEAD: &[u8] = &[0x02, 0x00, 0x28];

/// Epoch, sequence and shift in hexadecimal: AMF0's only number, a double, cannot hold 64 bits.
const VALUE_DIGITS: usize = 16 + 16 + 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mark_is_a_script_tag_with_two_strings() {
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
    fn what_only_looks_like_a_mark_is_none() {
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
        fn every_mark_survives(epoch: u64, sequence: u64, shift: u32) {
            let mark = Mark { epoch: Epoch(epoch), sequence, shift };
            let tag = mark.encode();
            prop_assert_eq!(Mark::decode(&tag[11..tag.len() - 4]), Some(mark));
        }
    }
}
