//! The accepting side: against our own client, against each kind of client's words, and against nonsense.

mod connect;
mod control;
mod hostile;
mod pair;
mod play;
mod publish;
mod script;

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
