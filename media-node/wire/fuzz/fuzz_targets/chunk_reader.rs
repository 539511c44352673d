//! Chunks: the same messages or the same error however the bytes are split, and memory in proportion to the bytes.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use media_wire::rtmp::chunk_reader::{ChunkError, ChunkReader, RawMessage};

/// Small, so that short inputs reach it too.
const LIMIT: usize = 1_000;

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    assert_eq!(
        read(bytes, bytes.len().max(1)),
        read(bytes, usize::from(step).max(1))
    );
});

fn read(bytes: &[u8], step: usize) -> (Vec<RawMessage>, Option<ChunkError>) {
    let mut reader = ChunkReader::new(LIMIT);
    let mut input = BytesMut::new();
    let mut messages = Vec::new();
    for piece in bytes.chunks(step) {
        input.extend_from_slice(piece);
        loop {
            match reader.receive(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(reader.reserved() <= LIMIT.saturating_mul(2));
        assert!(reader.reserved() <= bytes.len() * 4);
        assert!(input.len() < 32, "the unread bytes are less than a header");
    }
    let payload: usize = messages.iter().map(|message| message.payload.len()).sum();
    assert!(payload <= bytes.len());
    (messages, None)
}
