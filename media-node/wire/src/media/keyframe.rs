//! Finds the keyframes that an encoder does not flag. Some encoders send HEVC, VP9 or AV1 with one frame type for all frames, so that
//! no viewer could start.

use bytes::BytesMut;

use super::Message;
use super::codec::Codec;
use super::header::{FRAME_TYPE_KEY, MediaHeader, MediaKind, PacketType, frame_of};
use super::obu::{OBU_FRAME, OBU_FRAME_HEADER, OBU_SEQUENCE_HEADER, obus};

/// The maximum number of NAL units of a frame that are read. Few precede the first slice.
const MAX_UNITS: usize = 16;

/// The keyframe flags of one encoder's video.
#[derive(Debug)]
pub struct KeyframeFlags {
    /// The encoder has flagged a keyframe. From then on its flags are used, until a sequence header, which may be that of another encoder:
    /// RTMP servers send the next one over the same connection.
    encoder_flags: bool,
    /// A keyframe was flagged here.
    added: bool,
    /// Bytes of the length before each NAL unit.
    length_size: usize,
}

impl Default for KeyframeFlags {
    fn default() -> Self {
        Self {
            encoder_flags: false,
            added: false,
            length_size: 4,
        }
    }
}

impl KeyframeFlags {
    /// Flags the frame if its content is a keyframe, unless the encoder has flagged one. Returns whether it is the first one
    /// that was flagged here.
    pub fn add_missing(&mut self, message: &mut Message) -> bool {
        if message.kind != MediaKind::Video {
            return false;
        }
        let header = message.header();
        match header.packet_type {
            PacketType::Keyframe => self.encoder_flags = true,
            PacketType::SequenceHeader => {
                self.encoder_flags = false;
                self.read_length_size(header, &message.payload);
            }
            PacketType::Frame
                if !self.encoder_flags && self.is_keyframe(header, &message.payload) =>
            {
                let mut payload = BytesMut::from(std::mem::take(&mut message.payload));
                if let Some(first) = payload.first_mut() {
                    *first = *first & !FRAME_TYPE_MASK | FRAME_TYPE_KEY << 4;
                }
                message.payload = payload.freeze();
                return !std::mem::replace(&mut self.added, true);
            }
            _ => {}
        }
        false
    }

    /// Reads a decoder configuration record (ISO/IEC 14496-15).
    fn read_length_size(&mut self, header: MediaHeader, payload: &[u8]) {
        let at = match header.codec {
            Some(Codec::H264) => 4,
            Some(Codec::Hevc) => 21,
            _ => return,
        };
        // Both headers have five bytes before the record.
        if let Some(byte) = payload.get(5 + at) {
            self.length_size = usize::from(byte & 3) + 1;
        }
    }

    fn is_keyframe(&self, header: MediaHeader, payload: &[u8]) -> bool {
        let Some(body) = frame_of(header, payload) else {
            return false;
        };
        match header.codec {
            Some(Codec::H264) => self.first_slice(body, |nal| match nal & 0x1F {
                5 => Some(true),
                1..=4 => Some(false),
                _ => None,
            }),
            Some(Codec::Hevc) => self.first_slice(body, |nal| match nal >> 1 & 0x3F {
                16..=21 => Some(true),
                0..=31 => Some(false),
                _ => None,
            }),
            Some(Codec::Av1) => is_av1_keyframe(body),
            Some(Codec::Vp9) => body.first().is_some_and(|first| is_vp9_keyframe(*first)),
            _ => false,
        }
    }

    /// Returns whether the first slice is of a keyframe. `slice` reads a NAL unit's first byte, and returns `None` for other
    /// units than slices.
    fn first_slice(&self, mut body: &[u8], slice: impl Fn(u8) -> Option<bool>) -> bool {
        for _ in 0..MAX_UNITS {
            let Some((length, rest)) = body.split_at_checked(self.length_size) else {
                return false;
            };
            let length = length
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            if let Some(is_keyframe) = rest
                .first()
                .filter(|_| length > 0)
                .and_then(|nal| slice(*nal))
            {
                return is_keyframe;
            }
            let Some(next) = rest.get(length..) else {
                return false;
            };
            body = next;
        }
        false
    }
}

/// The bits of the frame type in the first byte.
const FRAME_TYPE_MASK: u8 = 0x70;

/// Returns whether a sequence header and a shown key frame begin these OBUs (AV1, 5.9).
fn is_av1_keyframe(body: &[u8]) -> bool {
    let mut has_sequence_header = false;
    for obu in obus(body) {
        match obu.obu_type {
            OBU_SEQUENCE_HEADER => has_sequence_header = true,
            OBU_FRAME_HEADER | OBU_FRAME => {
                // show_existing_frame 0, frame_type KEY_FRAME, show_frame 1.
                let is_key = obu
                    .content
                    .first()
                    .is_some_and(|first| first >> 4 == 0b0001);
                return has_sequence_header && is_key;
            }
            _ => {}
        }
    }
    false
}

/// Reads the start of a VP9 frame: the marker 2, the profile, a zero bit if that is 3, `show_existing_frame` and `frame_type` 0.
fn is_vp9_keyframe(first: u8) -> bool {
    let after_profile = if first & 0x30 == 0x30 { 0x0E } else { 0x0C };
    first >> 6 == 0b10 && first & after_profile == 0
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn message(payload: &[u8]) -> Message {
        Message {
            kind: MediaKind::Video,
            timestamp: 0,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    /// Returns the payload of the message with the flags that `flags` adds.
    fn added(flags: &mut KeyframeFlags, payload: &[u8]) -> Bytes {
        let mut message = message(payload);
        flags.add_missing(&mut message);
        message.payload
    }

    fn is_found(payload: &[u8]) -> bool {
        let payload = added(&mut KeyframeFlags::default(), payload);
        message(&payload).is_keyframe()
    }

    const KEYFRAMES: [&[u8]; 9] = [
        // H.264: an access unit delimiter and an IDR slice.
        b"\x27\x01\0\0\0\0\0\0\x02\x09\xF0\0\0\0\x02\x65\x88",
        b"\xA1avc1\0\0\0\0\0\0\x02\x65\x88",
        // HEVC: parameter sets and IDR_W_RADL; CRA; frame type 0; the id 12.
        b"\x81hvc1\0\0\0\0\0\0\x02\x40\x01\0\0\0\x02\x42\x01\0\0\0\x02\x26\x01",
        b"\x83hvc1\0\0\0\x02\x2A\x01",
        b"\x2C\x01\0\0\0\0\0\0\x02\x26\x01",
        // AV1: a temporal delimiter, a sequence header and a key frame; one with an extension and without a size.
        b"\x81av01\x12\0\x0A\x01\0\x32\x02\x10\0",
        b"\x83av01\x0A\x01\0\x34\0\x10\0",
        // VP9: the profiles 0 and 3.
        b"\x81vp09\x82\x49\x83\x42",
        b"\x81vp09\xB1\x24\xC1\xA1",
    ];

    #[test]
    fn keyframes_without_flag_are_found_by_their_content() {
        for payload in KEYFRAMES {
            assert!(!message(payload).is_keyframe());
            let found = added(&mut KeyframeFlags::default(), payload);
            assert!(message(&found).is_keyframe(), "{payload:x?}");
            assert_eq!(found[1..], payload[1..]);
            assert_eq!(
                message(&found).header().codec,
                message(payload).header().codec
            );
        }
    }

    #[test]
    fn other_frames_keep_their_type() {
        let others: [&[u8]; 11] = [
            b"\x27\x01\0\0\0\0\0\0\x02\x41\x9A",       // a slice of H.264
            b"\x81hvc1\0\0\0\0\0\0\x02\x02\x01",       // TRAIL_R of HEVC
            b"\x81av01\x32\x02\x10\0",                 // a key frame without a sequence header
            b"\x81av01\x0A\x01\0\x32\x02\x30\0",       // an inter frame
            b"\x81av01\x0A\x01\0\x32\x02\x90\0",       // an existing frame
            b"\x86\x01hvc1\0\0\0\0\0\0\0\x02\x26\x01", // one of several tracks
            b"\x57\x00",                               // a command
            b"\x81vp09\x86\0",                         // an inter frame of VP9
            b"\x81vp09\x88\0",                         // an existing frame of VP9
            b"\x81vp09\xB4\0",                         // an existing frame of VP9's profile 3
            b"\xA1vvc1\x82\x49\x83\x42",               // another codec
        ];
        for payload in others {
            assert_eq!(added(&mut KeyframeFlags::default(), payload), payload);
        }
    }

    #[test]
    fn flags_of_an_encoder_that_sets_them_are_used() {
        let mut flags = KeyframeFlags::default();
        let first = &mut message(KEYFRAMES[3]);
        assert!(flags.add_missing(first), "it is reported once");
        assert!(!flags.add_missing(&mut message(KEYFRAMES[3])));
        assert!(!flags.add_missing(&mut message(b"\x93hvc1\0\0\0\x02\x26\x01")));
        assert_eq!(added(&mut flags, KEYFRAMES[3]), KEYFRAMES[3]);
    }

    #[test]
    fn next_encoder_may_flag_none() {
        let mut flags = KeyframeFlags::default();
        let flagged = b"\x93hvc1\0\0\0\x02\x26\x01";
        flags.add_missing(&mut message(flagged));
        assert_eq!(added(&mut flags, KEYFRAMES[3]), KEYFRAMES[3]);
        flags.add_missing(&mut message(b"\x80hvc1"));
        let found = added(&mut flags, KEYFRAMES[3]);
        assert!(message(&found).is_keyframe());
    }

    #[test]
    fn length_of_nal_units_is_that_of_the_decoder_configuration() {
        let mut flags = KeyframeFlags::default();
        flags.add_missing(&mut message(b"\x17\0\0\0\0\x01\x64\0\x1F\xFD"));
        let found = added(&mut flags, b"\x27\x01\0\0\0\0\x02\x65\x88");
        assert!(message(&found).is_keyframe());
        let mut flags = KeyframeFlags::default();
        let mut configuration = b"\x90hvc1".to_vec();
        configuration.extend([0; 21]);
        configuration.push(0);
        flags.add_missing(&mut message(&configuration));
        let found = added(&mut flags, b"\x83hvc1\x02\x26\x01");
        assert!(message(&found).is_keyframe());
    }

    #[test]
    fn only_first_units_of_a_frame_are_read() {
        let of = |delimiters| {
            let mut payload = b"\x27\x01\0\0\0".to_vec();
            payload.extend(b"\0\0\0\x01\x09".repeat(delimiters));
            payload.extend(b"\0\0\0\x01\x65");
            is_found(&payload)
        };
        assert!(of(MAX_UNITS - 1));
        assert!(!of(MAX_UNITS));
    }

    proptest! {
        #[test]
        fn any_payload_keeps_all_but_its_frame_type(
            start in proptest::sample::select(vec![&b"\x27\x01\0\0\0"[..], b"\x83hvc1", b"\x81av01", b""]),
            rest in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let payload = [start, &rest].concat();
            let found = added(&mut KeyframeFlags::default(), &payload);
            prop_assert_eq!(found.len(), payload.len());
            prop_assert_eq!(found.get(1..), payload.get(1..));
        }
    }
}
