//! The handshake of both sides: never more than its 3073 bytes out, done exactly after 3073 bytes in.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use media_wire::rtmp::handshake::{ClientHandshake, HandshakeError, PACKET, ServerHandshake};

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (step, digest, bytes) = input;
    let mut out = BytesMut::new();
    let mut server = ServerHandshake::new();
    shake(bytes, step, |input| server.receive(input, &mut out));
    assert!(out.is_empty() || out.len() == 1 + 2 * PACKET);

    let mut out = BytesMut::new();
    let mut client = ClientHandshake::new(digest, &mut out);
    shake(bytes, step, |input| client.receive(input, &mut out));
    assert!(out.len() == 1 + PACKET || out.len() == 1 + 2 * PACKET);
});

fn shake(
    bytes: &[u8],
    step: u8,
    mut receive: impl FnMut(&mut BytesMut) -> Result<bool, HandshakeError>,
) {
    // Inputs stay short: each byte stands for many.
    let long: Vec<u8> = bytes.iter().flat_map(|byte| [*byte; 64]).collect();
    let mut input = BytesMut::new();
    let mut taken = 0;
    for piece in long.chunks(usize::from(step) * 8 + 1) {
        input.extend_from_slice(piece);
        let before = input.len();
        let done = receive(&mut input);
        taken += before - input.len();
        match done {
            Ok(true) => return assert_eq!(taken, 1 + 2 * PACKET),
            Ok(false) => assert!(taken <= 1 + PACKET),
            Err(_) => return,
        }
    }
}
