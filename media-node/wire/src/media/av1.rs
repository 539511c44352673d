//! Completes AV1 decoder configurations that lack the sequence header, and gives frames the packet type that all players know.
//!
//! A configuration may have no units (AV1 in ISOBMFF, 2.3). Decoders find the sequence header in each keyframe, but a player that
//! announces the codec to the browser before the first frame needs it earlier: mpegts.js does not play such a stream.

use bytes::{BufMut, BytesMut};

use super::Message;
use super::codec::Codec;
use super::header::{MediaKind, PacketType, frame_of};
use super::obu::{HAS_SIZE, OBU_SEQUENCE_HEADER, Obu, obus};

/// Bytes of the payload before the configuration.
const HEADER: usize = 5;

/// Bytes of a configuration without units.
const EMPTY: usize = 4;

/// The decoder configuration of one encoder's AV1 video.
#[derive(Debug, Default)]
pub struct Av1Configuration {
    /// A configuration without units, which is held back until the first frame.
    held: Option<Message>,
}

impl Av1Configuration {
    /// Holds back a configuration that lacks the sequence header. Returns whether it did: the caller must not pass the message on.
    pub fn hold(&mut self, message: &Message) -> bool {
        if !is_av1(message, PacketType::SequenceHeader) {
            return false;
        }
        let is_empty = message.payload.len() == HEADER + EMPTY;
        self.held = is_empty.then(|| message.clone());
        is_empty
    }

    /// Returns the configuration that was held back, with the sequence header of `frame` if it has one. The caller passes it on before
    /// the frame.
    pub fn release(&mut self, frame: &Message) -> Option<Message> {
        let is_frame = is_av1(frame, PacketType::Keyframe) || is_av1(frame, PacketType::Frame);
        let mut configuration = self.held.take_if(|_| is_frame)?;
        let content = frame_of(frame.header(), &frame.payload).unwrap_or_default();
        let mut units = obus(content);
        let is_complete = |obu: &Obu<'_>| obu.bytes.first().is_some_and(|it| it & HAS_SIZE != 0);
        if let Some(sequence_header) = units
            .find(|obu| obu.obu_type == OBU_SEQUENCE_HEADER)
            .filter(is_complete)
        {
            let mut payload = BytesMut::from(&configuration.payload[..]);
            payload.put_slice(sequence_header.bytes);
            configuration.payload = payload.freeze();
        }
        configuration.timestamp = frame.timestamp;
        Some(configuration)
    }
}

/// Makes coded frames of coded frames without composition time, which mpegts.js does not play. AV1 has no composition time, so that only the
/// packet type differs.
pub fn use_coded_frames(message: &mut Message) {
    let is_other = matches!(&*message.payload, [first, b'a', b'v', b'0', b'1', ..] if first & !FRAME_TYPE == CODED_FRAMES_X);
    if message.kind != MediaKind::Video || !is_other {
        return;
    }
    let mut payload = BytesMut::from(std::mem::take(&mut message.payload));
    if let Some(first) = payload.first_mut() {
        *first = *first & FRAME_TYPE | CODED_FRAMES;
    }
    message.payload = payload.freeze();
}

/// The bits of the frame type in the first byte of Enhanced RTMP.
const FRAME_TYPE: u8 = 0x70;

/// The other bits of a packet with coded frames, and of one with coded frames without composition time.
const CODED_FRAMES: u8 = 0x81;
const CODED_FRAMES_X: u8 = 0x83;

fn is_av1(message: &Message, packet_type: PacketType) -> bool {
    let header = message.header();
    message.kind == MediaKind::Video
        && header.codec == Some(Codec::Av1)
        && header.track == 0
        && header.packet_type == packet_type
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn message(timestamp: u32, payload: &[u8]) -> Message {
        Message {
            kind: MediaKind::Video,
            timestamp,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    const CONFIGURATION: &[u8] = b"\x90av01\x81\x04\x0C\0";
    /// A temporal delimiter, a sequence header and a key frame.
    const KEYFRAME: &[u8] = b"\x91av01\x12\0\x0A\x02\x18\x19\x32\x02\x10\0";

    #[test]
    fn configuration_gets_the_sequence_header_of_the_first_keyframe() {
        let mut av1 = Av1Configuration::default();
        assert!(av1.hold(&message(0, CONFIGURATION)));
        assert_eq!(av1.release(&message(7, b"\x17\x01\0\0\0\x65")), None);
        let completed = av1.release(&message(40, KEYFRAME));
        let expected = [CONFIGURATION, b"\x0A\x02\x18\x19"].concat();
        assert_eq!(completed, Some(message(40, &expected)));
        assert!(completed.is_some_and(|it| it.is_sequence_header()));
        assert_eq!(av1.release(&message(80, KEYFRAME)), None);
    }

    #[test]
    fn configuration_is_not_held_back_where_the_frame_has_no_sequence_header() {
        let without: [&[u8]; 3] = [
            b"\xA1av01\x12\0\x32\x02\x30\0",
            b"\x91av01",
            // One without a size.
            b"\x91av01\x08\x18\x19",
        ];
        for frame in without {
            let mut av1 = Av1Configuration::default();
            assert!(av1.hold(&message(0, CONFIGURATION)));
            let released = av1.release(&message(40, frame));
            assert_eq!(released, Some(message(40, CONFIGURATION)));
        }
    }

    #[test]
    fn configuration_with_units_and_those_of_other_codecs_pass() {
        let mut av1 = Av1Configuration::default();
        assert!(av1.hold(&message(0, CONFIGURATION)));
        let complete = [CONFIGURATION, b"\x0A\x02\x18\x19"].concat();
        for payload in [&complete, &b"\x90hvc1\x01\x04\x0C\0"[..], KEYFRAME] {
            assert!(!av1.hold(&message(0, payload)), "{payload:x?}");
        }
        assert_eq!(
            av1.release(&message(40, KEYFRAME)),
            None,
            "the complete one replaces it"
        );
    }

    #[test]
    fn frames_without_composition_time_become_coded_frames() {
        let used = |payload: &'static [u8]| {
            let mut message = message(0, payload);
            use_coded_frames(&mut message);
            message.payload
        };
        assert_eq!(used(b"\x93av01\x12\0"), &b"\x91av01\x12\0"[..]);
        assert_eq!(used(b"\xA3av01"), &b"\xA1av01"[..]);
        let others: [&[u8]; 6] = [
            KEYFRAME,
            CONFIGURATION,
            b"\x93hvc1\0\0\0\x02\x26\x01", // another codec
            b"\x94av01\x02",               // metadata
            b"\x96\x03av01\x01",           // one of several tracks
            b"\x93av0",
        ];
        for payload in others {
            assert_eq!(used(payload), payload);
        }
    }

    proptest! {
        #[test]
        fn any_frame_releases_the_configuration(rest in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut av1 = Av1Configuration::default();
            av1.hold(&message(0, CONFIGURATION));
            let frame = [&b"\x91av01"[..], &rest].concat();
            let released = av1.release(&message(40, &frame)).unwrap();
            prop_assert!(released.payload.starts_with(CONFIGURATION));
            prop_assert!(released.payload.len() <= CONFIGURATION.len() + rest.len());
        }
    }
}
