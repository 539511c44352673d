//! What a message is to the log, by the first bytes of its payload.

use media_wire::flv::MAX_PAYLOAD;
use media_wire::relay::Mark;
use media_wire::{Codec, MediaKind, Message};

use crate::prelude::Slot;
use crate::timeline::Timing;

/// What a message is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    pub(crate) timing: Timing,
    /// A viewer can start here.
    pub(crate) keyframe: bool,
    /// A picture that cannot be decoded without those before it.
    pub(crate) dependent: bool,
    /// Viewers that come later need it; where it stands in their prelude.
    pub(crate) slot: Option<Slot>,
    pub(crate) codec: Option<Codec>,
    /// It cannot be in a log: FLV has no room for it, or it speaks the nodes' own language.
    pub(crate) unfit: bool,
}

impl Nature {
    pub(crate) fn of(message: &Message) -> Self {
        let payload = &message.payload[..];
        let traits = message.traits();
        let sequence_header = traits.sequence_header;
        // The other tracks of a multitrack video follow the first one's keyframe.
        let keyframe = traits.keyframe && traits.track == 0;
        let picture = message.kind == MediaKind::Video && !sequence_header && is_picture(payload);
        let slot = match message.kind {
            MediaKind::Data => is_metadata(payload).then_some(Slot::Metadata),
            MediaKind::Audio => sequence_header.then_some(Slot::Audio(traits.track)),
            MediaKind::Video if sequence_header => Some(Slot::Video(traits.track)),
            MediaKind::Video => is_picture_metadata(payload).then_some(Slot::Color),
        };
        let timing = match message.kind {
            MediaKind::Data if slot.is_some() => Timing::Never,
            MediaKind::Audio if !sequence_header => Timing::Audio,
            MediaKind::Video if picture || ends_sequence(payload) => Timing::Video,
            _ => Timing::Untimed,
        };
        Self {
            timing,
            keyframe,
            dependent: picture && !keyframe,
            slot,
            codec: traits.codec,
            unfit: payload.is_empty()
                || payload.len() > MAX_PAYLOAD
                || (message.kind == MediaKind::Data && Mark::is_named(payload)),
        }
    }
}

/// Whether data is metadata, and not a cue point or a caption: an AMF0 string `onMetaData` comes first.
pub(crate) fn is_metadata(payload: &[u8]) -> bool {
    payload.starts_with(b"\x02\x00\x0AonMetaData")
}

/// Whether video without a sequence header is a picture: not a command, the end of a sequence or metadata of pictures
/// (FLV E.4.3.1; Enhanced RTMP v2, "Extended VideoTagHeader").
fn is_picture(payload: &[u8]) -> bool {
    let Some(first) = payload.first() else {
        return false;
    };
    if first & ENHANCED != 0 {
        return !matches!(first & 0x0F, SEQUENCE_END | PICTURE_METADATA);
    }
    first >> 4 != FRAME_TYPE_COMMAND && !ends_sequence(payload)
}

/// Whether video is the end of a sequence: no picture, and stamped as the next one would be.
fn ends_sequence(payload: &[u8]) -> bool {
    match payload {
        [first, ..] if first & ENHANCED != 0 => first & 0x0F == SEQUENCE_END,
        [first, SEQUENCE_END, ..] => {
            first >> 4 != FRAME_TYPE_COMMAND && matches!(first & 0x0F, AVC | HEVC | AV1)
        }
        _ => false,
    }
}

/// Whether video is metadata of pictures, such as their colour space (Enhanced RTMP).
fn is_picture_metadata(payload: &[u8]) -> bool {
    let first = payload.first().copied().unwrap_or_default();
    first & ENHANCED != 0 && first & 0x0F == PICTURE_METADATA
}

const ENHANCED: u8 = 0x80;
const FRAME_TYPE_COMMAND: u8 = 5;
const AVC: u8 = 7;
const HEVC: u8 = 12;
const AV1: u8 = 13;
const SEQUENCE_END: u8 = 2;
const PICTURE_METADATA: u8 = 4;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn video(payload: &'static [u8]) -> Nature {
        Nature::of(&Message {
            kind: MediaKind::Video,
            timestamp: 0,
            payload: Bytes::from_static(payload),
        })
    }

    #[test]
    fn only_pictures_depend_on_those_before_them() {
        let dependent: [&[u8]; 4] = [
            b"\x27\x01\0\0\0", // AVC
            b"\xA1hvc1\0\0\0", // HEVC, coded frames
            b"\xA3av01\0",     // AV1, coded frames without composition time
            b"\x22\0",         // Sorenson
        ];
        for payload in dependent {
            assert!(video(payload).dependent, "{payload:?}");
            assert_eq!(video(payload).timing, Timing::Video);
        }
        let others: [&[u8]; 6] = [
            b"\x17\x01\0\0\0",                // a keyframe
            b"\x17\x00\0\0\0",                // a sequence header
            b"\x17\x02\0\0\0",                // the end of a sequence
            b"\x57\x00",                      // a command
            b"\xD4hvc1\x02\x00\x09colorInfo", // metadata of pictures
            b"\x92hvc1",                      // the end of a sequence
        ];
        for payload in others {
            assert!(!video(payload).dependent, "{payload:?}");
        }
    }

    #[test]
    fn the_end_of_a_sequence_has_its_own_time() {
        for payload in [b"\x17\x02\0\0\0".as_slice(), b"\x92hvc1"] {
            assert_eq!(video(payload).timing, Timing::Video, "{payload:?}");
        }
        assert_eq!(video(b"\x57\x02").timing, Timing::Untimed, "a command");
    }

    #[test]
    fn colours_belong_to_the_prelude() {
        let nature = video(b"\xD4hvc1\x02\x00\x09colorInfo");
        assert_eq!(nature.slot, Some(Slot::Color));
        assert_eq!(nature.timing, Timing::Untimed);
    }
}
