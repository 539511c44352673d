//! The server's side: with our own client, with the messages of each kind of client, and with invalid bytes.

mod connect;
mod control;
mod hostile;
mod pair;
mod play;
mod publish;
mod scripted_client;

use super::*;
use crate::amf0;

fn drain(mut output: impl FnMut() -> Option<Bytes>) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = output() {
        all.extend_from_slice(&bytes);
    }
    all
}

fn message(kind: MediaKind, timestamp: u32, payload: impl Into<Bytes>) -> Message {
    Message {
        kind,
        timestamp,
        payload: payload.into(),
    }
}
