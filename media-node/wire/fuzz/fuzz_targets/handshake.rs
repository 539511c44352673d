//! The handshake of both sides: at most 3073 bytes of output, complete after exactly 3073 bytes of input.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use media_wire::rtmp::handshake::{ClientHandshake, HandshakeError, PACKET_LEN, ServerHandshake};

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (step, digest, bytes) = input;
    let mut out = BytesMut::new();
    let mut server = ServerHandshake::new();
    run(bytes, step, |input| server.receive(input, &mut out));
    assert!(out.is_empty() || out.len() == 1 + 2 * PACKET_LEN);

    let mut out = BytesMut::new();
    let mut client = ClientHandshake::new(digest, &mut out);
    run(bytes, step, |input| client.receive(input, &mut out));
    assert!(out.len() == 1 + PACKET_LEN || out.len() == 1 + 2 * PACKET_LEN);
});

fn run(
    bytes: &[u8],
    step: u8,
    mut receive: impl FnMut(&mut BytesMut) -> Result<bool, HandshakeError>,
) {
    // Each byte is repeated, so that inputs stay short.
    let long: Vec<u8> = bytes.iter().flat_map(|byte| [*byte; 64]).collect();
    let mut input = BytesMut::new();
    let mut taken = 0;
    for piece in long.chunks(usize::from(step) * 8 + 1) {
        input.extend_from_slice(piece);
        let before = input.len();
        let done = receive(&mut input);
        taken += before - input.len();
        match done {
            Ok(true) => return assert_eq!(taken, 1 + 2 * PACKET_LEN),
            Ok(false) => assert!(taken <= 1 + PACKET_LEN),
            Err(_) => return,
        }
    }
}
