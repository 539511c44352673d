//! The endless film that our encoder sends: every picture and every sound carries who sent it and its number.

use bytes::{BufMut, Bytes, BytesMut};
use media_wire::amf0::{Value, encode_all};
use media_wire::{MediaKind, Message};

/// Pictures a second. There is one sound to each picture.
pub const RATE: u32 = 25;

/// A keyframe every second.
const GROUP: u64 = 25;

/// Which encoder sent a message, and the how manyth picture or sound it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// The encoder.
    pub film: u32,
    /// Counts up by one.
    pub number: u64,
}

impl Stamp {
    /// Reads the stamp of a picture or sound; `None` in a header.
    pub fn of(message: &Message) -> Option<Self> {
        let head = match message.kind {
            MediaKind::Video => PICTURE_HEAD,
            MediaKind::Audio => SOUND_HEAD,
            MediaKind::Data => return None,
        };
        if message.is_sequence_header() {
            return None;
        }
        let stamp = message.payload.get(head..head + 12)?;
        let (film, number) = stamp.split_at(4);
        Some(Self {
            film: u32::from_be_bytes(film.try_into().ok()?),
            number: u64::from_be_bytes(number.try_into().ok()?),
        })
    }
}

/// Metadata and the decoders' configurations, which come first.
pub fn headers() -> [Message; 3] {
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

/// A picture and its sound.
pub fn picture(stamp: Stamp, timestamp: u32) -> [Message; 2] {
    let keyframe = stamp.number.is_multiple_of(GROUP);
    let head = if keyframe { 0x17 } else { 0x27 };
    let size = if keyframe { 8000 } else { 1500 };
    [
        message(
            MediaKind::Video,
            timestamp,
            stamped(&[head, 1, 0, 0, 0], stamp, size),
        ),
        message(MediaKind::Audio, timestamp, stamped(&[0xAF, 1], stamp, 200)),
    ]
}

/// Whether an encoder may begin with this picture.
pub fn begins_group(number: u64) -> bool {
    number.is_multiple_of(GROUP)
}

fn stamped(head: &[u8], stamp: Stamp, size: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(size);
    body.put_slice(head);
    body.put_u32(stamp.film);
    body.put_u64(stamp.number);
    body.resize(size, 0x5A);
    body.freeze()
}

fn message(kind: MediaKind, timestamp: u32, payload: Bytes) -> Message {
    Message {
        kind,
        timestamp,
        payload,
    }
}

const PICTURE_HEAD: usize = 5;
const SOUND_HEAD: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back() {
        let stamp = Stamp {
            film: 7,
            number: 50,
        };
        let [picture, sound] = picture(stamp, 40);
        assert_eq!(Stamp::of(&picture), Some(stamp));
        assert_eq!(Stamp::of(&sound), Some(stamp));
        assert!(picture.is_keyframe());
        assert!(headers().iter().all(|header| Stamp::of(header).is_none()));
    }
}
