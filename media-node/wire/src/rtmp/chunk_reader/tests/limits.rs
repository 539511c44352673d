//! Limits of a chunk byte stream: what exceeds one is refused, and memory follows the bytes that have arrived.

use super::*;

#[test]
fn message_above_limit_is_refused_at_its_header() {
    let refused = ChunkError::TooLong {
        len: 1_000_001,
        limit: 1_000_000,
    };
    assert_eq!(error(&header(6, 0, 1_000_001, VIDEO)), refused);
}

#[test]
fn chunk_streams_are_limited() {
    let mut bytes = Vec::new();
    for id in 2..=65 {
        bytes.extend(header(id.min(63), 0, 0, AUDIO));
        if id > 63 {
            bytes.truncate(bytes.len() - 12);
            bytes.extend([&[0, id - 64], &header(0, 0, 0, AUDIO)[1..]].concat());
        }
    }
    assert_eq!(
        read_all(&mut reader(), &bytes).unwrap().len(),
        MAX_CHUNK_STREAMS
    );
    bytes.extend([&[0, 200], &header(0, 0, 0, AUDIO)[1..]].concat());
    assert_eq!(error(&bytes), ChunkError::TooManyStreams);
}

#[test]
fn incomplete_messages_are_limited_together() {
    let mut reader = ChunkReader::new(1000);
    let mut bytes = header(2, 0, 4, 1);
    bytes.extend([0, 0, 0x03, 0xE7]); // chunks of 999 bytes
    for id in 3..5 {
        bytes.extend(header(id, 0, 1000, VIDEO));
        bytes.extend([0; 999]);
    }
    assert_eq!(
        read_all(&mut reader, &bytes),
        Err(ChunkError::TooMuchPartial(1000))
    );
}

#[test]
fn messages_that_begin_on_many_chunk_streams_reserve_little_memory() {
    let mut reader = reader();
    let mut bytes = header(2, 0, 4, 1);
    bytes.extend([0, 0, 0x40, 0]); // chunks of 16 KiB
    for id in 3..63 {
        bytes.extend(header(id, 0, 1_000_000, VIDEO));
        bytes.extend([0; 0x4000]);
    }
    assert_eq!(read_all(&mut reader, &bytes), Ok(vec![]));
    assert!(reader.reserved() < 2_000_000);
    for id in 3..63 {
        let abort = [header(2, 0, 4, 2), vec![0, 0, 0, id]].concat();
        read_all(&mut reader, &abort).unwrap();
    }
    assert_eq!(reader.reserved(), 0, "aborted messages are freed");
}

#[test]
fn lower_limit_refuses_incomplete_message_above_it() {
    let mut reader = ChunkReader::new(1000);
    let mut bytes = header(4, 0, 1000, VIDEO);
    bytes.extend([0; 128]);
    assert_eq!(read_all(&mut reader, &bytes), Ok(vec![]));
    reader.limit_messages(100);
    assert_eq!(
        read_all(&mut reader, &[]),
        Err(ChunkError::TooMuchPartial(100))
    );
}

#[test]
fn memory_follows_received_bytes_and_not_announced_length() {
    let mut reader = ChunkReader::new(0xFF_FFFF);
    let mut bytes = header(6, 0, 0xFF_FFFF, VIDEO);
    bytes.extend([0; 100]);
    assert_eq!(read_all(&mut reader, &bytes), Ok(vec![]));
    assert!(reader.streams[0].payload.capacity() < 1000);
}
