//! The writing end of a log: from a publisher's messages to sealed segments.

use std::collections::VecDeque;
use std::sync::Arc;

use media_wire::flv::{MAX_PAYLOAD, Tracks};
use media_wire::relay::{Epoch, Mark};
use media_wire::{Codec, MediaKind, Message};

use crate::init_data::InitData;
use crate::log_counters::LogCounters;
use crate::media_memory::{MediaMemory, OutOfMemory};
use crate::message_class::MessageClass;
use crate::segment::{OpenSegment, Segment, SegmentStart};
use crate::settings::InitDataLimits;
use crate::timeline::{LogTimeline, SourceTimeline, Timing};
use crate::tracks::{Metadata, TrackDecision};

/// The result of appending a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The message is in the log.
    New,
    /// The message is in the log, and this many messages before it are missing.
    AfterGap(u64),
    /// The message is in the log. It is init data beyond the maximum number of messages, which viewers that join later do not get.
    TooMuchInitData,
    /// The message was in the log before.
    Duplicate,
    /// The message is init data that the stream has already. It is not in the log.
    Unchanged,
    /// The message is video that cannot be decoded, because no keyframe precedes it. It is not in the log.
    BeforeKeyframe,
    /// The payload is empty, too long for FLV, or a media node's mark. The message is not in the log.
    Invalid,
    /// The message is init data above the limit. It is not in the log.
    InitDataTooLong {
        /// The length of the message.
        len: usize,
        /// The maximum.
        limit: usize,
    },
    /// The media memory is in use, and the message is more than an equal share of it. It is not in the log.
    OutOfMemory(OutOfMemory),
    /// Another publisher has taken over the stream. The message is not in the log.
    Superseded,
}

/// The codecs and metadata of the newest epoch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MediaDescription {
    pub(crate) video: Option<Codec>,
    pub(crate) audio: Option<Codec>,
    pub(crate) metadata: Metadata,
}

/// The writing end of a log.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    epoch: Option<Epoch>,
    next_sequence: u64,
    source: SourceTimeline,
    timeline: LogTimeline,
    init_data: Arc<InitData>,
    init_data_limits: InitDataLimits,
    memory: Arc<MediaMemory>,
    tracks: TrackDecision,
    /// Interframes are refused until the next keyframe.
    waits_for_keyframe: bool,
    /// This epoch has had a frame. From then on, missing sequences count as a loss.
    has_frames: bool,
    open: OpenSegment,
    sealed: Vec<Segment>,
    counters: LogCounters,
    /// Timestamp jumps of the encoders of former epochs.
    former_jumps: u64,
    description: MediaDescription,
    former: VecDeque<FormerEpoch>,
}

/// An epoch before the current one. A relay can return to it, and its messages must not be appended twice.
#[derive(Debug)]
struct FormerEpoch {
    epoch: Epoch,
    next_sequence: u64,
    init_data: Arc<InitData>,
    tracks: TrackDecision,
    description: MediaDescription,
    has_frames: bool,
}

/// The number of former epochs that are remembered. A relay alternates between two at most.
const MAX_FORMER: usize = 8;

impl Writer {
    /// Returns the writer of an empty log with these limits of sequence headers and metadata.
    pub(crate) fn new(limits: InitDataLimits, memory: &Arc<MediaMemory>) -> Self {
        Self {
            init_data_limits: limits,
            memory: Arc::clone(memory),
            open: OpenSegment::new(memory),
            ..Self::default()
        }
    }

    /// Appends an encoder's message. It gets the next sequence, and its timestamp can jump.
    pub(crate) fn append(&mut self, epoch: Epoch, message: Message) -> Appended {
        self.enter(epoch);
        let header = message.header();
        let class = MessageClass::of(&message, header);
        if let Err(refused) = self.check(&message, class) {
            return refused;
        }
        let slot = class.init_slot();
        if slot.is_some_and(|slot| self.init_data.contains(slot, &message.payload)) {
            return Appended::Unchanged;
        }
        let max_messages = self.init_data_limits.messages;
        let is_left_out = slot.is_some_and(|slot| self.init_data.is_full_for(slot, max_messages));
        let message = Message {
            timestamp: self.source.place(class.timing(), message.timestamp),
            ..message
        };
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.push(epoch, sequence, message, class, header.codec);
        if is_left_out {
            Appended::TooMuchInitData
        } else {
            Appended::New
        }
    }

    /// Appends a relay's message, with its sequence and its timestamp at the source.
    pub(crate) fn append_at(&mut self, epoch: Epoch, sequence: u64, message: Message) -> Appended {
        let Some(missing) = sequence.checked_sub(self.next_sequence(epoch)) else {
            return Appended::Duplicate;
        };
        self.enter(epoch);
        let missing = if self.has_frames { missing } else { 0 };
        if missing > 0 {
            self.counters.count_gap(missing);
            self.waits_for_keyframe = true;
        }
        self.next_sequence = sequence.saturating_add(1);
        let header = message.header();
        let class = MessageClass::of(&message, header);
        if let Err(refused) = self.check(&message, class) {
            return refused;
        }
        self.push(epoch, sequence, message, class, header.codec);
        match missing {
            0 => Appended::New,
            missing => Appended::AfterGap(missing),
        }
    }

    /// Seals the open segment.
    pub(crate) fn seal(&mut self) {
        let version = self.init_data.version();
        self.sealed.extend(self.open.seal(version));
    }

    /// Gives up the init data and the sequences when the log is given up: a relay that returns to the epoch sends all of it again,
    /// init data first. The epoch and the timestamps stay.
    pub(crate) fn give_up(&mut self) {
        self.former.clear();
        self.next_sequence = 0;
        self.has_frames = false;
        self.waits_for_keyframe = true;
        if self.init_data.bytes() > 0 {
            self.init_data = Arc::new(self.init_data.replaced_by(&InitData::default()));
        }
    }

    /// Returns whether messages wait to be sealed.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Returns whether the open segment begins with a keyframe.
    pub(crate) fn opens_with_keyframe(&self) -> bool {
        self.open.is_keyframe()
    }

    /// Returns the segments that were sealed since the last call.
    pub(crate) fn sealed(&mut self) -> std::vec::Drain<'_, Segment> {
        self.sealed.drain(..)
    }

    /// Returns whether a segment was sealed since the last call of [`Writer::sealed`].
    pub(crate) fn has_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// Returns the epoch of the last message and the sequence after it.
    pub(crate) fn position(&self) -> Option<(Epoch, u64)> {
        self.epoch.map(|epoch| (epoch, self.next_sequence))
    }

    /// Returns the init data of an epoch that is remembered.
    pub(crate) fn init_data_of(&self, epoch: Epoch) -> InitData {
        if self.epoch == Some(epoch) {
            return InitData::clone(&self.init_data);
        }
        let former = self.former.iter().find(|former| former.epoch == epoch);
        former.map_or_else(
            || self.init_data.replaced_by(&InitData::default()),
            |former| InitData::clone(&former.init_data),
        )
    }

    /// Expects no track of this epoch but those that were seen, once all of them are sealed. Returns whether that is new.
    pub(crate) fn decide_tracks(&mut self) -> bool {
        self.open.is_empty() && self.tracks.decide()
    }

    /// Returns the tracks of this epoch, once they are decided.
    pub(crate) fn tracks(&self) -> Option<Tracks> {
        self.tracks.tracks()
    }

    pub(crate) fn counters(&self) -> LogCounters {
        self.counters
    }

    /// Returns how often an encoder's timestamps jumped.
    pub(crate) fn jumps(&self) -> u64 {
        self.former_jumps + self.source.jumps()
    }

    pub(crate) fn description(&self) -> MediaDescription {
        self.description
    }

    /// Returns the log's age at its latest message, in milliseconds.
    pub(crate) fn age(&self) -> Option<i64> {
        let newest = self.timeline.newest();
        newest.map(|timestamp| self.timeline.age(timestamp))
    }

    /// Returns the latest timestamp in the log.
    pub(crate) fn last_timestamp(&self) -> Option<u32> {
        self.timeline.newest()
    }

    /// Returns the first sequence of an epoch that was not appended yet.
    fn next_sequence(&self, epoch: Epoch) -> u64 {
        if self.epoch == Some(epoch) {
            return self.next_sequence;
        }
        let mut former = self.former.iter();
        former
            .find(|former| former.epoch == epoch)
            .map_or(0, |former| former.next_sequence)
    }

    /// Makes `epoch` the current one.
    fn enter(&mut self, epoch: Epoch) {
        if self.epoch == Some(epoch) {
            return;
        }
        self.seal();
        self.former_jumps = self.jumps();
        self.source = SourceTimeline::default();
        self.timeline.begin_epoch();
        self.waits_for_keyframe = true;
        let before = FormerEpoch {
            epoch: self.epoch.replace(epoch).unwrap_or(epoch),
            next_sequence: std::mem::take(&mut self.next_sequence),
            init_data: Arc::clone(&self.init_data),
            tracks: std::mem::take(&mut self.tracks),
            description: std::mem::take(&mut self.description),
            has_frames: std::mem::take(&mut self.has_frames),
        };
        self.init_data = Arc::new(before.init_data.replaced_by(&InitData::default()));
        let found = self.former.iter().position(|former| former.epoch == epoch);
        if let Some(former) = found.and_then(|at| self.former.remove(at)) {
            self.next_sequence = former.next_sequence;
            self.init_data = Arc::new(before.init_data.replaced_by(&former.init_data));
            self.tracks = former.tracks;
            self.description = former.description;
            self.has_frames = former.has_frames;
        }
        self.former.push_front(before);
        self.former.truncate(MAX_FORMER);
    }

    /// Returns the bytes of all init data that is kept.
    fn init_bytes(&self) -> usize {
        let former = self.former.iter().map(|former| former.init_data.bytes());
        former.chain([self.init_data.bytes()]).sum()
    }

    /// Checks whether a message can be appended.
    fn check(&mut self, message: &Message, class: MessageClass) -> Result<(), Appended> {
        let payload = &message.payload;
        let is_mark = message.kind == MediaKind::Data && Mark::is_named(payload);
        if payload.is_empty() || payload.len() > MAX_PAYLOAD || is_mark {
            return Err(Appended::Invalid);
        }
        let (len, limit) = (payload.len(), self.init_data_limits.message_bytes);
        let is_init = class.init_slot().is_some();
        if is_init && len > limit {
            return Err(Appended::InitDataTooLong { len, limit });
        }
        let allowed = if is_init {
            self.memory.allow_init_data(self.init_bytes() + len)
        } else {
            self.memory.allow(len)
        };
        allowed.map_err(Appended::OutOfMemory)?;
        if class == MessageClass::Interframe && self.waits_for_keyframe {
            return Err(Appended::BeforeKeyframe);
        }
        self.waits_for_keyframe &= class != MessageClass::Keyframe;
        Ok(())
    }

    /// Appends a message with the source's timestamp to the open segment.
    fn push(
        &mut self,
        epoch: Epoch,
        sequence: u64,
        mut message: Message,
        class: MessageClass,
        codec: Option<Codec>,
    ) {
        let timing = class.timing();
        let keyframe = class == MessageClass::Keyframe;
        let starts = keyframe || (class == MessageClass::Audio && self.description.video.is_none());
        message.timestamp = self.timeline.place(timing, message.timestamp, starts);
        let timestamp = match timing {
            Timing::Never => self.timeline.newest().unwrap_or(message.timestamp),
            Timing::Audio | Timing::Video | Timing::Untimed => message.timestamp,
        };
        let mark = Mark {
            epoch,
            sequence,
            shift: self.timeline.shift(),
        };
        let (age, renewals) = (self.timeline.age(timestamp), self.timeline.renewals());
        let slot = class.init_slot();
        let changed = slot.and_then(|slot| {
            let (memory, max_messages) = (&self.memory, self.init_data_limits.messages);
            let init_data = &self.init_data;
            init_data.changed_by(slot, &message, sequence, memory, max_messages)
        });
        let init_only = changed.is_some()
            || slot.is_some_and(|slot| self.init_data.contains(slot, &message.payload));
        if keyframe
            || !self.open.continues(mark, init_only)
            || self.open.is_full(message.payload.len())
        {
            self.seal();
        }
        self.has_frames |= matches!(timing, Timing::Audio | Timing::Video);
        self.counters.count(&message, class, age);
        self.describe(&message, codec);
        let before = &self.init_data;
        let init_memory = changed.as_ref().map_or(0, |changed| {
            changed.version_memory() + message.payload.len()
        });
        self.open.push(&message, age, init_memory, || SegmentStart {
            mark,
            timestamp,
            age,
            renewals,
            keyframe,
            init_only,
            init_data: Arc::clone(before),
        });
        if let Some(changed) = changed {
            self.init_data = Arc::new(changed);
        }
    }

    /// Records the track and codec of a message, and the properties of metadata.
    fn describe(&mut self, message: &Message, codec: Option<Codec>) {
        match message.kind {
            MediaKind::Audio => self.description.audio = codec.or(self.description.audio),
            MediaKind::Video => self.description.video = codec.or(self.description.video),
            MediaKind::Data => {
                if let Some(metadata) = Metadata::read(&message.payload) {
                    self.tracks.announce(metadata);
                    self.description.metadata = metadata;
                }
            }
        }
        self.tracks.observe(message.kind, message.timestamp);
    }
}
