//! The writing side of a log: from a publisher's messages to sealed segments.

use std::collections::VecDeque;
use std::sync::Arc;

use media_wire::flv::Tracks;
use media_wire::relay::{Epoch, Mark};
use media_wire::{Codec, MediaKind, Message};

use crate::nature::Nature;
use crate::prelude::Prelude;
use crate::segment::{OpenSegment, Opening, Segment};
use crate::timeline::{LogTimeline, SourceTimeline, Timing};
use crate::tracks::{Metadata, TrackDecision};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is in the log.
    New,
    /// It is in the log, and this many messages before it never came.
    AfterGap(u64),
    /// It was in the log before.
    Duplicate,
    /// Video that cannot be decoded, for want of a keyframe before it. It is not in the log.
    BeforeKeyframe,
    /// It has no payload, one that is too long for FLV, or a node's mark for one. It is not in the log.
    Unfit,
    /// Another publisher has the stream. It is not in the log.
    Superseded,
}

/// Numbers of one log since its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) gaps: u64,
    pub(crate) missing: u64,
    /// Jumps of the encoders of former epochs.
    former_jumps: u64,
}

/// What the media of the newest epoch is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) video: Option<Codec>,
    pub(crate) audio: Option<Codec>,
    pub(crate) metadata: Metadata,
}

/// The end of a log.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    epoch: Option<Epoch>,
    next_sequence: u64,
    source: SourceTimeline,
    timeline: LogTimeline,
    prelude: Arc<Prelude>,
    tracks: TrackDecision,
    /// Video is not taken before the next keyframe.
    waits_for_keyframe: bool,
    /// This epoch had a frame: from now on, sequences that are missing are a loss.
    has_frames: bool,
    open: OpenSegment,
    sealed: Vec<Segment>,
    counters: Counters,
    seen: Seen,
    former: VecDeque<Former>,
}

/// An epoch before the present one. A relay may come back to it: what was taken from it is not taken again.
#[derive(Debug)]
struct Former {
    epoch: Epoch,
    next_sequence: u64,
    prelude: Arc<Prelude>,
    tracks: TrackDecision,
    seen: Seen,
    has_frames: bool,
}

/// Epochs that are remembered; more than two at a time are no accident.
const MAX_FORMER: usize = 8;

impl Writer {
    /// Takes an encoder's message, which has the next sequence and a timestamp that may jump.
    pub(crate) fn append(&mut self, epoch: Epoch, message: Message) -> Appended {
        self.enter(epoch);
        let nature = Nature::of(&message);
        if let Err(refused) = self.check(nature) {
            return refused;
        }
        let message = Message {
            timestamp: self.source.place(nature.timing, message.timestamp),
            ..message
        };
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.take(epoch, sequence, message, nature);
        Appended::New
    }

    /// Takes a relay's message, which has a sequence and a timestamp of the source.
    pub(crate) fn append_at(&mut self, epoch: Epoch, sequence: u64, message: Message) -> Appended {
        let Some(missing) = sequence.checked_sub(self.next_sequence(epoch)) else {
            return Appended::Duplicate;
        };
        self.enter(epoch);
        let lost = if self.has_frames { missing } else { 0 };
        if lost > 0 {
            self.counters.gaps += 1;
            self.counters.missing += lost;
            self.waits_for_keyframe = true;
        }
        self.next_sequence = sequence.saturating_add(1);
        let nature = Nature::of(&message);
        if let Err(refused) = self.check(nature) {
            return refused;
        }
        self.take(epoch, sequence, message, nature);
        match lost {
            0 => Appended::New,
            lost => Appended::AfterGap(lost),
        }
    }

    /// Seals what is open.
    pub(crate) fn seal(&mut self) {
        self.sealed.extend(self.open.seal(self.prelude.version()));
    }

    /// Whether messages wait to be sealed.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether the open messages begin with a keyframe.
    pub(crate) fn opens_with_keyframe(&self) -> bool {
        self.open.is_keyframe()
    }

    /// What was sealed since the last call.
    pub(crate) fn sealed(&mut self) -> std::vec::Drain<'_, Segment> {
        self.sealed.drain(..)
    }

    /// Whether something was sealed since the last call of [`Writer::sealed`].
    pub(crate) fn has_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// The epoch of the last message, and the sequence after it.
    pub(crate) fn position(&self) -> Option<(Epoch, u64)> {
        self.epoch.map(|epoch| (epoch, self.next_sequence))
    }

    /// The tracks of this epoch, once decided.
    pub(crate) fn tracks(&self) -> Option<Tracks> {
        self.tracks.tracks()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn jumps(&self) -> u64 {
        self.counters.former_jumps + self.source.jumps()
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen
    }

    /// The latest timestamp in the log.
    pub(crate) fn last_timestamp(&self) -> Option<u32> {
        self.timeline.newest()
    }

    /// The first sequence of an epoch that was not taken yet.
    fn next_sequence(&self, epoch: Epoch) -> u64 {
        if self.epoch == Some(epoch) {
            return self.next_sequence;
        }
        let mut former = self.former.iter();
        former
            .find(|former| former.epoch == epoch)
            .map_or(0, |former| former.next_sequence)
    }

    /// A message of another epoch than the last one's opens it.
    fn enter(&mut self, epoch: Epoch) {
        if self.epoch == Some(epoch) {
            return;
        }
        self.seal();
        self.counters.former_jumps = self.jumps();
        self.source = SourceTimeline::default();
        self.timeline.begin_epoch();
        self.waits_for_keyframe = true;
        let before = Former {
            epoch: self.epoch.replace(epoch).unwrap_or(epoch),
            next_sequence: std::mem::take(&mut self.next_sequence),
            prelude: Arc::clone(&self.prelude),
            tracks: std::mem::take(&mut self.tracks),
            seen: std::mem::take(&mut self.seen),
            has_frames: std::mem::take(&mut self.has_frames),
        };
        self.prelude = Arc::new(before.prelude.replaced_by(&Prelude::default()));
        let known = self.former.iter().position(|former| former.epoch == epoch);
        if let Some(former) = known.and_then(|at| self.former.remove(at)) {
            self.next_sequence = former.next_sequence;
            self.prelude = Arc::new(before.prelude.replaced_by(&former.prelude));
            self.tracks = former.tracks;
            self.seen = former.seen;
            self.has_frames = former.has_frames;
        }
        self.former.push_front(before);
        self.former.truncate(MAX_FORMER);
    }

    /// Whether a message can be taken.
    fn check(&mut self, nature: Nature) -> Result<(), Appended> {
        if nature.unfit {
            return Err(Appended::Unfit);
        }
        if nature.dependent && self.waits_for_keyframe {
            return Err(Appended::BeforeKeyframe);
        }
        self.waits_for_keyframe &= !nature.keyframe;
        Ok(())
    }

    /// Places a message, stamped with the source's time, in the open segment.
    fn take(&mut self, epoch: Epoch, sequence: u64, mut message: Message, nature: Nature) {
        message.timestamp = self.timeline.place(nature.timing, message.timestamp);
        let time = match nature.timing {
            Timing::Never => self.timeline.newest().unwrap_or(message.timestamp),
            Timing::Audio | Timing::Video | Timing::Untimed => message.timestamp,
        };
        let mark = Mark {
            epoch,
            sequence,
            shift: self.timeline.shift(),
        };
        if nature.keyframe || !self.open.continues(mark) || self.open.is_full() {
            self.seal();
        }
        self.has_frames |= matches!(nature.timing, Timing::Audio | Timing::Video);
        self.observe(&message, nature);
        let changed = nature
            .slot
            .and_then(|slot| self.prelude.changed_by(slot, &message, sequence));
        let before = &self.prelude;
        self.open.push(message, time, || Opening {
            mark,
            time,
            keyframe: nature.keyframe,
            prelude: Arc::clone(before),
        });
        if let Some(changed) = changed {
            self.prelude = Arc::new(changed);
        }
    }

    fn observe(&mut self, message: &Message, nature: Nature) {
        self.counters.messages += 1;
        self.counters.bytes += message.payload.len() as u64;
        match message.kind {
            MediaKind::Audio => self.seen.audio = nature.codec.or(self.seen.audio),
            MediaKind::Video => self.seen.video = nature.codec.or(self.seen.video),
            MediaKind::Data => {
                if let Some(metadata) = Metadata::read(&message.payload) {
                    self.tracks.announce(metadata);
                    self.seen.metadata = metadata;
                }
            }
        }
        self.tracks.observe(message.kind, message.timestamp);
    }
}
