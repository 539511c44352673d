//! The header of an audio or video payload: legacy (FLV E.4.2.1, E.4.3.1) and Enhanced RTMP v2 ("ExAudioTagHeader",
//! "ExVideoTagHeader").

use super::codec::{AAC, AVC, Codec, HEVC, LEGACY_AV1};
use crate::fields::take;

/// The content of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaKind {
    /// An audio packet.
    Audio,
    /// A video packet.
    Video,
    /// AMF0 data: metadata without its `@setDataFrame`, cue points, captions.
    Data,
}

/// The header of a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaHeader {
    /// The codec, if the header names a known one or a FourCC.
    pub codec: Option<Codec>,
    /// The track of Enhanced RTMP's multitrack; 0 elsewhere.
    pub track: u8,
    /// The type of the packet after the header.
    pub packet_type: PacketType,
}

/// The type of an audio or video packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PacketType {
    /// The decoder's configuration.
    SequenceHeader,
    /// A video frame that decodes without others.
    Keyframe,
    /// A video frame that depends on others, or any audio packet but those of the decoder's configuration.
    Frame,
    /// The end of a video sequence. It has a timestamp as a frame has.
    SequenceEnd,
    /// Metadata of video frames, such as their colour space (Enhanced RTMP).
    VideoMetadata,
    /// The order of the channels of an audio track (Enhanced RTMP).
    MultichannelConfig,
    /// A command to the player, an empty payload, or data.
    #[default]
    Other,
}

impl MediaHeader {
    /// Returns the header of a payload.
    pub fn parse(kind: MediaKind, payload: &[u8]) -> Self {
        match (kind, payload.split_first()) {
            (MediaKind::Data, _) | (_, None) => Self::default(),
            (MediaKind::Audio, Some((first, rest))) => audio(*first, rest),
            (MediaKind::Video, Some((first, rest))) => video(*first, rest),
        }
    }

    /// Returns whether this is a keyframe of the first track. The other tracks follow the first one's keyframes.
    pub fn is_first_keyframe(self) -> bool {
        self.packet_type == PacketType::Keyframe && self.track == 0
    }
}

const ENHANCED_VIDEO: u8 = 0x80;
const ENHANCED_AUDIO: u8 = 9;
pub(super) const FRAME_TYPE_KEY: u8 = 1;
const FRAME_TYPE_COMMAND: u8 = 5;

fn video(first: u8, rest: &[u8]) -> MediaHeader {
    if first & ENHANCED_VIDEO != 0 {
        return enhanced_video(first, rest);
    }
    let frame_type = first >> 4;
    let id = first & 0x0F;
    let has_packet_type = matches!(id, AVC | HEVC | LEGACY_AV1);
    let frame = match frame_type {
        FRAME_TYPE_KEY => PacketType::Keyframe,
        _ => PacketType::Frame,
    };
    let packet_type = match (has_packet_type, rest.first()) {
        _ if frame_type == FRAME_TYPE_COMMAND => PacketType::Other,
        (false, _) | (true, Some(1)) => frame,
        (true, Some(0)) => PacketType::SequenceHeader,
        (true, Some(2)) => PacketType::SequenceEnd,
        // Unknown or truncated. If it counted as a keyframe, viewers could start at a frame that they cannot decode.
        (true, _) => PacketType::Frame,
    };
    MediaHeader {
        codec: Codec::of_video_id(id),
        track: 0,
        packet_type,
    }
}

fn audio(first: u8, rest: &[u8]) -> MediaHeader {
    let format = first >> 4;
    if format == ENHANCED_AUDIO {
        return enhanced_audio(first, rest);
    }
    let packet_type = match (format, rest.first()) {
        (AAC, Some(0)) => PacketType::SequenceHeader,
        _ => PacketType::Frame,
    };
    MediaHeader {
        codec: Codec::of_sound_format(format),
        track: 0,
        packet_type,
    }
}

const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;
const MULTICHANNEL_CONFIG: u8 = 4;
const MPEG2TS_SEQUENCE_START: u8 = 5;
const AUDIO_MULTITRACK: u8 = 5;
const VIDEO_MULTITRACK: u8 = 6;
const MOD_EX: u8 = 7;

fn enhanced_audio(first: u8, rest: &[u8]) -> MediaHeader {
    let Some(header) = Enhanced::parse(first, AUDIO_MULTITRACK, rest) else {
        return TRUNCATED;
    };
    header.with(match header.packet_type {
        SEQUENCE_START => PacketType::SequenceHeader,
        MULTICHANNEL_CONFIG => PacketType::MultichannelConfig,
        _ => PacketType::Frame,
    })
}

fn enhanced_video(first: u8, rest: &[u8]) -> MediaHeader {
    let frame_type = first >> 4 & 0x07;
    let Some(header) = Enhanced::parse(first, VIDEO_MULTITRACK, rest) else {
        return TRUNCATED;
    };
    if frame_type == FRAME_TYPE_COMMAND && header.packet_type != METADATA {
        // A command has no FourCC.
        return MediaHeader::default();
    }
    header.with(match header.packet_type {
        SEQUENCE_START | MPEG2TS_SEQUENCE_START => PacketType::SequenceHeader,
        CODED_FRAMES | CODED_FRAMES_X if frame_type == FRAME_TYPE_KEY => PacketType::Keyframe,
        SEQUENCE_END => PacketType::SequenceEnd,
        METADATA => PacketType::VideoMetadata,
        _ => PacketType::Frame,
    })
}

/// The header of a payload that ends within its header.
const TRUNCATED: MediaHeader = MediaHeader {
    codec: None,
    track: 0,
    packet_type: PacketType::Frame,
};

/// The header of an Enhanced RTMP v2 payload, with the packet type as its number.
struct Enhanced {
    packet_type: u8,
    codec: Option<Codec>,
    track: u8,
}

impl Enhanced {
    /// Parses a header. `multitrack` is the packet type that differs between audio and video.
    fn parse(first: u8, multitrack: u8, mut rest: &[u8]) -> Option<Self> {
        let mut packet_type = first & 0x0F;
        // Each modifier has at least three bytes, so the loop ends.
        while packet_type == MOD_EX {
            packet_type = skip_modifier(&mut rest)?;
        }
        if packet_type != multitrack {
            return Some(Self {
                packet_type,
                codec: take::<4>(&mut rest).map(Codec::of_four_cc),
                track: 0,
            });
        }
        let [types] = take(&mut rest)?;
        // The FourCC is that of all tracks or of the first track. The first track's number follows in both cases.
        let codec = take::<4>(&mut rest).map(Codec::of_four_cc);
        let [track] = take(&mut rest)?;
        Some(Self {
            packet_type: types & 0x0F,
            codec,
            track,
        })
    }

    fn with(&self, packet_type: PacketType) -> MediaHeader {
        MediaHeader {
            codec: self.codec,
            track: self.track,
            packet_type,
        }
    }
}

/// Skips one modifier (`ModEx`). Returns the packet type after it.
fn skip_modifier(rest: &mut &[u8]) -> Option<u8> {
    let [size] = take(rest)?;
    let mut size = usize::from(size) + 1;
    if size == 256 {
        size = usize::from(u16::from_be_bytes(take(rest)?)) + 1;
    }
    *rest = rest.get(size..)?;
    let [types] = take(rest)?;
    Some(types & 0x0F)
}

/// Returns the frame after the header of a payload with one track and no modifiers.
pub(super) fn frame_of(header: MediaHeader, payload: &[u8]) -> Option<&[u8]> {
    let is_nal = matches!(header.codec, Some(Codec::H264 | Codec::Hevc));
    let start = match payload.first()? {
        // Packet type and composition time.
        first if first & 0x80 == 0 => 5,
        // Coded frames: the FourCC and, for NAL units, the composition time.
        first if first & 0x0F == 1 => 5 + if is_nal { 3 } else { 0 },
        // Coded frames without composition time.
        first if first & 0x0F == 3 => 5,
        _ => return None,
    };
    payload.get(start..)
}
