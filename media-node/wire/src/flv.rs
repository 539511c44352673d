//! FLV (Annex E): writing file headers and tags, walking tags in memory, and a reader of a byte stream.

mod reader;

use std::ops::Range;

use crate::MediaKind;

pub use reader::{FlvError, FlvItem, TagReader};

/// Bytes of a tag's header.
pub const TAG_HEADER_LEN: usize = 11;

/// Bytes of `PreviousTagSize`, which follows each tag's payload.
pub const PREVIOUS_TAG_SIZE_LEN: usize = 4;

/// Bytes of the file header and the `PreviousTagSize0` after it.
pub const FILE_HEADER_LEN: usize = 13;

/// The largest payload: a tag header has 24 bits for its length.
pub const MAX_PAYLOAD: usize = 0xFF_FFFF;

/// The tracks that a file header announces. Players wait for a track that is announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tracks {
    /// The stream has audio.
    pub audio: bool,
    /// The stream has video.
    pub video: bool,
}

/// Returns the file header (E.2) and `PreviousTagSize0`.
pub fn file_header(tracks: Tracks) -> [u8; FILE_HEADER_LEN] {
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

/// Returns a tag's header (E.4.1). `len` is the payload's length, at most [`MAX_PAYLOAD`].
pub fn tag_header(kind: MediaKind, timestamp: u32, len: u32) -> [u8; TAG_HEADER_LEN] {
    debug_assert!(len as usize <= MAX_PAYLOAD, "no RTMP message is longer");
    let [_, l2, l1, l0] = len.to_be_bytes();
    let [t3, t2, t1, t0] = timestamp.to_be_bytes();
    // Type, 24 bits of length, the low 24 bits of the timestamp and then its high 8, stream 0.
    [tag_type(kind), l2, l1, l0, t2, t1, t0, t3, 0, 0, 0]
}

/// Returns the `PreviousTagSize` after a payload of `len` bytes: the size of header and payload.
pub fn previous_tag_size(len: u32) -> [u8; PREVIOUS_TAG_SIZE_LEN] {
    len.saturating_add(11).to_be_bytes()
}

/// Appends a whole tag. The payload is at most [`MAX_PAYLOAD`] bytes long.
pub fn write_tag(out: &mut Vec<u8>, kind: MediaKind, timestamp: u32, payload: &[u8]) {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&tag_header(kind, timestamp, len));
    out.extend_from_slice(payload);
    out.extend_from_slice(&previous_tag_size(len));
}

/// A tag in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The content.
    pub kind: MediaKind,
    /// Decoding time in milliseconds.
    pub timestamp: u32,
    /// Offset of its header.
    pub start: usize,
    /// Offsets of its payload.
    pub payload: Range<usize>,
}

/// Returns the tags in a buffer that [`write_tag`] has filled.
pub fn tags(buffer: &[u8]) -> impl Iterator<Item = Tag> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let header = TagHeader::parse(*buffer.get(start..)?.first_chunk()?);
        let payload = start + TAG_HEADER_LEN..start + TAG_HEADER_LEN + header.len;
        let tag = Tag {
            kind: kind(header.tag_type).unwrap_or(MediaKind::Data),
            timestamp: header.timestamp,
            start,
            payload,
        };
        start = tag.payload.end + PREVIOUS_TAG_SIZE_LEN;
        Some(tag)
    })
}

/// The fields of a tag's header. Aggregate messages of RTMP have the same header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TagHeader {
    pub(crate) tag_type: u8,
    pub(crate) timestamp: u32,
    /// Bytes of the payload.
    pub(crate) len: usize,
}

impl TagHeader {
    pub(crate) fn parse(bytes: [u8; TAG_HEADER_LEN]) -> Self {
        let [tag_type, l2, l1, l0, t2, t1, t0, t3, ..] = bytes;
        Self {
            tag_type,
            timestamp: u32::from_be_bytes([t3, t2, t1, t0]),
            len: u32::from_be_bytes([0, l2, l1, l0]) as usize,
        }
    }
}

const FLAG_AUDIO: u8 = 0x04;
const FLAG_VIDEO: u8 = 0x01;
const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
const SCRIPT: u8 = 18;

fn tag_type(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Audio => AUDIO,
        MediaKind::Video => VIDEO,
        MediaKind::Data => SCRIPT,
    }
}

fn kind(tag_type: u8) -> Option<MediaKind> {
    match tag_type {
        AUDIO => Some(MediaKind::Audio),
        VIDEO => Some(MediaKind::Video),
        SCRIPT => Some(MediaKind::Data),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
