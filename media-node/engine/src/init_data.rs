//! The messages that a viewer needs before its first frame: the latest metadata and sequence headers.

use bytes::Bytes;
use media_wire::flv::{Tracks, write_tag};
use media_wire::relay::Mark;
use media_wire::rtmp::write_media_message;
use media_wire::{MediaKind, Message};

use crate::timeline::NEVER;

/// The maximum number of messages: a sequence header for each track of Enhanced RTMP's multitrack. Without a limit a
/// stream could fill the memory with invented tracks.
const MAX_MESSAGES: usize = 16;

/// The latest metadata and sequence headers at one position in the log. It is immutable: each change makes a new version.
#[derive(Clone, Debug, Default)]
pub(crate) struct InitData {
    version: u64,
    messages: Vec<InitMessage>,
}

#[derive(Clone, Debug)]
struct InitMessage {
    slot: InitSlot,
    sequence: u64,
    payload: Bytes,
}

/// The role of a message in the init data. Messages are sent in this order, and those of one role by track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InitSlot {
    Metadata,
    Audio(u8),
    Video(u8),
    /// Follows the sequence header that it belongs to.
    VideoMetadata(u8),
}

impl InitSlot {
    fn kind(self) -> MediaKind {
        match self {
            Self::Metadata => MediaKind::Data,
            Self::Audio(_) => MediaKind::Audio,
            Self::Video(_) | Self::VideoMetadata(_) => MediaKind::Video,
        }
    }

    /// Returns the timestamp that the message is sent with before a message with the timestamp `next`.
    fn timestamp(self, next: u32) -> u32 {
        match self {
            Self::Metadata => NEVER,
            Self::Audio(_) | Self::Video(_) | Self::VideoMetadata(_) => next,
        }
    }
}

impl InitData {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Returns the next version, with the messages of `other`.
    pub(crate) fn replaced_by(&self, other: &Self) -> Self {
        Self {
            version: self.version + 1,
            messages: other.messages.clone(),
        }
    }

    /// Returns the next version if the message changes the init data.
    pub(crate) fn changed_by(
        &self,
        slot: InitSlot,
        message: &Message,
        sequence: u64,
    ) -> Option<Self> {
        let found = self.messages.binary_search_by_key(&slot, |init| init.slot);
        let unchanged = found
            .ok()
            .and_then(|at| self.messages.get(at))
            .is_some_and(|init| init.payload == message.payload);
        if unchanged || (found.is_err() && self.messages.len() >= MAX_MESSAGES) {
            return None;
        }
        let mut next = Self {
            version: self.version + 1,
            messages: self.messages.clone(),
        };
        let init = InitMessage {
            slot,
            sequence,
            // A copy, because the payload can be a part of a large read buffer.
            payload: Bytes::copy_from_slice(&message.payload),
        };
        match found {
            Ok(at) => next.messages[at] = init,
            Err(at) => next.messages.insert(at, init),
        }
        Some(next)
    }

    /// Appends the messages for an FLV viewer. Sequence headers get the timestamp of the next message.
    pub(crate) fn write_flv(&self, out: &mut Vec<u8>, next: u32) {
        for init in &self.messages {
            init.write_flv(out, next);
        }
    }

    /// Appends the messages for an RTMP viewer.
    pub(crate) fn write_rtmp(&self, out: &mut Vec<u8>, next: u32) {
        for InitMessage { slot, payload, .. } in &self.messages {
            write_media_message(out, slot.kind(), slot.timestamp(next), payload);
        }
    }

    /// Appends the messages for a relay, ordered by their original sequences and each with a mark.
    pub(crate) fn write_relay(&self, out: &mut Vec<u8>, next_mark: Mark, next: u32) {
        let mut messages: Vec<_> = self.messages.iter().collect();
        messages.sort_by_key(|init| init.sequence);
        for init in messages {
            let mark = Mark {
                sequence: init.sequence,
                ..next_mark
            };
            out.extend_from_slice(&mark.encode());
            init.write_flv(out, next);
        }
    }

    /// Returns the tracks that have a sequence header.
    pub(crate) fn tracks(&self) -> Tracks {
        let has = |kind| self.messages.iter().any(|init| init.slot.kind() == kind);
        Tracks {
            audio: has(MediaKind::Audio),
            video: has(MediaKind::Video),
        }
    }
}

impl InitMessage {
    fn write_flv(&self, out: &mut Vec<u8>, next: u32) {
        let timestamp = self.slot.timestamp(next);
        write_tag(out, self.slot.kind(), timestamp, &self.payload);
    }
}
