//! The log of one stream: the sealed segments that are still kept, and where a reader may start.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use media_wire::flv::Tracks;
use media_wire::relay::Epoch;

use crate::segment::Segment;
use crate::timeline::distance;

/// Segments by number: each one has the number after the one before it, for ever.
#[derive(Debug)]
pub(crate) struct Window {
    segments: VecDeque<Arc<Segment>>,
    /// Number of the first segment kept.
    first: u64,
    bytes: usize,
    /// Where new viewers start: the newest keyframe, or the newest segment of a stream without video.
    newest_start: Option<u64>,
    /// The first segment of the newest epoch, kept or not.
    epoch_start: u64,
    /// No message of the newest epoch is missing since its first one: a log that begins with a sequence header and goes on
    /// somewhere later is not the beginning.
    epoch_is_whole: bool,
    /// The tracks of the newest epoch, once decided.
    tracks: Option<Tracks>,
    max_bytes: usize,
    span_ms: i32,
    ended: bool,
}

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of a segment, or the one after the last.
    pub(crate) segment: u64,
    /// The first sequence to read, when the segment begins before it.
    pub(crate) sequence: Option<u64>,
}

impl From<u64> for Place {
    fn from(segment: u64) -> Self {
        Self {
            segment,
            sequence: None,
        }
    }
}

impl Window {
    pub(crate) fn new(span: Duration, max_bytes: usize) -> Self {
        Self {
            segments: VecDeque::new(),
            first: 0,
            bytes: 0,
            newest_start: None,
            epoch_start: 0,
            epoch_is_whole: false,
            tracks: None,
            max_bytes,
            span_ms: i32::try_from(span.as_millis()).unwrap_or(i32::MAX),
            ended: false,
        }
    }

    /// Appends a segment, with the tracks as far as they are decided behind it. Returns the segments that are not
    /// kept any longer, to be dropped outside of the lock.
    pub(crate) fn push(&mut self, segment: Segment, tracks: Option<Tracks>) -> Vec<Arc<Segment>> {
        let number = self.end();
        let last = self.segments.back().map(|last| last.end());
        let known = last.filter(|last| last.epoch == segment.mark.epoch);
        if known.is_none() {
            self.epoch_start = number;
            self.newest_start = None;
        }
        let (so_far, expected) =
            known.map_or((true, 0), |known| (self.epoch_is_whole, known.sequence));
        self.epoch_is_whole = so_far && segment.mark.sequence == expected;
        self.tracks = tracks;
        if segment.keyframe || tracks.is_some_and(|tracks| !tracks.video) {
            self.newest_start = Some(number);
        } else if self
            .newest_start
            .is_some_and(|start| !self.is_keyframe(start))
        {
            // A stream without video has got some: it starts at the keyframe to come.
            self.newest_start = None;
        }
        self.bytes += segment.flv().len();
        self.segments.push_back(Arc::new(segment));
        self.evict()
    }

    fn evict(&mut self) -> Vec<Arc<Segment>> {
        let mut evicted = Vec::new();
        let newest = self.segments.back().map(|last| last.close);
        while let (Some(segment), Some(newest)) = (self.segments.front(), newest) {
            let too_many = self.bytes > self.max_bytes && self.segments.len() > 1;
            let old = distance(segment.close, newest) > self.span_ms;
            let needed = self.newest_start.is_some_and(|start| start <= self.first);
            if !too_many && (needed || !old) {
                break;
            }
            self.bytes -= segment.flv().len();
            evicted.extend(self.segments.pop_front());
            self.first += 1;
            self.newest_start = self.newest_start.filter(|start| *start >= self.first);
        }
        evicted
    }

    /// The stream is over: readers get what is left and then no more.
    pub(crate) fn end_stream(&mut self) {
        self.ended = true;
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// The number of the first segment kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The number after the last segment's.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.segments.len() as u64
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Arc<Segment>> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.segments.get(at)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    /// The tracks that a viewer who starts at a segment shall be told.
    pub(crate) fn tracks_at(&self, number: u64) -> Option<Tracks> {
        if number >= self.epoch_start {
            return self.tracks;
        }
        let segment = self.get(number)?;
        let mut tracks = segment.prelude.tracks();
        tracks.video |= segment.keyframe;
        Some(tracks)
    }

    /// Whether a viewer could start now.
    pub(crate) fn playable(&self) -> bool {
        self.newest_start.is_some() && self.tracks.is_some()
    }

    /// The epoch of the last message.
    pub(crate) fn newest_epoch(&self) -> Option<Epoch> {
        self.segments.back().map(|segment| segment.mark.epoch)
    }

    /// Where new viewers start.
    pub(crate) fn newest_start(&self) -> Option<u64> {
        self.newest_start
    }

    /// Where a viewer starts that waits since the next segment had this number: a publication that began later is shown from
    /// its beginning, while all of it is kept. By the time that the viewer gets to run there may be more of it than one
    /// segment, and sound without pictures would be lost up to the newest one.
    pub(crate) fn start_since(&self, came: u64) -> Option<u64> {
        match self.epoch_is_whole && self.epoch_start >= came.max(self.first) {
            true => self.oldest_start(),
            false => self.newest_start,
        }
    }

    /// Where a relay starts that knows nothing: where viewers do, or at the epoch's beginning while all of it is kept.
    pub(crate) fn newest_relay_start(&self) -> Option<u64> {
        let whole = self.get(self.epoch_start).map(|_| self.epoch_start);
        self.newest_start.or(whole)
    }

    /// The oldest place of the newest epoch where a viewer can start.
    pub(crate) fn oldest_start(&self) -> Option<u64> {
        let newest = self.newest_start?;
        let oldest = self.epoch_start.max(self.first);
        if !self.is_keyframe(newest) {
            return Some(oldest);
        }
        (oldest..=newest).find(|number| self.is_keyframe(*number))
    }

    /// The place of a message, or where it will be. `None` when it is not here and will not come.
    pub(crate) fn find(&self, epoch: Epoch, sequence: u64) -> Option<Place> {
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
            Some((number, _)) => Some(Place {
                segment: number,
                sequence: Some(sequence),
            }),
            None if self.segments.back()?.mark.epoch == epoch => Some(self.end().into()),
            None => self
                .segments
                .iter()
                .rposition(|segment| segment.mark.epoch == epoch)
                .map(|at| Place::from(self.first + at as u64 + 1)),
        }
    }

    fn is_keyframe(&self, number: u64) -> bool {
        self.get(number).is_some_and(|segment| segment.keyframe)
    }
}

#[cfg(test)]
mod tests;
