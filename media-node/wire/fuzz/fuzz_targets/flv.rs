//! FLV: the same items or the same error however the bytes are split.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use media_wire::flv::{FlvError, FlvItem, TagReader};

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    // Half of the inputs start after a file header, so that the fuzzer reaches tags early.
    let header: &[u8] = if step % 2 == 0 {
        b"FLV\x01\x05\0\0\0\x09\0\0\0\0"
    } else {
        b""
    };
    let bytes = [header, bytes].concat();
    assert_eq!(
        read(&bytes, bytes.len().max(1)),
        read(&bytes, usize::from(step).max(1))
    );
});

fn read(bytes: &[u8], step: usize) -> (Vec<FlvItem>, Option<FlvError>) {
    let mut reader = TagReader::new(10_000);
    let mut input = BytesMut::new();
    let mut items = Vec::new();
    for piece in bytes.chunks(step) {
        input.extend_from_slice(piece);
        loop {
            match reader.receive(&mut input) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error)),
            }
        }
    }
    (items, None)
}
