//! The class of a message, which decides how the log treats it.

use media_wire::media::{MediaHeader, PacketType};
use media_wire::{MediaKind, Message};

use crate::init_data::InitSlot;
use crate::timeline::Timing;

/// The class of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageClass {
    /// `onMetaData`.
    Metadata,
    /// The decoder's configuration for an audio track.
    AudioSequenceHeader(u8),
    /// The order of an audio track's channels.
    AudioChannels(u8),
    /// The decoder's configuration for a video track.
    VideoSequenceHeader(u8),
    /// Metadata of a track's video frames.
    VideoMetadata(u8),
    /// A video frame that viewers can start at.
    Keyframe,
    /// A video frame that depends on the frames before it. The keyframes of all tracks but the first belong here, because
    /// they follow the first one's.
    Interframe,
    /// The end of a video sequence.
    SequenceEnd,
    /// An audio frame.
    Audio,
    /// Cue points, captions, video commands.
    Other,
}

impl MessageClass {
    /// Returns the class of a message with this header.
    pub(crate) fn of(message: &Message, header: MediaHeader) -> Self {
        let track = header.track;
        match (message.kind, header.packet_type) {
            (MediaKind::Data, _) if is_metadata(&message.payload) => Self::Metadata,
            (MediaKind::Data, _) => Self::Other,
            (MediaKind::Audio, PacketType::SequenceHeader) => Self::AudioSequenceHeader(track),
            (MediaKind::Audio, PacketType::MultichannelConfig) => Self::AudioChannels(track),
            (MediaKind::Audio, _) => Self::Audio,
            (MediaKind::Video, PacketType::SequenceHeader) => Self::VideoSequenceHeader(track),
            (MediaKind::Video, PacketType::VideoMetadata) => Self::VideoMetadata(track),
            (MediaKind::Video, PacketType::Keyframe) if track == 0 => Self::Keyframe,
            (MediaKind::Video, PacketType::Keyframe | PacketType::Frame) => Self::Interframe,
            (MediaKind::Video, PacketType::SequenceEnd) => Self::SequenceEnd,
            (MediaKind::Video, PacketType::Other | PacketType::MultichannelConfig) => Self::Other,
        }
    }

    /// Returns the clock that the message follows.
    pub(crate) fn timing(self) -> Timing {
        match self {
            Self::Metadata => Timing::Never,
            Self::Audio => Timing::Audio,
            Self::Keyframe | Self::Interframe | Self::SequenceEnd => Timing::Video,
            Self::AudioSequenceHeader(_)
            | Self::AudioChannels(_)
            | Self::VideoSequenceHeader(_)
            | Self::VideoMetadata(_)
            | Self::Other => Timing::Untimed,
        }
    }

    /// Returns the place in the init data, if viewers that join later need the message.
    pub(crate) fn init_slot(self) -> Option<InitSlot> {
        match self {
            Self::Metadata => Some(InitSlot::Metadata),
            Self::AudioSequenceHeader(track) => Some(InitSlot::Audio(track)),
            Self::AudioChannels(track) => Some(InitSlot::AudioChannels(track)),
            Self::VideoSequenceHeader(track) => Some(InitSlot::Video(track)),
            Self::VideoMetadata(track) => Some(InitSlot::VideoMetadata(track)),
            Self::Keyframe | Self::Interframe | Self::SequenceEnd | Self::Audio | Self::Other => {
                None
            }
        }
    }
}

/// Returns whether data starts with the AMF0 string `onMetaData`, as opposed to a cue point or a caption.
pub(crate) fn is_metadata(payload: &[u8]) -> bool {
    payload.starts_with(b"\x02\x00\x0AonMetaData")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn video(payload: &'static [u8]) -> MessageClass {
        let message = Message {
            kind: MediaKind::Video,
            timestamp: 0,
            payload: Bytes::from_static(payload),
        };
        MessageClass::of(&message, message.header())
    }

    #[test]
    fn only_frames_depend_on_those_before_them() {
        let dependent: [&[u8]; 5] = [
            b"\x27\x01\0\0\0",     // AVC
            b"\xA1hvc1\0\0\0",     // HEVC, coded frames
            b"\xA3av01\0",         // AV1, coded frames without composition time
            b"\x22\0",             // Sorenson
            b"\x96\x01hvc1\x01na", // a keyframe of the second track
        ];
        for payload in dependent {
            assert_eq!(video(payload), MessageClass::Interframe, "{payload:?}");
            assert_eq!(video(payload).timing(), Timing::Video);
        }
        let others: [&[u8]; 8] = [
            b"\x17\x01\0\0\0",                // a keyframe
            b"\x17\x00\0\0\0",                // a sequence header
            b"\x17\x02\0\0\0",                // the end of a sequence
            b"\x57\x00",                      // a command
            b"\xD1\x00",                      // a command of Enhanced RTMP
            b"\xD4hvc1\x02\x00\x09colorInfo", // video metadata
            b"\x92hvc1",                      // the end of a sequence
            b"\x96\x02hvc1\x00",              // the end of a sequence of one track of several
        ];
        for payload in others {
            assert_ne!(video(payload), MessageClass::Interframe, "{payload:?}");
        }
    }

    #[test]
    fn sequence_end_follows_video_clock() {
        for payload in [b"\x17\x02\0\0\0".as_slice(), b"\x92hvc1"] {
            assert_eq!(video(payload).timing(), Timing::Video, "{payload:?}");
        }
        assert_eq!(video(b"\x57\x02").timing(), Timing::Untimed, "a command");
    }

    #[test]
    fn video_metadata_belongs_to_init_data() {
        let class = video(b"\xD4hvc1\x02\x00\x09colorInfo");
        assert_eq!(class.init_slot(), Some(InitSlot::VideoMetadata(0)));
        assert_eq!(class.timing(), Timing::Untimed);
    }
}
