//! A segment's messages for RTMP: a gather list of heads and of the payloads that lie in the FLV bytes already.
//!
//! Every message begins with a type-0 head, so the list is the same for all viewers. Gathering costs 1 to 12 % over one
//! slice (2026-11-22); a second log of muxed chunks would cost all of its memory.

use media_wire::rtmp::{CHUNK_SIZE, continuation_header, message_header};

use crate::segment::Tag;

/// The list.
#[derive(Debug)]
pub(crate) struct RtmpHeads {
    heads: Box<[u8]>,
    pieces: Box<[Piece]>,
    len: usize,
}

/// A chunk: a head, then a part of the FLV bytes. Segments and messages are far below 4 GiB.
#[derive(Clone, Copy, Debug)]
struct Piece {
    head_start: u32,
    payload_start: u32,
    payload_len: u32,
    head_len: u8,
}

impl RtmpHeads {
    pub(crate) fn of(tags: impl Iterator<Item = Tag>) -> Self {
        let mut heads = Vec::new();
        let mut pieces = Vec::new();
        let mut len = 0;
        for tag in tags {
            let total = u32::try_from(tag.payload.len()).unwrap_or(u32::MAX);
            let mut head = message_header(tag.kind, tag.timestamp, total);
            let mut start = tag.payload.start;
            loop {
                let end = tag.payload.end.min(start + CHUNK_SIZE);
                len += head.len() + (end - start);
                pieces.push(Piece {
                    head_start: narrow(heads.len()),
                    payload_start: narrow(start),
                    payload_len: narrow(end - start),
                    head_len: u8::try_from(head.len()).unwrap_or(u8::MAX),
                });
                heads.extend_from_slice(&head);
                start = end;
                if start == tag.payload.end {
                    break;
                }
                head = continuation_header(tag.kind, tag.timestamp);
            }
        }
        Self {
            heads: heads.into(),
            pieces: pieces.into(),
            len,
        }
    }

    /// Bytes of all heads and payloads together.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Head and payload of a piece.
    pub(crate) fn piece<'a>(&'a self, flv: &'a [u8], number: usize) -> Option<[&'a [u8]; 2]> {
        let piece = self.pieces.get(number)?;
        let head = piece.head_start as usize;
        let payload = piece.payload_start as usize;
        Some([
            self.heads.get(head..head + usize::from(piece.head_len))?,
            flv.get(payload..payload + piece.payload_len as usize)?,
        ])
    }
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Appends a message in chunks.
pub(crate) fn write_message(
    out: &mut Vec<u8>,
    kind: media_wire::MediaKind,
    timestamp: u32,
    payload: &[u8],
) {
    out.extend_from_slice(&message_header(kind, timestamp, narrow(payload.len())));
    for (number, piece) in payload.chunks(CHUNK_SIZE).enumerate() {
        if number > 0 {
            out.extend_from_slice(&continuation_header(kind, timestamp));
        }
        out.extend_from_slice(piece);
    }
}
