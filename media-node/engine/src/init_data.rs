//! The messages that a viewer needs before its first frame: the latest metadata and sequence headers.

use std::sync::Arc;

use bytes::Bytes;
use media_wire::flv::{Tracks, previous_tag_size, tag_header};
use media_wire::relay::Mark;
use media_wire::rtmp::{CHUNK_SIZE, continuation_header, message_header};
use media_wire::{MediaKind, Message};

use crate::media_memory::{MediaMemory, MemoryClaim};
use crate::preamble::PreambleWriter;
use crate::subscription::Format;
use crate::timeline::NEVER;

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
    /// The payload's memory, which all versions with the message share.
    _claim: Arc<MemoryClaim>,
}

/// The role of a message in the init data. Messages are sent in this order, and those of one role by track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InitSlot {
    Metadata,
    Audio(u8),
    /// Follows the sequence header that it belongs to.
    AudioChannels(u8),
    Video(u8),
    /// Follows the sequence header that it belongs to.
    VideoMetadata(u8),
}

impl InitSlot {
    fn kind(self) -> MediaKind {
        match self {
            Self::Metadata => MediaKind::Data,
            Self::Audio(_) | Self::AudioChannels(_) => MediaKind::Audio,
            Self::Video(_) | Self::VideoMetadata(_) => MediaKind::Video,
        }
    }

    /// Returns the timestamp that the message is sent with before a message with the timestamp `next`.
    fn timestamp(self, next: u32) -> u32 {
        match self {
            Self::Metadata => NEVER,
            Self::Audio(_) | Self::AudioChannels(_) | Self::Video(_) | Self::VideoMetadata(_) => {
                next
            }
        }
    }
}

impl InitData {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Returns the bytes of the messages.
    pub(crate) fn bytes(&self) -> usize {
        self.messages.iter().map(|init| init.payload.len()).sum()
    }

    /// Returns the memory of this version without the messages' bytes, which versions share.
    pub(crate) fn version_memory(&self) -> usize {
        size_of::<Self>() + self.messages.len() * size_of::<InitMessage>()
    }

    /// Returns the next version, with the messages of `other`.
    pub(crate) fn replaced_by(&self, other: &Self) -> Self {
        Self {
            version: self.version + 1,
            messages: other.messages.clone(),
        }
    }

    /// Returns the next version if the message changes the init data. A message of a new slot beyond `max_messages` does not.
    pub(crate) fn changed_by(
        &self,
        slot: InitSlot,
        message: &Message,
        sequence: u64,
        memory: &Arc<MediaMemory>,
        max_messages: usize,
    ) -> Option<Self> {
        if self.contains(slot, &message.payload) || self.is_full_for(slot, max_messages) {
            return None;
        }
        let found = self.find(slot);
        let mut next = Self {
            version: self.version + 1,
            messages: self.messages.clone(),
        };
        let init = InitMessage {
            slot,
            sequence,
            // A copy, because the payload can be a part of a large read buffer.
            payload: Bytes::copy_from_slice(&message.payload),
            _claim: Arc::new(MemoryClaim::new(memory, message.payload.len())),
        };
        match found {
            Ok(at) => next.messages[at] = init,
            Err(at) => next.messages.insert(at, init),
        }
        Some(next)
    }

    /// Returns whether the slot has a message with this payload.
    pub(crate) fn contains(&self, slot: InitSlot, payload: &[u8]) -> bool {
        let found = self.find(slot).ok().and_then(|at| self.messages.get(at));
        found.is_some_and(|init| init.payload == payload)
    }

    /// Returns whether there is no room for a message of the slot.
    pub(crate) fn is_full_for(&self, slot: InitSlot, max_messages: usize) -> bool {
        self.messages.len() >= max_messages && self.find(slot).is_err()
    }

    /// Returns the index of the slot's message, or the index at which to insert it.
    fn find(&self, slot: InitSlot) -> Result<usize, usize> {
        self.messages.binary_search_by_key(&slot, |init| init.slot)
    }

    /// Appends the messages that a viewer with the init data `known` lacks. Sequence headers get the timestamp of the next
    /// message.
    pub(crate) fn write(&self, format: Format, known: &Self, out: &mut PreambleWriter, next: u32) {
        for init in self.missing_in(known) {
            match format {
                Format::Rtmp => init.write_rtmp(out, next),
                Format::Flv | Format::Relay => init.write_flv(out, next),
            }
        }
    }

    /// Returns the messages that are not in `known`. Some players freeze when they get the same sequence header again.
    fn missing_in(&self, known: &Self) -> impl Iterator<Item = &InitMessage> {
        let is_missing = |init: &&InitMessage| !known.contains(init.slot, &init.payload);
        self.messages.iter().filter(is_missing)
    }

    /// Returns the init data of a viewer that was sent `known` and then this: all messages of this, and those of `known` in other slots,
    /// unless these are more than `max_messages`. A publication that starts has few messages at first, and then repeats those of the
    /// former one.
    pub(crate) fn merged_over(self: &Arc<Self>, known: &Self, max_messages: usize) -> Arc<Self> {
        let others = known.messages.iter();
        let mut others = others
            .filter(|init| self.find(init.slot).is_err())
            .peekable();
        if others.peek().is_none() {
            return Arc::clone(self);
        }
        let mut messages: Vec<_> = others.chain(&self.messages).cloned().collect();
        if messages.len() > max_messages {
            return Arc::clone(self);
        }
        messages.sort_by_key(|init| init.slot);
        Arc::new(Self {
            version: self.version,
            messages,
        })
    }

    /// Appends the messages for a relay, ordered by their original sequences and each with a mark.
    pub(crate) fn write_relay(&self, out: &mut PreambleWriter, next_mark: Mark, next: u32) {
        let mut messages: Vec<_> = self.messages.iter().collect();
        messages.sort_by_key(|init| init.sequence);
        for init in messages {
            let mark = Mark {
                sequence: init.sequence,
                ..next_mark
            };
            out.copy(&mark.encode());
            init.write_flv(out, next);
        }
    }

    /// Returns the messages as an encoder sends them before a message with the timestamp `next`.
    pub(crate) fn messages(&self, next: u32) -> impl Iterator<Item = Message> {
        self.messages.iter().map(move |init| Message {
            kind: init.slot.kind(),
            timestamp: init.slot.timestamp(next),
            payload: init.payload.clone(),
        })
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
    fn write_flv(&self, out: &mut PreambleWriter, next: u32) {
        let timestamp = self.slot.timestamp(next);
        out.copy(&tag_header(self.slot.kind(), timestamp, self.len()));
        out.share(self.payload.clone());
        out.copy(&previous_tag_size(self.len()));
    }

    fn write_rtmp(&self, out: &mut PreambleWriter, next: u32) {
        let (kind, timestamp) = (self.slot.kind(), self.slot.timestamp(next));
        out.copy(&message_header(kind, timestamp, self.len()));
        let mut rest = self.payload.clone();
        out.share(rest.split_to(rest.len().min(CHUNK_SIZE)));
        while !rest.is_empty() {
            out.copy(&continuation_header(kind, timestamp));
            out.share(rest.split_to(rest.len().min(CHUNK_SIZE)));
        }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.payload.len()).unwrap_or(u32::MAX)
    }
}
