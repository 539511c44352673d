//! What a reader sends in one write: a part of the log, by reference.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::segment::Segment;

/// Segments of a batch. A reader that is up to date has one; one that joins or lags takes small ones together, so
/// that it needs the fewer writes the more it has to catch up.
const MAX_SEGMENTS: usize = 16;

/// Bytes after which a batch takes no further segment: what a stalled reader keeps alive is the larger of this and one
/// segment.
const MAX_BYTES: usize = 64 << 10;

/// Whole messages to send: a preamble of this reader's own where it needs one, and segments that all share.
#[derive(Debug)]
pub struct Batch {
    preamble: Bytes,
    run: Run,
    /// The segment that the next byte is in.
    segment: usize,
    at: At,
    /// Bytes of the segments that are left.
    left: usize,
    /// The reader lagged behind the log and has lost the messages before this batch.
    pub lagged: bool,
    /// The batch begins at a keyframe, its preamble aside. A keyframe is never inside of a batch.
    pub keyframe: bool,
}

/// Segments that follow each other with nothing to say between them.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) first: Arc<Segment>,
    more: [Option<Arc<Segment>>; MAX_SEGMENTS - 1],
    len: usize,
    bytes: usize,
}

/// The next byte of a segment.
#[derive(Clone, Copy, Debug)]
enum At {
    Flv(usize),
    /// A byte of a piece's head and payload.
    Rtmp {
        piece: usize,
        byte: usize,
    },
}

impl Run {
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

    /// Takes a segment, if it goes on where this ends, and there is room.
    pub(crate) fn push(&mut self, next: &Arc<Segment>) -> bool {
        let last = self.last();
        let fits = self.bytes + next.flv().len() <= MAX_BYTES
            && !next.keyframe
            && last.end() == next.mark
            && last.prelude_after == next.prelude.version();
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
    pub(crate) fn flv(preamble: Bytes, run: Run, offset: usize, lagged: bool) -> Self {
        Self {
            preamble,
            segment: 0,
            at: At::Flv(offset),
            left: run.bytes.saturating_sub(offset),
            lagged,
            keyframe: offset == 0 && run.first.keyframe,
            run,
        }
    }

    pub(crate) fn rtmp(preamble: Bytes, run: Run, lagged: bool) -> Self {
        Self {
            preamble,
            segment: 0,
            at: At::Rtmp { piece: 0, byte: 0 },
            left: run.segments().map(|segment| segment.rtmp().len()).sum(),
            lagged,
            keyframe: run.first.keyframe,
            run,
        }
    }

    /// Bytes that are left.
    pub fn len(&self) -> usize {
        self.preamble.len() + self.left
    }

    /// Whether all is sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is left of the segments, in order.
    fn slices(&self) -> Slices<'_> {
        Slices {
            run: &self.run,
            segment: self.segment,
            at: self.at,
        }
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        if !self.preamble.is_empty() {
            return &self.preamble;
        }
        self.slices().next().unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let preamble = Some(&self.preamble[..]).filter(|preamble| !preamble.is_empty());
        let all = preamble.into_iter().chain(self.slices());
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
        (self.segment, self.at) = (slices.segment, slices.at);
    }
}

/// Walks the slices of segments.
struct Slices<'a> {
    run: &'a Run,
    segment: usize,
    at: At,
}

impl<'a> Slices<'a> {
    /// Goes over bytes that are there.
    fn advance(&mut self, mut count: usize) {
        while count > 0
            && let Some(slice) = self.current()
        {
            let step = count.min(slice.len());
            self.consume(step);
            count -= step;
        }
    }

    /// The slice at the next byte, which is in a further segment if this one has come to its end.
    fn current(&mut self) -> Option<&'a [u8]> {
        loop {
            let segment = self.run.segment(self.segment)?;
            if let Some(slice) = self.of_segment(segment) {
                return Some(slice);
            }
            self.segment += 1;
            self.at = match self.at {
                At::Flv(_) => At::Flv(0),
                At::Rtmp { .. } => At::Rtmp { piece: 0, byte: 0 },
            };
        }
    }

    fn of_segment(&mut self, segment: &'a Segment) -> Option<&'a [u8]> {
        match &mut self.at {
            At::Flv(offset) => segment.flv().get(*offset..).filter(|rest| !rest.is_empty()),
            At::Rtmp { piece, byte } => loop {
                let [head, payload] = segment.rtmp().piece(segment.flv(), *piece)?;
                let rest = match byte.checked_sub(head.len()) {
                    None => head.get(*byte..)?,
                    Some(byte) => payload.get(byte..)?,
                };
                if !rest.is_empty() {
                    return Some(rest);
                }
                (*piece, *byte) = (*piece + 1, 0);
            },
        }
    }

    /// Goes over bytes of the current slice.
    fn consume(&mut self, count: usize) {
        match &mut self.at {
            At::Flv(offset) => *offset += count,
            At::Rtmp { byte, .. } => *byte += count,
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
