//! A run: consecutive segments that a reader sends in one write. The viewers of a worker share one.

use std::sync::{Arc, Mutex};

use crate::lock::lock;
use crate::segment::Segment;

/// The maximum number of segments in a run. A reader that is up to date has one. A reader that joins or lags takes small
/// segments together, so it needs fewer writes the more it has to catch up.
const MAX_SEGMENTS: usize = 16;

/// The size up to which a run takes further segments. It keeps a burst from becoming one large write. A stalled reader keeps at
/// most this much, or one segment, alive.
const MAX_BYTES: usize = 256 << 10;

/// Consecutive segments that need no mark and no init data between them.
#[derive(Debug)]
pub(crate) struct SegmentRun {
    pub(crate) first: Arc<Segment>,
    more: [Option<Arc<Segment>>; MAX_SEGMENTS - 1],
    len: usize,
    bytes: usize,
}

impl SegmentRun {
    pub(crate) fn new(first: Arc<Segment>) -> Self {
        Self {
            bytes: first.flv().len(),
            first,
            more: Default::default(),
            len: 1,
        }
    }

    pub(crate) fn last(&self) -> &Segment {
        let more = self.more.get(..self.len - 1).and_then(<[_]>::last);
        more.and_then(Option::as_ref).unwrap_or(&self.first)
    }

    /// Returns the length of the FLV tags.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a segment if it follows the last one and fits. Returns whether it did.
    pub(crate) fn push(&mut self, next: &Arc<Segment>) -> bool {
        let last = self.last();
        let fits = self.bytes + next.flv().len() <= MAX_BYTES
            && !next.keyframe
            && last.end() == next.mark
            && last.init_version_after == next.init_data.version();
        let Some(slot) = self.more.get_mut(self.len - 1).filter(|_| fits) else {
            return false;
        };
        self.bytes += next.flv().len();
        *slot = Some(Arc::clone(next));
        self.len += 1;
        true
    }

    pub(crate) fn segment(&self, number: usize) -> Option<&Segment> {
        match number.checked_sub(1) {
            None => Some(&self.first),
            Some(more) => self.more.get(more)?.as_deref(),
        }
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        (0..self.len).filter_map(|number| self.segment(number))
    }
}

/// The newest run of a worker's viewers. All of them that are up to date read the same one: the first takes it from the log,
/// and the others share it without the log's lock and without a counter that another core changes.
///
/// Aligned to two cache lines, which processors fetch together.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct NewestRun(Mutex<Option<PlacedRun>>);

/// A run and its place in the log.
#[derive(Clone, Debug)]
pub(crate) struct PlacedRun {
    pub(crate) run: Arc<SegmentRun>,
    /// The number of notifications of the worker when it was taken.
    pub(crate) notifications: u64,
    /// The number of the segment at which its readers were.
    pub(crate) from: u64,
    /// The number of the segment after it.
    pub(crate) next: u64,
    /// The notifications that its readers have seen after it, as in the cursor.
    pub(crate) seen: u64,
}

impl NewestRun {
    /// Returns the run that begins at a segment, if it was taken after the same notification.
    pub(crate) fn at(&self, from: u64, notifications: u64) -> Option<PlacedRun> {
        let newest = lock(&self.0);
        let found = newest
            .as_ref()
            .filter(|placed| placed.from == from && placed.notifications == notifications);
        found.cloned()
    }

    /// Returns the number of the segment after the run.
    pub(crate) fn next(&self) -> Option<u64> {
        lock(&self.0).as_ref().map(|placed| placed.next)
    }

    /// Replaces the run.
    pub(crate) fn set(&self, placed: Option<PlacedRun>) {
        let former = std::mem::replace(&mut *lock(&self.0), placed);
        // Outside of the lock, because it can be the last reference to large segments.
        drop(former);
    }
}
