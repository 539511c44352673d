//! What a viewer needs before its first frame: the latest metadata and sequence headers.

use bytes::Bytes;
use media_wire::relay::Mark;
use media_wire::{MediaKind, Message};

use crate::rtmp_heads::write_message;
use crate::segment::write_tag;
use crate::timeline::NEVER;

/// Sequence headers that are kept: one for each track of Enhanced RTMP's multitrack, but a stream must not fill the
/// memory by inventing tracks.
const MAX_TAGS: usize = 16;

/// The latest metadata and sequence headers at one place in the log. Immutable; each change makes a new version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prelude {
    version: u64,
    tags: Vec<PreludeTag>,
}

#[derive(Clone, Debug)]
struct PreludeTag {
    slot: Slot,
    sequence: u64,
    payload: Bytes,
}

/// The order in which they are sent: metadata, audio, video; of each track. Colours belong to the video's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Metadata,
    Audio(u8),
    Video(u8),
    Color,
}

impl Slot {
    fn kind(self) -> MediaKind {
        match self {
            Self::Metadata => MediaKind::Data,
            Self::Audio(_) => MediaKind::Audio,
            Self::Video(_) | Self::Color => MediaKind::Video,
        }
    }

    /// The timestamp that it is sent with before something of this time.
    fn stamp(self, follows: u32) -> u32 {
        match self {
            Self::Metadata => NEVER,
            Self::Audio(_) | Self::Video(_) | Self::Color => follows,
        }
    }
}

impl Prelude {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The next version, with what another one holds.
    pub(crate) fn replaced_by(&self, other: &Self) -> Self {
        Self {
            version: self.version + 1,
            tags: other.tags.clone(),
        }
    }

    /// The next version, if the message changes what a viewer needs.
    pub(crate) fn changed_by(&self, slot: Slot, message: &Message, sequence: u64) -> Option<Self> {
        let known = self.tags.binary_search_by_key(&slot, |tag| tag.slot);
        let unchanged = known
            .ok()
            .and_then(|at| self.tags.get(at))
            .is_some_and(|tag| tag.payload == message.payload);
        if unchanged || (known.is_err() && self.tags.len() >= MAX_TAGS) {
            return None;
        }
        let mut next = Self {
            version: self.version + 1,
            tags: self.tags.clone(),
        };
        let tag = PreludeTag {
            slot,
            sequence,
            // A copy: the payload may be a part of a large read buffer.
            payload: Bytes::copy_from_slice(&message.payload),
        };
        match known {
            Ok(at) => next.tags[at] = tag,
            Err(at) => next.tags.insert(at, tag),
        }
        Some(next)
    }

    /// Appends it for an FLV viewer, its headers stamped with the time of what follows.
    pub(crate) fn write_flv(&self, out: &mut Vec<u8>, timestamp: u32) {
        for tag in &self.tags {
            write_tag(
                out,
                tag.slot.kind(),
                tag.slot.stamp(timestamp),
                &tag.payload,
            );
        }
    }

    /// Appends it for an RTMP viewer.
    pub(crate) fn write_rtmp(&self, out: &mut Vec<u8>, timestamp: u32) {
        for tag in &self.tags {
            write_message(
                out,
                tag.slot.kind(),
                tag.slot.stamp(timestamp),
                &tag.payload,
            );
        }
    }

    /// Appends it for a relay: each with the sequence that it had, in the order of sequences.
    pub(crate) fn write_relay(&self, out: &mut Vec<u8>, follows: Mark, timestamp: u32) {
        let mut tags: Vec<_> = self.tags.iter().collect();
        tags.sort_by_key(|tag| tag.sequence);
        for tag in tags {
            let mark = Mark {
                sequence: tag.sequence,
                ..follows
            };
            out.extend_from_slice(&mark.encode());
            write_tag(
                out,
                tag.slot.kind(),
                tag.slot.stamp(timestamp),
                &tag.payload,
            );
        }
    }

    /// The tracks that have a sequence header.
    pub(crate) fn tracks(&self) -> media_wire::flv::Tracks {
        let has = |kind| self.tags.iter().any(|tag| tag.slot.kind() == kind);
        media_wire::flv::Tracks {
            audio: has(MediaKind::Audio),
            video: has(MediaKind::Video),
        }
    }
}
