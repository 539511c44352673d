//! The frames that our own encoder sends. Each carries its encoder and its number, so that no two are the same.

use bytes::{BufMut, Bytes, BytesMut};
use media_wire::amf0::{Value, encode_all};
use media_wire::{MediaKind, Message};

/// Video frames per second. Each has an audio frame beside it.
pub(super) const RATE: u32 = 25;

/// Frames from keyframe to keyframe: one second.
const GOP: u64 = 25;

/// Metadata and sequence headers, which come first.
pub(super) fn headers() -> [Message; 3] {
    let number = |name: &str, value: f64| (name.to_owned(), Value::Number(value));
    let metadata = encode_all(&[
        Value::String("onMetaData".to_owned()),
        Value::EcmaArray(vec![
            number("width", 320.0),
            number("height", 180.0),
            number("framerate", f64::from(RATE)),
            number("videocodecid", 7.0),
            number("audiocodecid", 10.0),
        ]),
    ]);
    // ISO 14496-15, 5.2.4.1: version, profile, compatibility, level, four-byte lengths, one SPS, one PPS.
    let avc: &[u8] = &[
        0x17, 0, 0, 0, 0, 1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0, 4, 0x67, 0x42, 0xC0, 0x1E, 1, 0, 4,
        0x68, 0xCE, 0x3C, 0x80,
    ];
    // ISO 14496-3, 1.6.2.1: AAC LC, 44.1 kHz, stereo.
    let aac: &[u8] = &[0xAF, 0, 0x12, 0x10];
    [
        message(MediaKind::Data, 0, Bytes::from(metadata)),
        message(MediaKind::Video, 0, Bytes::from_static(avc)),
        message(MediaKind::Audio, 0, Bytes::from_static(aac)),
    ]
}

/// The video frame and the audio frame of this number.
pub(super) fn pair(encoder: u32, number: u64, timestamp: u32) -> [Message; 2] {
    let (first, size) = if starts_gop(number) {
        (0x17, 8000)
    } else {
        (0x27, 1500)
    };
    let body = |header: &[u8], size| {
        let mut body = BytesMut::with_capacity(size);
        body.put_slice(header);
        body.put_u32(encoder);
        body.put_u64(number);
        body.resize(size, 0x5A);
        body.freeze()
    };
    [
        message(
            MediaKind::Video,
            timestamp,
            body(&[first, 1, 0, 0, 0], size),
        ),
        message(MediaKind::Audio, timestamp, body(&[0xAF, 1], 200)),
    ]
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
