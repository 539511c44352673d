//! FLV (Annex E): the heads and tails around a payload, and a reader that takes bytes as they come.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use crate::relay::Mark;
use crate::{MediaKind, Message};

/// Bytes before a tag's payload.
pub const TAG_HEAD: usize = 11;

/// Bytes behind a tag's payload: `PreviousTagSize`.
pub const TAG_TAIL: usize = 4;

/// Bytes of the file header with the first `PreviousTagSize`.
pub const FILE_HEADER: usize = 13;

/// The largest payload that a tag's 24 bits can announce.
pub const MAX_PAYLOAD: usize = 0xFF_FFFF;

/// What the file header announces. Players wait for a track that is announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tracks {
    /// There will be audio.
    pub audio: bool,
    /// There will be video.
    pub video: bool,
}

/// The file header (E.2) and `PreviousTagSize0`.
pub fn file_header(tracks: Tracks) -> [u8; FILE_HEADER] {
    let audio = if tracks.audio { FLAG_AUDIO } else { 0 };
    let video = if tracks.video { FLAG_VIDEO } else { 0 };
    [
        b'F',
        b'L',
        b'V',
        1,
        audio | video, // signature, version, flags
        0,
        0,
        0,
        9, // size of this header
        0,
        0,
        0,
        0, // PreviousTagSize0
    ]
}

/// The head of a tag (E.4.1). `len` is the payload's and at most [`MAX_PAYLOAD`].
pub fn tag_head(kind: MediaKind, timestamp: u32, len: u32) -> [u8; TAG_HEAD] {
    debug_assert!(len as usize <= MAX_PAYLOAD, "no RTMP message is longer");
    let [_, l2, l1, l0] = len.to_be_bytes();
    let [t3, t2, t1, t0] = timestamp.to_be_bytes();
    // Type, 24 bits of length, the low 24 bits of time and then its high 8, stream 0.
    [tag_type(kind), l2, l1, l0, t2, t1, t0, t3, 0, 0, 0]
}

/// The tail of a tag: the size of head and payload.
pub fn tag_tail(len: u32) -> [u8; TAG_TAIL] {
    len.saturating_add(11).to_be_bytes()
}

const FLAG_AUDIO: u8 = 0x04;
const FLAG_VIDEO: u8 = 0x01;
const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
const SCRIPT: u8 = 18;
/// The bit of an encrypted tag (E.4.1, Filter).
const ENCRYPTED: u8 = 0x20;

fn tag_type(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Audio => AUDIO,
        MediaKind::Video => VIDEO,
        MediaKind::Data => SCRIPT,
    }
}

/// Reads FLV from bytes as they come.
#[derive(Debug)]
pub struct TagReader {
    max_payload: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    /// A longer file header than ours, or a tag of a type that nobody knows.
    Skipping(usize),
    Head,
    Body(Head),
}

#[derive(Clone, Copy, Debug)]
struct Head {
    kind: MediaKind,
    timestamp: u32,
    len: usize,
}

/// What stands in an FLV stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The file header.
    Header(Tracks),
    /// A tag.
    Tag(Message),
    /// A node's mark.
    Mark(Mark),
}

/// Why bytes are no FLV.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FlvError {
    /// Something else than a file header of version 1.
    #[error("the stream starts with {0:02x?} and not with an FLV header")]
    NotFlv([u8; 4]),
    /// A file header whose size makes no sense.
    #[error("an FLV header of {0} bytes")]
    HeaderSize(u32),
    /// A tag above the limit.
    #[error("a tag of {len} bytes is above the limit of {limit}")]
    TooLong {
        /// The announced size.
        len: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// An encrypted tag.
    #[error("an encrypted tag")]
    Encrypted,
    /// A mark that cannot be read.
    #[error("a mark that cannot be read")]
    BrokenMark,
}

impl TagReader {
    /// A reader of a stream from its file header on, that refuses tags with a larger payload.
    pub fn new(max_tag_bytes: usize) -> Self {
        Self {
            max_payload: max_tag_bytes.min(MAX_PAYLOAD),
            state: State::Start,
        }
    }

    /// Takes the next item off the front of `input`; `None` when more bytes are needed.
    ///
    /// # Guarantees
    /// A payload is split off `input` without being copied. `input` never has to grow beyond one tag.
    ///
    /// # Errors
    /// When the bytes are no FLV. The reader is of no use afterwards.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Item>, FlvError> {
        loop {
            match self.state {
                State::Start => {
                    let Some(head) = take::<9>(input) else {
                        return Ok(None);
                    };
                    let (tracks, rest) = file_head(head)?;
                    self.state = State::Skipping(rest);
                    return Ok(Some(Item::Header(tracks)));
                }
                State::Skipping(left) => {
                    let skipped = left.min(input.len());
                    input.advance(skipped);
                    if skipped < left {
                        self.state = State::Skipping(left - skipped);
                        return Ok(None);
                    }
                    self.state = State::Head;
                }
                State::Head => {
                    let Some(head) = take::<TAG_HEAD>(input) else {
                        return Ok(None);
                    };
                    self.state = self.behind_tag_head(head)?;
                }
                State::Body(head) => {
                    let Some(item) = body(head, input)? else {
                        return Ok(None);
                    };
                    self.state = State::Head;
                    return Ok(Some(item));
                }
            }
        }
    }

    fn behind_tag_head(&self, head: [u8; TAG_HEAD]) -> Result<State, FlvError> {
        let [tag_type, l2, l1, l0, t2, t1, t0, t3, ..] = head;
        if tag_type & ENCRYPTED != 0 {
            return Err(FlvError::Encrypted);
        }
        let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
        let kind = match tag_type {
            AUDIO => MediaKind::Audio,
            VIDEO => MediaKind::Video,
            SCRIPT => MediaKind::Data,
            _ => return Ok(State::Skipping(len + TAG_TAIL)),
        };
        if len > self.max_payload {
            let limit = self.max_payload;
            return Err(FlvError::TooLong { len, limit });
        }
        Ok(State::Body(Head {
            kind,
            timestamp: u32::from_be_bytes([t3, t2, t1, t0]),
            len,
        }))
    }
}

/// Most bytes of a file header: far more than any writer's, so that a wrong size is told from a long header.
const MAX_FILE_HEADER: u32 = 1024;

/// Reads the nine bytes of a file header; the number is of the bytes to skip before the first tag.
fn file_head(head: [u8; 9]) -> Result<(Tracks, usize), FlvError> {
    let [f, l, v, version, flags, s3, s2, s1, s0] = head;
    if [f, l, v, version] != *b"FLV\x01" {
        return Err(FlvError::NotFlv([f, l, v, version]));
    }
    let size = u32::from_be_bytes([s3, s2, s1, s0]);
    if !(9..=MAX_FILE_HEADER).contains(&size) {
        return Err(FlvError::HeaderSize(size));
    }
    let tracks = Tracks {
        audio: flags & FLAG_AUDIO != 0,
        video: flags & FLAG_VIDEO != 0,
    };
    Ok((tracks, size as usize - 9 + TAG_TAIL))
}

/// Takes payload and tail. The tail's number is not checked: writers are known to get it wrong, and nobody needs it.
fn body(head: Head, input: &mut BytesMut) -> Result<Option<Item>, FlvError> {
    if input.len() < head.len + TAG_TAIL {
        return Ok(None);
    }
    let payload: Bytes = input.split_to(head.len).freeze();
    input.advance(TAG_TAIL);
    if head.kind == MediaKind::Data && Mark::is_named(&payload) {
        let mark = Mark::decode(&payload).ok_or(FlvError::BrokenMark)?;
        return Ok(Some(Item::Mark(mark)));
    }
    Ok(Some(Item::Tag(Message {
        kind: head.kind,
        timestamp: head.timestamp,
        payload,
    })))
}

fn take<const N: usize>(input: &mut BytesMut) -> Option<[u8; N]> {
    let taken = *input.first_chunk::<N>()?;
    input.advance(N);
    Some(taken)
}

#[cfg(test)]
mod tests;
