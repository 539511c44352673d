//! Messages that contain a number, so that tests can distinguish them.

use bytes::{BufMut, Bytes, BytesMut};
use media_wire::amf0::{self, Value};
use media_wire::{MediaKind, Message};

fn message(kind: MediaKind, timestamp: u32, header: &[u8], number: u32, size: usize) -> Message {
    let mut payload = BytesMut::from(header);
    payload.put_u32(number);
    payload.resize(size.max(payload.len()), 0x55);
    let payload = payload.freeze();
    Message {
        kind,
        timestamp,
        payload,
    }
}

/// Returns an H.264 sequence header.
pub(crate) fn video_header() -> Message {
    let payload = Bytes::from_static(b"\x17\0\0\0\0\x01\x64\0\x1e\xff\xe1\0\0\x01\0\0");
    Message {
        kind: MediaKind::Video,
        timestamp: 0,
        payload,
    }
}

/// Returns an AAC sequence header.
pub(crate) fn audio_header() -> Message {
    let payload = Bytes::from_static(b"\xaf\0\x12\x10");
    Message {
        kind: MediaKind::Audio,
        timestamp: 0,
        payload,
    }
}

/// Returns `onMetaData` that announces no track.
pub(crate) fn metadata() -> Message {
    metadata_with(&["encoder"])
}

/// Returns `onMetaData` with properties of these names, such as `audiocodecid`.
pub(crate) fn metadata_with(names: &[&str]) -> Message {
    let property = |name: &&str| ((*name).to_owned(), Value::from("test"));
    let properties = names.iter().map(property).collect();
    let payload = amf0::encode_all(&[Value::from("onMetaData"), Value::EcmaArray(properties)]);
    Message {
        kind: MediaKind::Data,
        timestamp: 0,
        payload: payload.into(),
    }
}

/// Returns a keyframe.
pub(crate) fn keyframe(number: u32, timestamp: u32, size: usize) -> Message {
    message(MediaKind::Video, timestamp, b"\x17\x01\0\0\0", number, size)
}

/// Returns an interframe.
pub(crate) fn interframe(number: u32, timestamp: u32, size: usize) -> Message {
    message(MediaKind::Video, timestamp, b"\x27\x01\0\0\0", number, size)
}

/// Returns an audio frame.
pub(crate) fn audio_frame(number: u32, timestamp: u32) -> Message {
    message(MediaKind::Audio, timestamp, b"\xaf\x01", number, 0)
}

/// Returns the number of a video or audio frame; `None` for metadata and sequence headers.
pub(crate) fn number(message: &Message) -> Option<u32> {
    let header = match message.kind {
        MediaKind::Data => return None,
        MediaKind::Video => 5,
        MediaKind::Audio => 2,
    };
    if message.is_sequence_header() {
        return None;
    }
    let number = message.payload.get(header..header + 4)?;
    Some(u32::from_be_bytes(number.try_into().ok()?))
}
