//! A segment: the messages of one pulse as FLV tags, immutable, shared by all who read it.
//!
//! Its messages have sequences that follow each other, one epoch and one shift, so that one mark before it tells
//! everything about each of them.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use media_wire::flv::{PREVIOUS_TAG_SIZE_LEN, TAG_HEADER_LEN, previous_tag_size, tag_header};
use media_wire::relay::Mark;
use media_wire::{MediaKind, Message};

use crate::prelude::Prelude;
use crate::rtmp_heads::RtmpHeads;

/// A segment is sealed before its pulse when it has this many bytes, so that a burst does not become one large
/// write and a viewer that stalls does not keep much alive.
const MAX_BYTES: usize = 256 << 10;

/// And when it has this many messages: their list stays with the stream.
const MAX_MESSAGES: usize = 1024;

/// Sealed messages.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Epoch, sequence and shift of the first message.
    pub(crate) mark: Mark,
    pub(crate) messages: u64,
    /// The log's time at its first message and at its last one.
    pub(crate) begin: u32,
    pub(crate) close: u32,
    /// Its first message is a keyframe.
    pub(crate) keyframe: bool,
    /// What a viewer that starts here needs before.
    pub(crate) prelude: Arc<Prelude>,
    /// The version of what a viewer knows after the segment.
    pub(crate) prelude_after: u64,
    flv: Box<[u8]>,
    rtmp: OnceLock<RtmpHeads>,
}

impl Segment {
    /// The FLV tags.
    pub(crate) fn flv(&self) -> &[u8] {
        &self.flv
    }

    /// The same messages' RTMP heads, made when the first RTMP viewer comes.
    pub(crate) fn rtmp(&self) -> &RtmpHeads {
        self.rtmp.get_or_init(|| RtmpHeads::of(tags(&self.flv)))
    }

    /// The mark behind the last message.
    pub(crate) fn end(&self) -> Mark {
        Mark {
            sequence: self.mark.sequence.saturating_add(self.messages),
            ..self.mark
        }
    }

    /// Where the tag of a sequence begins.
    pub(crate) fn offset_of(&self, sequence: u64) -> usize {
        let before = sequence.saturating_sub(self.mark.sequence);
        usize::try_from(before)
            .ok()
            .and_then(|before| tags(&self.flv).nth(before))
            .map_or(self.flv.len(), |tag| tag.start)
    }
}

/// A tag in a segment's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) kind: MediaKind,
    pub(crate) timestamp: u32,
    /// Where its head begins.
    pub(crate) start: usize,
    pub(crate) payload: Range<usize>,
}

/// Walks tags that [`OpenSegment::seal`] wrote.
fn tags(flv: &[u8]) -> impl Iterator<Item = Tag> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let head: &[u8; TAG_HEADER_LEN] = flv.get(start..)?.first_chunk()?;
        let [tag_type, l2, l1, l0, t2, t1, t0, t3, ..] = *head;
        let len = usize::try_from(u32::from_be_bytes([0, l2, l1, l0])).ok()?;
        let payload = start + TAG_HEADER_LEN..start + TAG_HEADER_LEN + len;
        let kind = match tag_type {
            8 => MediaKind::Audio,
            9 => MediaKind::Video,
            _ => MediaKind::Data,
        };
        let tag = Tag {
            kind,
            timestamp: u32::from_be_bytes([t3, t2, t1, t0]),
            start,
            payload,
        };
        start = tag.payload.end + PREVIOUS_TAG_SIZE_LEN;
        Some(tag)
    })
}

/// Appends a message as an FLV tag. Its payload is at most [`media_wire::flv::MAX_PAYLOAD`] long.
pub(crate) fn write_tag(out: &mut Vec<u8>, kind: MediaKind, timestamp: u32, payload: &[u8]) {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&tag_header(kind, timestamp, len));
    out.extend_from_slice(payload);
    out.extend_from_slice(&previous_tag_size(len));
}

/// The segment that is being filled: messages whose timestamps are the log's.
#[derive(Debug, Default)]
pub(crate) struct OpenSegment {
    messages: Vec<Message>,
    bytes: usize,
    /// The log's time at the last message.
    time: u32,
    opening: Option<Opening>,
}

/// What is known when a segment is opened.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) mark: Mark,
    /// The log's time at the first message.
    pub(crate) time: u32,
    pub(crate) keyframe: bool,
    pub(crate) prelude: Arc<Prelude>,
}

impl OpenSegment {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES || self.messages.len() >= MAX_MESSAGES
    }

    /// Whether a viewer could start with it.
    pub(crate) fn is_keyframe(&self) -> bool {
        self.opening
            .as_ref()
            .is_some_and(|opening| opening.keyframe)
    }

    /// Whether a message with this mark goes on where the last one ended.
    pub(crate) fn continues(&self, next: Mark) -> bool {
        self.opening.as_ref().is_none_or(|opening| {
            next == Mark {
                sequence: opening
                    .mark
                    .sequence
                    .saturating_add(self.messages.len() as u64),
                ..opening.mark
            }
        })
    }

    /// Takes a message and the log's time; the first one brings the opening.
    pub(crate) fn push(&mut self, message: Message, time: u32, opening: impl FnOnce() -> Opening) {
        self.opening.get_or_insert_with(opening);
        self.time = time;
        self.bytes += TAG_HEADER_LEN + message.payload.len() + PREVIOUS_TAG_SIZE_LEN;
        self.messages.push(message);
    }

    /// The one and only mux. `None` when there is nothing.
    pub(crate) fn seal(&mut self, prelude_after: u64) -> Option<Segment> {
        let opening = self.opening.take()?;
        let mut flv = Vec::with_capacity(std::mem::take(&mut self.bytes));
        for message in &self.messages {
            write_tag(&mut flv, message.kind, message.timestamp, &message.payload);
        }
        let segment = Segment {
            mark: opening.mark,
            messages: self.messages.len() as u64,
            begin: opening.time,
            close: self.time,
            keyframe: opening.keyframe,
            prelude: opening.prelude,
            prelude_after,
            flv: flv.into_boxed_slice(),
            rtmp: OnceLock::new(),
        };
        self.messages.clear();
        Some(segment)
    }
}
