//! Messages with a number in them, so that each one can be told from the others.

use bytes::{BufMut, Bytes, BytesMut};
use media_wire::amf0::{self, Value};
use media_wire::{MediaKind, Message};

fn message(kind: MediaKind, timestamp: u32, head: &[u8], number: u32, size: usize) -> Message {
    let mut payload = BytesMut::from(head);
    payload.put_u32(number);
    payload.resize(size.max(payload.len()), 0x55);
    let payload = payload.freeze();
    Message {
        kind,
        timestamp,
        payload,
    }
}

/// The decoder's configuration, as H.264 has it.
pub(crate) fn video_header() -> Message {
    let payload = Bytes::from_static(b"\x17\0\0\0\0\x01\x64\0\x1e\xff\xe1\0\0\x01\0\0");
    Message {
        kind: MediaKind::Video,
        timestamp: 0,
        payload,
    }
}

/// The decoder's configuration, as AAC has it.
pub(crate) fn audio_header() -> Message {
    let payload = Bytes::from_static(b"\xaf\0\x12\x10");
    Message {
        kind: MediaKind::Audio,
        timestamp: 0,
        payload,
    }
}

/// `onMetaData`.
pub(crate) fn metadata() -> Message {
    let properties = vec![("encoder".to_owned(), Value::from("test"))];
    let payload = amf0::encode_all(&[Value::from("onMetaData"), Value::EcmaArray(properties)]);
    Message {
        kind: MediaKind::Data,
        timestamp: 0,
        payload: payload.into(),
    }
}

/// A picture that decodes alone.
pub(crate) fn keyframe(number: u32, timestamp: u32, size: usize) -> Message {
    message(MediaKind::Video, timestamp, b"\x17\x01\0\0\0", number, size)
}

/// A picture that needs those before it.
pub(crate) fn picture(number: u32, timestamp: u32, size: usize) -> Message {
    message(MediaKind::Video, timestamp, b"\x27\x01\0\0\0", number, size)
}

/// A piece of sound.
pub(crate) fn sound(number: u32, timestamp: u32) -> Message {
    message(MediaKind::Audio, timestamp, b"\xaf\x01", number, 0)
}

/// The number of a picture or a piece of sound; `None` for metadata and configurations.
pub(crate) fn number(message: &Message) -> Option<u32> {
    let head = match message.kind {
        MediaKind::Data => return None,
        MediaKind::Video => 5,
        MediaKind::Audio => 2,
    };
    if message.is_sequence_header() {
        return None;
    }
    let number = message.payload.get(head..head + 4)?;
    Some(u32::from_be_bytes(number.try_into().ok()?))
}
