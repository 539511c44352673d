//! A batch: the part of the log that a reader sends in one write, by reference.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Buf;

use crate::preamble::Preamble;
use crate::segment::Segment;

/// The maximum number of segments in a batch. A reader that is up to date has one. A reader that joins or lags takes small
/// segments together, so it needs fewer writes the more it has to catch up.
const MAX_SEGMENTS: usize = 16;

/// The size up to which a batch takes further segments. A stalled reader keeps at most this much alive, or one segment.
const MAX_BYTES: usize = 64 << 10;

/// Whole messages to send: a preamble for this reader alone, if it needs one, and segments that all readers share.
#[derive(Debug)]
pub struct Batch {
    preamble: Preamble,
    run: SegmentRun,
    /// The index of the segment with the next byte.
    segment: usize,
    offset: SegmentOffset,
    /// Bytes of the segments that are left.
    left: usize,
    /// The reader lagged behind the log and has lost the messages before this batch.
    pub lagged: bool,
    /// The log was renewed since the reader's last batch: its timestamps begin again.
    pub renewed: bool,
    /// The batch begins with a keyframe after its preamble. A keyframe is never inside a batch.
    pub keyframe: bool,
}

/// Consecutive segments that need no mark and no init data between them.
#[derive(Debug)]
pub(crate) struct SegmentRun {
    pub(crate) first: Arc<Segment>,
    more: [Option<Arc<Segment>>; MAX_SEGMENTS - 1],
    len: usize,
    bytes: usize,
}

/// The next byte of a segment.
#[derive(Clone, Copy, Debug)]
enum SegmentOffset {
    Flv(usize),
    /// A byte of a chunk's header and payload.
    Rtmp {
        chunk: usize,
        byte: usize,
    },
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

    fn segment(&self, number: usize) -> Option<&Segment> {
        match number.checked_sub(1) {
            None => Some(&self.first),
            Some(more) => self.more.get(more)?.as_deref(),
        }
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        (0..self.len).filter_map(|number| self.segment(number))
    }
}

impl Batch {
    pub(crate) fn flv(preamble: Preamble, run: SegmentRun, offset: usize, lagged: bool) -> Self {
        Self {
            preamble,
            segment: 0,
            offset: SegmentOffset::Flv(offset),
            left: run.bytes.saturating_sub(offset),
            lagged,
            renewed: false,
            keyframe: offset == 0 && run.first.keyframe,
            run,
        }
    }

    pub(crate) fn rtmp(preamble: Preamble, run: SegmentRun, lagged: bool) -> Self {
        Self {
            preamble,
            segment: 0,
            offset: SegmentOffset::Rtmp { chunk: 0, byte: 0 },
            left: run.segments().map(|segment| segment.rtmp().len()).sum(),
            lagged,
            renewed: false,
            keyframe: run.first.keyframe,
            run,
        }
    }

    /// Returns the number of bytes that are left.
    pub fn len(&self) -> usize {
        self.preamble.len() + self.left
    }

    /// Returns whether everything is sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the slices of the segments that are left, in order.
    fn slices(&self) -> Slices<'_> {
        Slices {
            run: &self.run,
            segment: self.segment,
            offset: self.offset,
        }
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        let mut all = self.preamble.slices().chain(self.slices());
        all.next().unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let all = self.preamble.slices().chain(self.slices());
        slices
            .iter_mut()
            .zip(all)
            .map(|(slot, slice)| *slot = IoSlice::new(slice))
            .count()
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "advanced past the end");
        let of_preamble = count.min(self.preamble.len());
        self.preamble.advance(of_preamble);
        let count = count - of_preamble;
        self.left -= count;
        let mut slices = self.slices();
        slices.advance(count);
        (self.segment, self.offset) = (slices.segment, slices.offset);
    }
}

/// An iterator over the slices of segments.
struct Slices<'a> {
    run: &'a SegmentRun,
    segment: usize,
    offset: SegmentOffset,
}

impl<'a> Slices<'a> {
    /// Skips bytes. `count` is at most the number of bytes that are left.
    fn advance(&mut self, mut count: usize) {
        while count > 0
            && let Some(slice) = self.current()
        {
            let step = count.min(slice.len());
            self.consume(step);
            count -= step;
        }
    }

    /// Returns the slice at the next byte. It moves on to the next segment at the end of one.
    fn current(&mut self) -> Option<&'a [u8]> {
        loop {
            let segment = self.run.segment(self.segment)?;
            if let Some(slice) = self.of_segment(segment) {
                return Some(slice);
            }
            self.segment += 1;
            self.offset = match self.offset {
                SegmentOffset::Flv(_) => SegmentOffset::Flv(0),
                SegmentOffset::Rtmp { .. } => SegmentOffset::Rtmp { chunk: 0, byte: 0 },
            };
        }
    }

    fn of_segment(&mut self, segment: &'a Segment) -> Option<&'a [u8]> {
        match &mut self.offset {
            SegmentOffset::Flv(offset) => {
                segment.flv().get(*offset..).filter(|rest| !rest.is_empty())
            }
            SegmentOffset::Rtmp { chunk, byte } => loop {
                let [header, payload] = segment.rtmp().chunk(segment.flv(), *chunk)?;
                let rest = match byte.checked_sub(header.len()) {
                    None => header.get(*byte..)?,
                    Some(byte) => payload.get(byte..)?,
                };
                if !rest.is_empty() {
                    return Some(rest);
                }
                (*chunk, *byte) = (*chunk + 1, 0);
            },
        }
    }

    /// Skips bytes of the current slice.
    fn consume(&mut self, count: usize) {
        match &mut self.offset {
            SegmentOffset::Flv(offset) => *offset += count,
            SegmentOffset::Rtmp { byte, .. } => *byte += count,
        }
    }
}

impl<'a> Iterator for Slices<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let slice = self.current()?;
        self.consume(slice.len());
        Some(slice)
    }
}
