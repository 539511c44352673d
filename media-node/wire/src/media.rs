//! The one media type of the project, and what the first bytes of its payload say about it.
//!
//! Payloads are FLV tag bodies (Annex E.4.2.1, E.4.3.1) or those of Enhanced RTMP v2. Nothing is decoded: a codec that
//! nobody here knows passes through like any other.

mod codec;

use bytes::Bytes;

pub use codec::Codec;

/// What a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaKind {
    /// An audio packet.
    Audio,
    /// A video packet.
    Video,
    /// AMF0 data: metadata without its `@setDataFrame`, cue points, captions.
    Data,
}

/// One message of a stream: an RTMP message's or FLV tag's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it carries.
    pub kind: MediaKind,
    /// Decoding time in milliseconds; wraps after 2^32.
    pub timestamp: u32,
    /// The body.
    pub payload: Bytes,
}

/// What the head of a payload says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The codec, if the payload names one that can be told.
    pub codec: Option<Codec>,
    /// The track of Enhanced RTMP's multitrack; 0 elsewhere.
    pub track: u8,
    /// A picture that decodes without others. Not the sequence header.
    pub keyframe: bool,
    /// The decoder's configuration.
    pub sequence_header: bool,
}

impl Message {
    /// What the head of the payload says.
    pub fn traits(&self) -> Traits {
        traits(self.kind, &self.payload)
    }

    /// Whether a viewer can start here.
    pub fn is_keyframe(&self) -> bool {
        is_keyframe(self.kind, &self.payload)
    }

    /// Whether this configures the decoder.
    pub fn is_sequence_header(&self) -> bool {
        is_sequence_header(self.kind, &self.payload)
    }
}

/// Whether a viewer can start here: a picture of the first track that decodes without others.
pub fn is_keyframe(kind: MediaKind, payload: &[u8]) -> bool {
    let traits = traits(kind, payload);
    traits.keyframe && traits.track == 0
}

/// Whether this configures a decoder.
pub fn is_sequence_header(kind: MediaKind, payload: &[u8]) -> bool {
    traits(kind, payload).sequence_header
}

/// The codec, if the payload names one that can be told.
pub fn codec(kind: MediaKind, payload: &[u8]) -> Option<Codec> {
    traits(kind, payload).codec
}

/// What the head of a payload says.
pub fn traits(kind: MediaKind, payload: &[u8]) -> Traits {
    let traits = match (kind, payload.split_first()) {
        (MediaKind::Data, _) | (_, None) => None,
        (MediaKind::Audio, Some((first, rest))) => audio(*first, rest),
        (MediaKind::Video, Some((first, rest))) => video(*first, rest),
    };
    traits.unwrap_or_default()
}

const AVC: u8 = 7;
/// The id that Chinese servers and encoders use for HEVC outside of Enhanced RTMP.
const HEVC: u8 = 12;
const LEGACY_AV1: u8 = 13;
const AAC: u8 = 10;
const ENHANCED_AUDIO: u8 = 9;
const FRAME_TYPE_KEY: u8 = 1;
const FRAME_TYPE_COMMAND: u8 = 5;

fn video(first: u8, rest: &[u8]) -> Option<Traits> {
    if first & 0x80 != 0 {
        return enhanced_video(first, rest);
    }
    let key = first >> 4 == FRAME_TYPE_KEY;
    let id = first & 0x0F;
    let has_packet_type = matches!(id, AVC | HEVC | LEGACY_AV1);
    let packet_type = rest.first().copied().filter(|_| has_packet_type);
    Some(Traits {
        codec: Codec::of_video_id(id),
        track: 0,
        keyframe: key
            && matches!(packet_type, None | Some(1))
            && (!has_packet_type || !rest.is_empty()),
        sequence_header: packet_type == Some(0),
    })
}

fn audio(first: u8, rest: &[u8]) -> Option<Traits> {
    let format = first >> 4;
    if format == ENHANCED_AUDIO {
        let head = Enhanced::parse(first & 0x0F, Packets::AUDIO, rest)?;
        return Some(Traits {
            codec: head.codec,
            track: head.track,
            keyframe: false,
            sequence_header: head.packet_type == SEQUENCE_START,
        });
    }
    Some(Traits {
        codec: Codec::of_sound_format(format),
        track: 0,
        keyframe: false,
        sequence_header: format == AAC && rest.first() == Some(&0),
    })
}

const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;
const MPEG2TS_SEQUENCE_START: u8 = 5;

fn enhanced_video(first: u8, rest: &[u8]) -> Option<Traits> {
    let frame_type = first >> 4 & 0x07;
    let packet_type = first & 0x0F;
    if frame_type == FRAME_TYPE_COMMAND && packet_type != METADATA {
        return None;
    }
    let head = Enhanced::parse(packet_type, Packets::VIDEO, rest)?;
    let coded = matches!(head.packet_type, CODED_FRAMES | CODED_FRAMES_X);
    Some(Traits {
        codec: head.codec,
        track: head.track,
        keyframe: frame_type == FRAME_TYPE_KEY && coded,
        sequence_header: matches!(head.packet_type, SEQUENCE_START | MPEG2TS_SEQUENCE_START),
    })
}

/// The packet types whose numbers differ between Enhanced RTMP's audio and video.
struct Packets {
    multitrack: u8,
    mod_ex: u8,
}

impl Packets {
    const AUDIO: Self = Self {
        multitrack: 5,
        mod_ex: 7,
    };
    const VIDEO: Self = Self {
        multitrack: 6,
        mod_ex: 7,
    };
}

/// The head of an Enhanced RTMP v2 audio or video body.
struct Enhanced {
    packet_type: u8,
    codec: Option<Codec>,
    track: u8,
}

impl Enhanced {
    fn parse(packet_type: u8, packets: Packets, mut rest: &[u8]) -> Option<Self> {
        let mut packet_type = packet_type;
        // Each round takes at least three bytes off, so this ends.
        while packet_type == packets.mod_ex {
            packet_type = skip_mod_ex(&mut rest)?;
        }
        if packet_type != packets.multitrack {
            return Some(Self {
                packet_type,
                codec: take::<4>(&mut rest).map(Codec::of_four_cc),
                track: 0,
            });
        }
        let [kinds] = take(&mut rest)?;
        // One codec for all tracks, or for each its own: either way the first one stands here, then its track.
        let codec = take::<4>(&mut rest).map(Codec::of_four_cc);
        let [track] = take(&mut rest)?;
        Some(Self {
            packet_type: kinds & 0x0F,
            codec,
            track,
        })
    }
}

/// Takes one modifier off; returns the packet type that follows it.
fn skip_mod_ex(rest: &mut &[u8]) -> Option<u8> {
    let [size] = take(rest)?;
    let mut size = usize::from(size) + 1;
    if size == 256 {
        size = usize::from(u16::from_be_bytes(take(rest)?)) + 1;
    }
    *rest = rest.get(size..)?;
    let [kinds] = take(rest)?;
    Some(kinds & 0x0F)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}

#[cfg(test)]
mod tests;
