//! Chunks byte by byte, from real senders and from attackers.

mod limits;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::rtmp::chunk_writer::write_message;

const AUDIO: u8 = message::AUDIO;
const VIDEO: u8 = message::VIDEO;

fn reader() -> ChunkReader {
    ChunkReader::new(1_000_000)
}

fn read_all(reader: &mut ChunkReader, bytes: &[u8]) -> Result<Vec<RawMessage>, ChunkError> {
    let mut input = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Some(message) = reader.receive(&mut input)? {
        messages.push(message);
    }
    Ok(messages)
}

fn times(bytes: &[u8]) -> Vec<u32> {
    let messages = read_all(&mut reader(), bytes).unwrap();
    messages.iter().map(|message| message.timestamp).collect()
}

fn error(bytes: &[u8]) -> ChunkError {
    read_all(&mut reader(), bytes).unwrap_err()
}

fn message(message_type: u8, timestamp: u32, payload: &[u8]) -> RawMessage {
    let payload = Bytes::copy_from_slice(payload);
    RawMessage {
        message_type,
        timestamp,
        payload,
    }
}

/// Returns a type-0 header: chunk stream, timestamp, length, type, message stream.
fn header(chunk_stream: u8, time: u32, len: u32, message_type: u8) -> Vec<u8> {
    let mut bytes = vec![chunk_stream];
    bytes.extend(&time.min(0xFF_FFFF).to_be_bytes()[1..]);
    bytes.extend(&len.to_be_bytes()[1..]);
    bytes.extend([message_type, 1, 0, 0, 0]);
    if time >= 0xFF_FFFF {
        bytes.extend(time.to_be_bytes());
    }
    bytes
}

#[test]
fn message_in_one_chunk_is_read() {
    let bytes = [
        0x04, // type 0, chunk stream 4
        0x00, 0x00, 0x2A, // timestamp
        0x00, 0x00, 0x02, // length
        0x08, // audio
        0x01, 0x00, 0x00, 0x00, // message stream 1
        0xAF, 0x01, // payload
    ];
    assert_eq!(
        read_all(&mut reader(), &bytes),
        Ok(vec![message(AUDIO, 42, &[0xAF, 1])])
    );
}

#[test]
fn chunk_stream_ids_have_one_two_or_three_bytes() {
    let tail = &header(0, 7, 0, AUDIO)[1..];
    let mut bytes = Vec::new();
    bytes.extend([&[0x02], tail].concat()); // 2
    bytes.extend([&[0x00, 0x00], tail].concat()); // 64
    bytes.extend([&[0x00, 0xFF], tail].concat()); // 319
    bytes.extend([&[0x01, 0x00, 0x01], tail].concat()); // 64 + 256
    bytes.extend([&[0x01, 0xFF, 0xFF], tail].concat()); // 65,599
    let mut reader = reader();
    assert_eq!(read_all(&mut reader, &bytes).unwrap().len(), 5);
    let ids: Vec<u32> = reader.streams.iter().map(|stream| stream.id).collect();
    assert_eq!(ids, [2, 64, 319, 320, 65_599]);
}

#[test]
fn short_headers_are_relative_to_previous_message() {
    let mut bytes = header(4, 1000, 1, AUDIO);
    bytes.push(b'a');
    bytes.extend([0x44, 0, 0, 23, 0, 0, 2, AUDIO, b'b', b'b']); // type 1: delta 23, new length
    bytes.extend([0x84, 0, 0, 20, b'c', b'c']); // type 2: delta 20
    bytes.extend([0xC4, b'd', b'd']); // type 3: delta 20 again
    assert_eq!(times(&bytes), [1000, 1023, 1043, 1063]);
}

#[test]
fn type_3_header_after_type_0_header_repeats_its_timestamp_as_delta() {
    // 5.3.1.2.4. FFmpeg, librtmp and SRS do the same.
    let mut bytes = header(4, 20, 1, AUDIO);
    bytes.extend([b'a', 0xC4, b'b']);
    assert_eq!(times(&bytes), [20, 40]);
}

#[test]
fn interleaved_audio_does_not_corrupt_video() {
    let mut bytes = header(6, 40, 300, VIDEO);
    bytes.extend([b'v'; 128]);
    bytes.extend(header(7, 41, 130, AUDIO));
    bytes.extend([b'a'; 128]);
    bytes.push(0xC6);
    bytes.extend([b'v'; 128]);
    bytes.push(0xC7);
    bytes.extend([b'a'; 2]);
    bytes.push(0xC6);
    bytes.extend([b'v'; 44]);
    let expected = vec![
        message(AUDIO, 41, &[b'a'; 130]),
        message(VIDEO, 40, &[b'v'; 300]),
    ];
    assert_eq!(read_all(&mut reader(), &bytes), Ok(expected));
}

/// Returns a video message of 130 bytes in two chunks, with `between` after the second basic header.
fn extended(time: u32, between: &[u8]) -> Vec<u8> {
    let mut bytes = header(6, time, 130, VIDEO);
    bytes.extend([b'v'; 128]);
    bytes.push(0xC6);
    bytes.extend(between);
    bytes.extend([b'v'; 2]);
    bytes
}

#[test]
fn extended_timestamp_is_repeated_or_not() {
    let expected = vec![message(VIDEO, 0x0123_4567, &[b'v'; 130])];
    let repeated = extended(0x0123_4567, &[0x01, 0x23, 0x45, 0x67]);
    assert_eq!(read_all(&mut reader(), &repeated), Ok(expected.clone()));
    let not_repeated = extended(0x0123_4567, &[]);
    assert_eq!(
        read_all(&mut reader(), &not_repeated),
        Ok(expected),
        "the reader waits for no further byte"
    );
}

#[test]
fn extended_timestamp_of_short_header_is_delta() {
    let mut bytes = header(4, 5, 1, AUDIO);
    bytes.push(b'a');
    bytes.extend([0x84, 0xFF, 0xFF, 0xFF, 0x01, 0x00, 0x00, 0x00, b'b']); // type 2
    bytes.extend([0xC4, 0x01, 0x00, 0x00, 0x00, b'c']); // type 3 with the delta again
    bytes.extend([0xC4, b'd']); // type 3 without it
    assert_eq!(times(&bytes), [5, 0x0100_0005, 0x0200_0005, 0x0300_0005]);
}

#[test]
fn type_3_header_repeats_timestamp_or_delta() {
    let mut bytes = header(6, 0x00FF_FFF0, 1, VIDEO);
    bytes.push(b'v');
    bytes.extend([0x46, 0xFF, 0xFF, 0xFF, 0, 0, 130, VIDEO, 0x01, 0, 0, 0]);
    bytes.extend([b'v'; 128]);
    bytes.extend([0xC6, 0x01, 0xFF, 0xFF, 0xF0]);
    bytes.extend([b'v'; 2]);
    assert_eq!(
        read_all(&mut reader(), &bytes).unwrap()[1],
        message(VIDEO, 0x01FF_FFF0, &[b'v'; 130])
    );
}

#[test]
fn time_wraps_at_32_bits() {
    let mut bytes = header(4, u32::MAX - 10, 1, AUDIO);
    bytes.push(b'a');
    bytes.extend([0x84, 0, 0, 20, b'b']);
    assert_eq!(times(&bytes), [u32::MAX - 10, 9]);
}

#[test]
fn chunk_size_changes_between_chunks() {
    let mut bytes = header(6, 0, 300, VIDEO);
    bytes.extend([b'v'; 128]);
    bytes.extend(header(2, 0, 4, 1));
    bytes.extend([0x80, 0, 0, 200]); // the first bit is ignored
    bytes.push(0xC6);
    bytes.extend([b'v'; 172]);
    assert_eq!(
        read_all(&mut reader(), &bytes),
        Ok(vec![message(VIDEO, 0, &[b'v'; 300])])
    );
}

#[test]
fn small_chunk_size_is_refused_and_huge_one_clamped() {
    let set = |size: u32| [header(2, 0, 4, 1), size.to_be_bytes().to_vec()].concat();
    assert_eq!(error(&set(0)), ChunkError::ChunkSize(0));
    assert_eq!(error(&set(0x8000_0000)), ChunkError::ChunkSize(0));
    assert_eq!(error(&set(127)), ChunkError::ChunkSize(127));
    assert_eq!(
        error(&[header(2, 0, 3, 1), vec![0; 3]].concat()),
        ChunkError::Control(1)
    );
    let mut reader = reader();
    read_all(&mut reader, &set(0x7FFF_FFFF)).unwrap();
    assert_eq!(reader.chunk_size, 0xFF_FFFF);
    read_all(&mut reader, &set(128)).unwrap();
    assert_eq!(reader.chunk_size, 128);
}

#[test]
fn aborted_message_is_dropped() {
    let mut bytes = header(6, 0, 300, VIDEO);
    bytes.extend([b'v'; 128]);
    bytes.extend(header(2, 0, 4, 2));
    bytes.extend([0, 0, 0, 6]);
    bytes.extend(header(6, 40, 1, VIDEO));
    bytes.push(b'w');
    let mut reader = reader();
    assert_eq!(
        read_all(&mut reader, &bytes),
        Ok(vec![message(VIDEO, 40, b"w")])
    );
    assert_eq!(reader.partial, 0);
}

#[test]
fn full_header_within_message_continues_or_restarts_it() {
    let mut bytes = header(6, 9, 130, VIDEO);
    bytes.extend([b'v'; 128]);
    bytes.extend(header(6, 9, 130, VIDEO)); // the same message: some senders never use type 3
    bytes.extend([b'v'; 2]);
    bytes.extend(header(6, 10, 130, VIDEO));
    bytes.extend([b'x'; 128]);
    bytes.extend(header(6, 11, 2, VIDEO)); // another one
    bytes.extend([b'w'; 2]);
    let mut reader = reader();
    let expected = vec![message(VIDEO, 9, &[b'v'; 130]), message(VIDEO, 11, b"ww")];
    assert_eq!(read_all(&mut reader, &bytes), Ok(expected));
    assert_eq!(reader.partial, 0);
}

#[test]
fn chunk_stream_without_full_header_is_refused() {
    assert_eq!(error(&[0xC6]), ChunkError::NoHeader(6, 3));
    assert_eq!(error(&[0x86, 0, 0, 1]), ChunkError::NoHeader(6, 2));
    let old_librtmp = [0x42, 0, 0, 0, 0, 0, 1, 4, b'p'];
    assert_eq!(
        read_all(&mut reader(), &old_librtmp),
        Ok(vec![message(4, 0, b"p")])
    );
}

#[test]
fn message_that_is_complete_in_input_is_not_copied() {
    let mut input = BytesMut::from(&header(6, 0, 100, VIDEO)[..]);
    input.extend_from_slice(&[7; 100]);
    let place = input[12..].as_ptr();
    let message = reader().receive(&mut input).unwrap().unwrap();
    assert_eq!(message.payload.as_ptr(), place);
}

#[test]
fn bytes_split_anywhere_read_the_same() {
    let mut bytes = extended(0x0123_4567, &[0x01, 0x23, 0x45, 0x67]);
    bytes.extend(extended(0x0123_4567, &[]));
    bytes.extend(header(4, 1000, 0, AUDIO));
    bytes.extend([
        0x44, 0, 0, 23, 0, 0, 2, AUDIO, b'b', b'b', 0x84, 0, 0, 20, b'c', b'c', 0xC4, b'd', b'd',
    ]);
    let whole = read_all(&mut reader(), &bytes).unwrap();
    assert_eq!(whole.len(), 6);
    for split in 0..bytes.len() {
        let mut reader = reader();
        let mut input = BytesMut::from(&bytes[..split]);
        let mut messages = Vec::new();
        while let Some(message) = reader.receive(&mut input).unwrap() {
            messages.push(message);
        }
        input.extend_from_slice(&bytes[split..]);
        while let Some(message) = reader.receive(&mut input).unwrap() {
            messages.push(message);
        }
        assert_eq!(messages, whole, "split at {split}");
    }
}

proptest! {
    #[test]
    fn written_messages_are_read(
        messages in proptest::collection::vec(
            (3u8..8, any::<u32>(), proptest::collection::vec(any::<u8>(), 0..700)),
            1..6,
        ),
        chunk_size in 128usize..300,
        step in 1usize..1000,
    ) {
        let mut out = BytesMut::new();
        let size = u32::try_from(chunk_size).unwrap();
        write_message(&mut out, (2, message::SET_CHUNK_SIZE, 0), 0, &size.to_be_bytes(), 128);
        for (chunk_stream, timestamp, payload) in &messages {
            write_message(&mut out, (*chunk_stream, VIDEO, 1), *timestamp, payload, chunk_size);
        }
        let mut reader = reader();
        let mut input = BytesMut::new();
        let mut read = Vec::new();
        for piece in out.chunks(step) {
            input.extend_from_slice(piece);
            while let Some(message) = reader.receive(&mut input).unwrap() {
                read.push(message);
            }
        }
        let sent: Vec<_> = messages.iter().map(|(_, t, p)| message(VIDEO, *t, p)).collect();
        prop_assert_eq!(read, sent);
        prop_assert_eq!(reader.partial, 0);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read_all(&mut reader(), &bytes);
    }
}
