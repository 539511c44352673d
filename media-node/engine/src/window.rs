//! The log of one stream: the sealed segments that are kept, and the positions where a reader can start.

mod positions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use media_wire::flv::Tracks;
use media_wire::relay::Epoch;

pub(crate) use self::positions::LogPosition;
use crate::group_reservation::GroupReservation;
use crate::media_memory::MediaMemory;
use crate::segment::Segment;

/// The segments of a log. Their numbers are consecutive and never reused.
#[derive(Debug)]
pub(crate) struct Window {
    segments: VecDeque<Arc<Segment>>,
    /// The number of the first segment.
    first: u64,
    /// Memory of the segments.
    bytes: usize,
    memory: Arc<MediaMemory>,
    /// The media memory that the stream reserves.
    pub(crate) reservation: GroupReservation,
    /// The number of the segment where new viewers start: the newest keyframe, or the newest segment of a stream without video.
    newest_start: Option<u64>,
    /// The number of the newest epoch's first segment, which may have been evicted.
    epoch_start: u64,
    /// No message of the newest epoch is missing since its sequence 0. A pulled copy can begin with the sequence headers and
    /// continue much later.
    epoch_is_whole: bool,
    /// The number of the segment after the newest epoch's last gap. No message is missing since then.
    whole_since: u64,
    /// The tracks of the newest epoch, once decided.
    tracks: Option<Tracks>,
    /// The epoch on air. Earlier ones are over, and viewers that join get nothing of them.
    on_air: Epoch,
    /// A relay has taken over the newest epoch, and its first message decides whether the log continues without a gap.
    resuming: bool,
    /// The relay first sends the messages before this sequence, which another media node had. Zero when it sends none.
    resumed_until: u64,
    max_bytes: usize,
    span_ms: i64,
    /// No reader needs the segments before this number, except the newest group of pictures.
    needed_from: u64,
    /// The number after the last segment as it was about a second ago.
    old_end: u64,
    ended: bool,
}

impl Window {
    pub(crate) fn new(span: Duration, max_bytes: usize, memory: Arc<MediaMemory>) -> Self {
        Self {
            segments: VecDeque::new(),
            first: 0,
            bytes: 0,
            memory,
            reservation: GroupReservation::default(),
            newest_start: None,
            epoch_start: 0,
            epoch_is_whole: false,
            whole_since: 0,
            tracks: None,
            on_air: Epoch(0),
            resuming: false,
            resumed_until: 0,
            max_bytes,
            span_ms: i64::try_from(span.as_millis()).unwrap_or(i64::MAX),
            needed_from: 0,
            old_end: 0,
            ended: false,
        }
    }

    /// Appends a segment. `tracks` are those decided up to its end, and `watched` is whether the stream has readers. Returns
    /// the evicted segments, to be dropped outside of the lock.
    pub(crate) fn push(
        &mut self,
        segment: Segment,
        tracks: Option<Tracks>,
        watched: bool,
    ) -> Vec<Arc<Segment>> {
        let number = self.end();
        let last = self.segments.back().map(|last| last.end());
        let same_epoch = last.filter(|last| last.epoch == segment.mark.epoch);
        if same_epoch.is_none() {
            self.epoch_start = number;
            self.whole_since = number;
            self.newest_start = None;
            self.reservation.begin_epoch();
        }
        // A publication that another media node had before never counts as whole: viewers that join do not wait for its beginning.
        let (was_whole, expected) = same_epoch.map_or((self.resumed_until == 0, 0), |last| {
            (self.epoch_is_whole, last.sequence)
        });
        let continues = segment.mark.sequence == expected;
        self.epoch_is_whole = was_whole && continues;
        if !continues {
            // The media before a gap can be much older, so viewers that join get nothing of it.
            self.newest_start = None;
            self.whole_since = number;
        }
        self.tracks = tracks;
        let is_without_video = tracks.is_some_and(|tracks| !tracks.video);
        // Without keyframes viewers start with the first message of a segment, which is as old as the first that the relay has sent.
        let reached = if is_without_video {
            segment.mark.sequence
        } else {
            segment.end().sequence
        };
        self.resuming &= reached < self.resumed_until;
        if segment.keyframe || (is_without_video && reached >= self.resumed_until) {
            self.newest_start = Some(number);
        } else if self
            .newest_start
            .is_some_and(|start| !self.is_keyframe(start))
        {
            // A stream without video has got a video track. Viewers start at its first keyframe.
            self.newest_start = None;
        }
        let starts = self.newest_start == Some(number);
        self.reservation.measure(segment.memory(), starts);
        self.bytes += segment.memory();
        self.segments.push_back(Arc::new(segment));
        self.evict(watched)
    }

    /// Lets a stream that has lost its publication reserve no more than the memory of its segments.
    pub(crate) fn settle_reservation(&mut self) {
        self.reservation.settle(self.bytes);
    }

    /// Reviews at each sweep what the stream reserves, `age` after its publication began.
    pub(crate) fn review_reservation(&mut self, age: Duration) {
        self.reservation.settle_first(age);
        self.reservation.sweep(self.bytes);
    }

    /// Evicts the segments that are too old, not needed or too many. Returns them, to be dropped outside of the lock.
    pub(crate) fn evict(&mut self, watched: bool) -> Vec<Arc<Segment>> {
        let shortage = self.memory.shortage();
        let (mut released, mut early) = (0, 0);
        let mut evicted = Vec::new();
        let newest = self.segments.back().map(|last| last.last_age);
        while let (Some(segment), Some(newest)) = (self.segments.front(), newest) {
            let is_last = self.segments.len() == 1;
            let too_many = self.bytes > self.max_bytes && !is_last;
            let old = self.first < self.needed_from || newest - segment.last_age > self.span_ms;
            let needed = self.newest_start.is_some_and(|start| start <= self.first);
            let is_short = shortage.claims_another(self.bytes, released, needed && watched);
            if !too_many && (needed || !old) {
                if !is_short || is_last {
                    break;
                }
                early += 1;
            }
            let bytes = segment.memory();
            self.bytes -= bytes;
            released += bytes;
            evicted.extend(self.segments.pop_front());
            self.first += 1;
            self.newest_start = self.newest_start.filter(|start| *start >= self.first);
        }
        if early > 0 {
            self.memory.count_early_evictions(early);
        }
        evicted
    }

    /// Notes the number after the last segment as it was about a second ago.
    pub(crate) fn set_old_end(&mut self, number: u64) {
        self.old_end = number;
    }

    /// Makes the next appended segment evict those before a number, on the thread that has allocated them: an allocator keeps what
    /// other threads free.
    pub(crate) fn need_from(&mut self, number: u64) {
        self.needed_from = number;
    }

    /// Gives up all segments. Returns them, to be dropped outside of the lock.
    pub(crate) fn give_up(&mut self) -> Vec<Arc<Segment>> {
        self.first = self.end();
        self.bytes = 0;
        self.newest_start = None;
        // With the capacity of the queue: a client can make a segment of a few bytes.
        std::mem::take(&mut self.segments).into()
    }

    /// Ends the stream. Readers get the segments that are left.
    pub(crate) fn end_stream(&mut self) {
        self.ended = true;
        self.reservation.end();
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Returns the number of the first segment.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Returns the number after the last segment's.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.segments.len() as u64
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Arc<Segment>> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.segments.get(at)
    }

    /// Returns the segments from the newest one on.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.iter().rev()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    /// Returns the tracks for the file header of a viewer that starts at a segment.
    pub(crate) fn tracks_at(&self, number: u64) -> Option<Tracks> {
        if number >= self.epoch_start {
            return self.tracks;
        }
        let segment = self.get(number)?;
        let mut tracks = segment.init_data.tracks();
        tracks.video |= segment.keyframe;
        Some(tracks)
    }

    /// Sets the tracks of the newest epoch, when they are decided without a further segment.
    pub(crate) fn set_tracks(&mut self, tracks: Option<Tracks>) {
        self.tracks = tracks;
    }

    /// Returns whether a viewer could start now.
    pub(crate) fn playable(&self) -> bool {
        self.newest_start.is_some() && self.tracks.is_some() && !self.is_over() && !self.resuming
    }

    pub(crate) fn on_air(&self) -> Epoch {
        self.on_air
    }

    pub(crate) fn set_on_air(&mut self, epoch: Epoch) {
        self.on_air = epoch;
    }

    /// Begins a publication. If a relay takes over the newest epoch, viewers that join wait for its first message.
    pub(crate) fn begin(&mut self, by_relay: bool) {
        self.resuming = by_relay && self.newest_epoch() == Some(self.on_air);
        self.resumed_until = 0;
    }

    /// Makes viewers that join wait until the log has the messages before `sequence`. They would begin with the oldest ones.
    pub(crate) fn resume_until(&mut self, sequence: u64) {
        self.resuming = true;
        self.resumed_until = sequence;
    }

    /// Lets viewers join before the relay's first message, which continues the log.
    pub(crate) fn resumed(&mut self) {
        self.resuming = false;
    }

    /// Returns whether the log has no message of the epoch on air yet.
    fn is_over(&self) -> bool {
        self.newest_epoch()
            .is_some_and(|newest| newest < self.on_air)
    }

    /// Returns whether a reader may start that joined when the next segment had the number `joined_at`: the newest epoch is
    /// on air and does not wait for its relay, or began after that.
    pub(crate) fn may_join(&self, joined_at: u64) -> bool {
        let began_since = self.epoch_start >= joined_at && self.resumed_until == 0;
        !(self.is_over() || self.resuming) || began_since
    }

    /// Returns the epoch of the last message.
    pub(crate) fn newest_epoch(&self) -> Option<Epoch> {
        self.segments.back().map(|segment| segment.mark.epoch)
    }

    /// Returns whether another media node has had the beginning of the newest publication.
    pub(crate) fn is_resumed(&self) -> bool {
        self.resumed_until > 0
    }

    fn is_keyframe(&self, number: u64) -> bool {
        self.get(number).is_some_and(|segment| segment.keyframe)
    }
}

#[cfg(test)]
mod tests;
