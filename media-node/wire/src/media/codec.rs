//! The codecs that a payload's header can name.

use std::fmt;

/// A codec of audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the codecs'")]
pub enum Codec {
    SorensonH263,
    ScreenVideo,
    Vp6,
    H264,
    Hevc,
    Vvc,
    Vp8,
    Vp9,
    Av1,
    Aac,
    Mp3,
    Opus,
    Flac,
    Ac3,
    Eac3,
    Speex,
    Nellymoser,
    Adpcm,
    Pcm,
    G711A,
    G711U,
    /// An unknown FourCC.
    Other([u8; 4]),
}

pub(super) const AVC: u8 = 7;
/// The id that Chinese servers and encoders use for HEVC outside of Enhanced RTMP.
pub(super) const HEVC: u8 = 12;
pub(super) const LEGACY_AV1: u8 = 13;
pub(super) const AAC: u8 = 10;

impl Codec {
    pub(super) fn of_video_id(id: u8) -> Option<Self> {
        Some(match id {
            2 => Self::SorensonH263,
            3 | 6 => Self::ScreenVideo,
            4 | 5 => Self::Vp6,
            AVC => Self::H264,
            HEVC => Self::Hevc,
            LEGACY_AV1 => Self::Av1,
            _ => return None,
        })
    }

    pub(super) fn of_sound_format(format: u8) -> Option<Self> {
        Some(match format {
            0 | 3 => Self::Pcm,
            1 => Self::Adpcm,
            2 | 14 => Self::Mp3,
            4..=6 => Self::Nellymoser,
            7 => Self::G711A,
            8 => Self::G711U,
            AAC => Self::Aac,
            11 => Self::Speex,
            13 => Self::Opus,
            _ => return None,
        })
    }

    pub(super) fn of_four_cc(four_cc: [u8; 4]) -> Self {
        match &four_cc {
            b"avc1" => Self::H264,
            b"hvc1" | b"hev1" => Self::Hevc,
            b"vvc1" => Self::Vvc,
            b"vp08" => Self::Vp8,
            b"vp09" => Self::Vp9,
            b"av01" => Self::Av1,
            b"mp4a" => Self::Aac,
            b".mp3" => Self::Mp3,
            b"Opus" => Self::Opus,
            b"fLaC" => Self::Flac,
            b"ac-3" => Self::Ac3,
            b"ec-3" => Self::Eac3,
            _ => Self::Other(four_cc),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SorensonH263 => "H.263",
            Self::ScreenVideo => "Screen Video",
            Self::Vp6 => "VP6",
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Vvc => "VVC",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
            Self::Aac => "AAC",
            Self::Mp3 => "MP3",
            Self::Opus => "Opus",
            Self::Flac => "FLAC",
            Self::Ac3 => "AC-3",
            Self::Eac3 => "E-AC-3",
            Self::Speex => "Speex",
            Self::Nellymoser => "Nellymoser",
            Self::Adpcm => "ADPCM",
            Self::Pcm => "PCM",
            Self::G711A => "G.711 A-law",
            Self::G711U => "G.711 µ-law",
            Self::Other(four_cc) => return write!(f, "{}", four_cc.escape_ascii()),
        })
    }
}
