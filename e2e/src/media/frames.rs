//! The frames that our own encoder sends. Each carries its encoder and its number, so that no two are the same.

use bytes::{BufMut, Bytes, BytesMut};
use media_wire::amf0::{Value, encode_all};
use media_wire::{MediaKind, Message};

/// What an encoder sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codecs {
    /// H.264 and AAC.
    #[default]
    H264Aac,
    /// The same with 8 Mbit/s.
    LargeH264Aac,
    /// HEVC by Enhanced RTMP, and AAC.
    HevcAac,
    /// AAC without video, as radio.
    Aac,
}

/// Video frames per second. Each has an audio frame beside it.
pub(super) const RATE: u32 = 25;

/// Frames from keyframe to keyframe: one second.
const GOP: u64 = 25;

impl Codecs {
    /// Returns metadata and sequence headers, which come first.
    pub(super) fn headers(self) -> Vec<Message> {
        let number = |name: &str, value: f64| (name.to_owned(), Value::Number(value));
        let mut fields = vec![number("audiocodecid", 10.0)];
        if self != Self::Aac {
            fields.push(number("width", 320.0));
            fields.push(number("height", 180.0));
            fields.push(number("framerate", f64::from(RATE)));
        }
        let metadata = encode_all(&[
            Value::String("onMetaData".to_owned()),
            Value::EcmaArray(fields),
        ]);
        // ISO 14496-15, 5.2.4.1: version, profile, compatibility, level, four-byte lengths, one SPS, one PPS.
        let avc: &[u8] = &[
            0x17, 0, 0, 0, 0, 1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0, 4, 0x67, 0x42, 0xC0, 0x1E, 1, 0,
            4, 0x68, 0xCE, 0x3C, 0x80,
        ];
        // Enhanced RTMP's sequence start; ISO 14496-15, 8.3.2.1: version, Main profile and level 3, four-byte lengths, no arrays.
        let hevc: &[u8] =
            b"\x90hvc1\x01\x01\x60\0\0\0\x90\0\0\0\0\0\x5A\xF0\0\xFC\xFD\xF8\xF8\0\0\x0F\0";
        // ISO 14496-3, 1.6.2.1: AAC LC, 44.1 kHz, stereo.
        let aac: &[u8] = &[0xAF, 0, 0x12, 0x10];
        let video = match self {
            Self::H264Aac | Self::LargeH264Aac => Some(avc),
            Self::HevcAac => Some(hevc),
            Self::Aac => None,
        };
        let video = video.map(|header| message(MediaKind::Video, 0, Bytes::from_static(header)));
        let audio = message(MediaKind::Audio, 0, Bytes::from_static(aac));
        let metadata = message(MediaKind::Data, 0, Bytes::from(metadata));
        [metadata].into_iter().chain(video).chain([audio]).collect()
    }

    /// Returns the frames of this number: of video, if there is any, and of audio.
    pub(super) fn frames(self, encoder: u32, number: u64, timestamp: u32) -> Vec<Message> {
        let keyframe = starts_gop(number);
        let header: Option<&[u8]> = match self {
            Self::H264Aac | Self::LargeH264Aac if keyframe => Some(&[0x17, 1, 0, 0, 0]),
            Self::H264Aac | Self::LargeH264Aac => Some(&[0x27, 1, 0, 0, 0]),
            Self::HevcAac if keyframe => Some(b"\x93hvc1"),
            Self::HevcAac => Some(b"\xA3hvc1"),
            Self::Aac => None,
        };
        let body = |header: &[u8], size| {
            let mut body = BytesMut::with_capacity(size);
            body.put_slice(header);
            body.put_u32(encoder);
            body.put_u64(number);
            body.resize(size, 0x5A);
            body.freeze()
        };
        let size = match (self, keyframe) {
            (Self::LargeH264Aac, true) => 200_000,
            (Self::LargeH264Aac, false) => 35_000,
            (_, true) => 8000,
            (_, false) => 1500,
        };
        let video = header.map(|header| message(MediaKind::Video, timestamp, body(header, size)));
        let audio = message(MediaKind::Audio, timestamp, body(&[0xAF, 1], 200));
        video.into_iter().chain([audio]).collect()
    }
}

/// Whether the video frame of this number is a keyframe.
pub(super) fn starts_gop(number: u64) -> bool {
    number.is_multiple_of(GOP)
}

fn message(kind: MediaKind, timestamp: u32, payload: Bytes) -> Message {
    Message {
        kind,
        timestamp,
        payload,
    }
}
