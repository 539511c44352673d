//! A segment: the messages of one pulse as FLV tags, immutable and shared by all readers.
//!
//! Its messages have consecutive sequences, one epoch and one shift, so one mark describes all of them.

use std::sync::{Arc, OnceLock};

use media_wire::Message;
use media_wire::flv::{
    PREVIOUS_TAG_SIZE_LEN, TAG_HEADER_LEN, Tracks, file_header, tags, write_tag,
};
use media_wire::relay::Mark;

use crate::init_data::InitData;
use crate::media_memory::{MediaMemory, MemoryClaim};
use crate::preamble::{Preamble, PreambleWriter};
use crate::rtmp_headers::{RtmpHeaders, SHARED_FROM};
use crate::subscription::Format;

/// The size beyond which a segment of several messages is sealed before its pulse. The allocator rounds a block of this size up by
/// a tenth, and larger ones by a third: 340 MiB of media took 500.
const MAX_BYTES: usize = 64 << 10;

/// The number of messages at which a segment is sealed before its pulse. It bounds the search for one of them.
const MAX_MESSAGES: usize = 1024;

/// Bytes of memory of a segment without its messages.
const SEGMENT_OVERHEAD: usize = 320;

/// Bytes of memory of a message beside its payload: its headers in the RTMP form, and its entry in the gather list.
const MESSAGE_OVERHEAD: usize = 32;

/// Sealed messages.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Epoch, sequence and shift of the first message.
    pub(crate) mark: Mark,
    pub(crate) messages: u64,
    /// The log's timestamp at the first message.
    pub(crate) first_timestamp: u32,
    /// The log's age at the first message, in milliseconds.
    pub(crate) first_age: i64,
    /// The log's age at the last message, in milliseconds.
    pub(crate) last_age: i64,
    /// How often the log was renewed before.
    pub(crate) renewals: u32,
    /// Whether the first message is a keyframe.
    pub(crate) keyframe: bool,
    /// Whether all messages are init data. Only relays read them; viewers get those that changed before the next segment.
    pub(crate) init_only: bool,
    /// The init data of a viewer that starts here.
    pub(crate) init_data: Arc<InitData>,
    /// The version of the init data after the last message.
    pub(crate) init_version_after: u64,
    flv: Box<[u8]>,
    claim: MemoryClaim,
    /// Boxed like those below: a segment can be a single message, and most have no RTMP viewer.
    rtmp: OnceLock<Box<RtmpHeaders>>,
    flv_start: OnceLock<Box<StartPreamble>>,
    rtmp_start: OnceLock<Box<StartPreamble>>,
}

/// The bytes before a segment for viewers that start there.
#[derive(Debug)]
struct StartPreamble {
    /// The tracks of the file header.
    tracks: Tracks,
    preamble: Option<Preamble>,
}

impl Segment {
    /// Returns the FLV tags.
    pub(crate) fn flv(&self) -> &[u8] {
        &self.flv
    }

    /// Returns the memory that the segment takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.claim.bytes()
    }

    /// Returns the RTMP headers of the same messages. The first RTMP viewer makes them.
    pub(crate) fn rtmp(&self) -> &RtmpHeaders {
        let headers = || Box::new(RtmpHeaders::of(&self.flv));
        self.rtmp.get_or_init(headers)
    }

    /// Returns the bytes before the segment for a viewer that starts here: a file header with `tracks` for FLV, and the init
    /// data. The first such viewer makes them for all.
    pub(crate) fn start_preamble(&self, format: Format, tracks: Tracks) -> Option<Preamble> {
        let start = match format {
            Format::Rtmp => &self.rtmp_start,
            Format::Flv | Format::Relay => &self.flv_start,
        };
        let make = || {
            let mut preamble = PreambleWriter::default();
            if format != Format::Rtmp {
                preamble.copy(&file_header(tracks));
            }
            let nothing = InitData::default();
            self.init_data
                .write(format, &nothing, &mut preamble, self.first_timestamp);
            preamble.finish()
        };
        let start = start.get_or_init(|| {
            let preamble = make();
            Box::new(StartPreamble { tracks, preamble })
        });
        // While a publication starts, the decided tracks can still change.
        if start.tracks == tracks {
            start.preamble.clone()
        } else {
            make()
        }
    }

    /// Returns the mark after the last message.
    pub(crate) fn end(&self) -> Mark {
        Mark {
            sequence: self.mark.sequence.saturating_add(self.messages),
            ..self.mark
        }
    }

    /// Returns the offset of the tag with a sequence.
    pub(crate) fn offset_of(&self, sequence: u64) -> usize {
        let before = sequence.saturating_sub(self.mark.sequence);
        usize::try_from(before)
            .ok()
            .and_then(|before| tags(&self.flv).nth(before))
            .map_or(self.flv.len(), |tag| tag.start)
    }
}

/// The segment that is being filled. Its messages have the log's timestamps.
#[derive(Debug, Default)]
pub(crate) struct OpenSegment {
    /// The FLV tag of each message. A payload is copied when it arrives: it is a part of the buffer that all encoders of a worker
    /// read into, and would keep the whole buffer alive. Each tag has a block of its own: one buffer for all tags would take many
    /// sizes while it grows, and an allocator keeps pages for each size.
    tags: Vec<Vec<u8>>,
    bytes: usize,
    claim: MemoryClaim,
    /// The log's age at the last message.
    last_age: i64,
    start: Option<SegmentStart>,
}

/// The state of the log at a segment's first message.
#[derive(Debug)]
pub(crate) struct SegmentStart {
    pub(crate) mark: Mark,
    /// The log's timestamp.
    pub(crate) timestamp: u32,
    /// The log's age.
    pub(crate) age: i64,
    pub(crate) renewals: u32,
    pub(crate) keyframe: bool,
    pub(crate) init_only: bool,
    pub(crate) init_data: Arc<InitData>,
}

impl OpenSegment {
    pub(crate) fn new(memory: &Arc<MediaMemory>) -> Self {
        Self {
            claim: MemoryClaim::new(memory, 0),
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// Returns whether another message with a payload of `bytes` is too much.
    pub(crate) fn is_full(&self, bytes: usize) -> bool {
        self.bytes + tag_len(bytes) > MAX_BYTES || self.tags.len() >= MAX_MESSAGES
    }

    /// Returns whether the first message is a keyframe.
    pub(crate) fn is_keyframe(&self) -> bool {
        self.start.as_ref().is_some_and(|start| start.keyframe)
    }

    /// Returns whether a message with this mark follows the last one and belongs to the same segment. Init data has
    /// segments of its own.
    pub(crate) fn continues(&self, next: Mark, is_init: bool) -> bool {
        self.start.as_ref().is_none_or(|start| {
            let follows = next
                == Mark {
                    sequence: start.mark.sequence.saturating_add(self.tags.len() as u64),
                    ..start.mark
                };
            follows && start.init_only == is_init
        })
    }

    /// Appends a message at the log's `age`. `init_memory` is the memory of the init data version that the message creates, which later
    /// segments keep. `start` is called for the first message only. This is the only place where media is muxed.
    pub(crate) fn push(
        &mut self,
        message: &Message,
        age: i64,
        init_memory: usize,
        start: impl FnOnce() -> SegmentStart,
    ) {
        let mut memory = self.claim.bytes() + MESSAGE_OVERHEAD + init_memory;
        if self.start.is_none() {
            memory += SEGMENT_OVERHEAD;
            self.start = Some(start());
        }
        self.last_age = age;
        let Message {
            kind,
            timestamp,
            payload,
        } = message;
        let mut tag = Vec::with_capacity(tag_len(payload.len()));
        write_tag(&mut tag, *kind, *timestamp, payload);
        self.bytes += tag.len();
        memory += tag.len();
        if payload.len() < SHARED_FROM {
            // The RTMP form has a copy.
            memory += payload.len();
        }
        self.claim.set(memory);
        self.tags.push(tag);
    }

    /// Returns the messages as a segment, or `None` when there are none.
    pub(crate) fn seal(&mut self, init_version_after: u64) -> Option<Segment> {
        let start = self.start.take()?;
        let messages = self.tags.len() as u64;
        // Most segments are a single message while a worker has room.
        let flv = match self.tags.len() {
            1 => self.tags.pop().unwrap_or_default(),
            _ => self.tags.concat(),
        };
        self.tags.clear();
        self.bytes = 0;
        Some(Segment {
            mark: start.mark,
            messages,
            first_timestamp: start.timestamp,
            first_age: start.age,
            last_age: self.last_age,
            renewals: start.renewals,
            keyframe: start.keyframe,
            init_only: start.init_only,
            init_data: start.init_data,
            init_version_after,
            flv: flv.into_boxed_slice(),
            claim: self.claim.take(),
            rtmp: OnceLock::new(),
            flv_start: OnceLock::new(),
            rtmp_start: OnceLock::new(),
        })
    }
}

/// Returns the length of the FLV tag of a payload.
fn tag_len(payload: usize) -> usize {
    TAG_HEADER_LEN + payload + PREVIOUS_TAG_SIZE_LEN
}
