//! The positions in a log where viewers and relays start and continue.

use std::sync::Arc;

use media_wire::relay::Epoch;

use super::Window;
use crate::segment::Segment;

/// The position where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPosition {
    /// The number of a segment, or the number after the last one.
    pub(crate) segment: u64,
    /// The first sequence to read, if the segment begins before it.
    pub(crate) sequence: Option<u64>,
}

impl From<u64> for LogPosition {
    fn from(segment: u64) -> Self {
        Self {
            segment,
            sequence: None,
        }
    }
}

impl Window {
    /// Returns the number of the segment where new viewers start.
    pub(crate) fn newest_start(&self) -> Option<u64> {
        self.newest_start
    }

    /// Returns where a viewer starts that joined when the next segment had the number `joined_at`. A publication that began
    /// after that is read from its beginning, while all of it is kept: it may have several segments by the time that the
    /// viewer runs, and an audio-only stream would lose all but the newest.
    pub(crate) fn start_since(&self, joined_at: u64) -> Option<u64> {
        if self.epoch_is_whole && self.epoch_start >= joined_at.max(self.first) {
            self.oldest_start()
        } else {
            self.newest_start
        }
    }

    /// Returns where a relay without a position starts: where viewers do, or else at the epoch's first segment while it is
    /// kept.
    pub(crate) fn newest_relay_start(&self) -> Option<u64> {
        let whole = self.get(self.epoch_start).map(|_| self.epoch_start);
        self.newest_start.or(whole)
    }

    /// Returns the oldest segment of the newest epoch where a viewer can start.
    pub(crate) fn oldest_start(&self) -> Option<u64> {
        let newest = self.newest_start?;
        let oldest = self.epoch_start.max(self.first);
        if !self.is_keyframe(newest) {
            return Some(oldest);
        }
        (oldest..=newest).find(|number| self.is_keyframe(*number))
    }

    /// Returns where a relay continues whose next message was evicted: at the oldest segment of the newest epoch where a
    /// viewer can start, since the last gap. The oldest tenth of the window is left out: the receiver's log would evict it
    /// before its viewers have read it, so that they would lag as well.
    pub(crate) fn resume_start(&self) -> Option<u64> {
        let (Some(start), Some(last)) = (self.newest_start, self.segments.back()) else {
            return self.newest_relay_start();
        };
        let readable_ms = self.span_ms / 10 * 9;
        let is_readable = |segment: &Arc<Segment>| last.last_age - segment.first_age <= readable_ms;
        let has_keyframes = self.is_keyframe(start);
        let mut numbers = self.whole_since.max(self.first)..=start;
        let oldest = numbers.find(|number| {
            (!has_keyframes || self.is_keyframe(*number))
                && self.get(*number).is_some_and(is_readable)
        });
        oldest.or(Some(start))
    }

    /// Returns the newest segment where a viewer can start that does not begin after a message of the newest epoch. Nothing is missing
    /// since then.
    pub(crate) fn start_before(&self, epoch: Epoch, sequence: u64) -> Option<u64> {
        let has_keyframes = self.is_keyframe(self.newest_start?);
        let starts = |segment: &Arc<Segment>| {
            let is_before = segment.mark.epoch == epoch && segment.mark.sequence <= sequence;
            is_before && (segment.keyframe || !has_keyframes)
        };
        let mut numbers = (self.whole_since.max(self.first)..self.end()).rev();
        numbers.find(|number| self.get(*number).is_some_and(starts))
    }

    /// Returns where a reader continues whose next segment was evicted, if it had everything about a second ago: the log has got more
    /// than its window at once, as after an outage.
    pub(crate) fn start_after_burst(&self, number: u64) -> Option<u64> {
        self.newest_start.filter(|_| number >= self.old_end)?;
        self.resume_start()
    }

    /// Returns whether a message is in the window: not one that is missing, behind which the log goes on.
    pub(crate) fn contains(&self, epoch: Epoch, sequence: u64) -> bool {
        let mut segments = self.segments.iter();
        segments.any(|segment| {
            let messages = segment.mark.sequence..segment.end().sequence;
            segment.mark.epoch == epoch && messages.contains(&sequence)
        })
    }

    /// Returns the position of a message, also of one that is expected next. Returns `None` when the message was evicted or
    /// never existed.
    pub(crate) fn find(&self, epoch: Epoch, sequence: u64) -> Option<LogPosition> {
        let mut of_epoch = (self.first..)
            .zip(&self.segments)
            .filter(|(_, segment)| segment.mark.epoch == epoch)
            .peekable();
        let (_, oldest) = of_epoch.peek()?;
        let beginning_is_lost =
            sequence == 0 && self.newest_epoch() == Some(epoch) && !self.epoch_is_whole;
        if oldest.mark.sequence > sequence || beginning_is_lost {
            return None;
        }
        let found = of_epoch.find(|(_, segment)| segment.end().sequence > sequence);
        match found {
            Some((number, segment)) if segment.mark.sequence >= sequence => Some(number.into()),
            Some((number, _)) => Some(LogPosition {
                segment: number,
                sequence: Some(sequence),
            }),
            None if self.segments.back()?.mark.epoch == epoch => Some(self.end().into()),
            None => self
                .segments
                .iter()
                .rposition(|segment| segment.mark.epoch == epoch)
                .map(|at| LogPosition::from(self.first + at as u64 + 1)),
        }
    }
}
