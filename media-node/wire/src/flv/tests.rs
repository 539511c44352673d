//! FLV byte by byte.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::Message;

fn tag(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_tag(
        &mut bytes,
        message.kind,
        message.timestamp,
        &message.payload,
    );
    bytes
}

fn read_all(reader: &mut TagReader, input: &mut BytesMut) -> Result<Vec<FlvItem>, FlvError> {
    let mut items = Vec::new();
    while let Some(item) = reader.receive(input)? {
        items.push(item);
    }
    Ok(items)
}

fn error(bytes: &[u8]) -> FlvError {
    read_all(&mut TagReader::new(1000), &mut BytesMut::from(bytes)).unwrap_err()
}

#[test]
fn file_header_announces_tracks() {
    let header = |audio, video| file_header(Tracks { audio, video });
    assert_eq!(&header(true, true), b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
    assert_eq!(&header(true, false), b"FLV\x01\x04\0\0\0\x09\0\0\0\0");
    assert_eq!(&header(false, true), b"FLV\x01\x01\0\0\0\x09\0\0\0\0");
}

#[test]
fn tag_header_keeps_all_32_bits_of_timestamp() {
    let expected = [
        0x09, // video
        0x01, 0x02, 0x03, // 66,051 bytes
        0xBB, 0xCC, 0xDD, // time, low 24 bits
        0xAA, // time, high 8 bits
        0x00, 0x00, 0x00, // stream
    ];
    assert_eq!(
        tag_header(MediaKind::Video, 0xAABB_CCDD, 0x01_0203),
        expected
    );
    assert_eq!(previous_tag_size(0x01_0203), [0x00, 0x01, 0x02, 0x0E]);
}

#[test]
fn stream_split_at_every_byte_reads_the_same() {
    let audio = Message {
        kind: MediaKind::Audio,
        timestamp: 0xFF00_0001,
        payload: Bytes::from_static(&[0xAF, 1]),
    };
    let video = Message {
        kind: MediaKind::Video,
        timestamp: 40,
        payload: Bytes::new(),
    };
    let data = Message {
        kind: MediaKind::Data,
        timestamp: 0,
        payload: Bytes::from_static(b"\x02\0\x01a"),
    };
    let tracks = Tracks {
        audio: true,
        video: true,
    };
    let mut bytes = file_header(tracks).to_vec();
    bytes.extend([&audio, &video, &data].into_iter().flat_map(tag));
    let expected = [
        FlvItem::Header(tracks),
        FlvItem::Tag(audio),
        FlvItem::Tag(video),
        FlvItem::Tag(data),
    ];

    for split in 0..=bytes.len() {
        let mut reader = TagReader::new(1000);
        let mut input = BytesMut::from(&bytes[..split]);
        let mut items = read_all(&mut reader, &mut input).unwrap();
        input.put_slice(&bytes[split..]);
        items.extend(read_all(&mut reader, &mut input).unwrap());
        assert_eq!(items, expected, "split at {split}");
        assert!(input.is_empty());
    }
}

#[test]
fn longer_file_header_and_unknown_tags_are_skipped() {
    let mut bytes = b"FLV\x01\x05\0\0\0\x0BXY\0\0\0\0".to_vec();
    bytes.extend(b"\x0F\0\0\x02\0\0\0\0\0\0\0zz\0\0\0\x0D"); // type 15
    bytes.extend(b"\x08\0\0\x01\0\0\x05\0\0\0\0A\0\0\0\x0C");
    let items = read_all(&mut TagReader::new(10), &mut BytesMut::from(&bytes[..])).unwrap();
    let payload = Bytes::from_static(b"A");
    assert_eq!(
        items[1..],
        [FlvItem::Tag(Message {
            kind: MediaKind::Audio,
            timestamp: 5,
            payload
        })]
    );
}

#[test]
fn bytes_other_than_flv_are_refused() {
    assert_eq!(error(b"HTTP/1.1 200"), FlvError::NotFlv(*b"HTTP"));
    assert_eq!(
        error(b"FLV\x01\x05\xFF\xFF\xFF\xFF"),
        FlvError::HeaderSize(u32::MAX)
    );
    let header = b"FLV\x01\x05\0\0\0\x09\0\0\0\0";
    let with = |tag: &[u8]| error(&[header, tag].concat());
    assert_eq!(
        with(b"\x09\xFF\xFF\xFF\0\0\0\0\0\0\0"),
        FlvError::TooLong {
            len: 0xFF_FFFF,
            limit: 1000
        }
    );
    assert_eq!(with(b"\x29\0\0\0\0\0\0\0\0\0\0"), FlvError::Encrypted);
}

#[test]
fn tags_in_a_buffer_are_found() {
    let messages = [
        (MediaKind::Audio, 0xFF00_0001, 3),
        (MediaKind::Video, 40, 0),
    ];
    let mut buffer = Vec::new();
    for (kind, timestamp, len) in messages {
        write_tag(&mut buffer, kind, timestamp, &vec![1; len]);
    }
    let found: Vec<_> = tags(&buffer).collect();
    let tag = |kind, timestamp, start, payload| Tag {
        kind,
        timestamp,
        start,
        payload,
    };
    let expected = [
        tag(MediaKind::Audio, 0xFF00_0001, 0, 11..14),
        tag(MediaKind::Video, 40, 18, 29..29),
    ];
    assert_eq!(found, expected);
}

proptest! {
    #[test]
    fn every_message_round_trips(
        timestamp: u32,
        kind in prop_oneof![Just(MediaKind::Audio), Just(MediaKind::Video), Just(MediaKind::Data)],
        payload in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let message = Message { kind, timestamp, payload: payload.into() };
        let mut bytes = file_header(Tracks::default()).to_vec();
        bytes.extend(tag(&message));
        let items = read_all(&mut TagReader::new(2000), &mut BytesMut::from(&bytes[..])).unwrap();
        prop_assert_eq!(&items[1], &FlvItem::Tag(message));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let mut input = BytesMut::from(&b"FLV\x01\x05\0\0\0\x09\0\0\0\0"[..]);
        input.extend_from_slice(&bytes);
        let _ = read_all(&mut TagReader::new(100), &mut input);
    }
}
