//! A batch: the part of the log that a reader sends in one write, by reference.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Buf;

use crate::preamble::Preamble;
use crate::segment::Segment;
use crate::segment_run::SegmentRun;

/// Whole messages to send: a preamble for this reader alone, if it needs one, and segments that all readers share.
#[derive(Debug)]
pub struct Batch {
    /// Boxed, because most batches have none, and the future of every viewer has room for a batch.
    preamble: Option<Box<Preamble>>,
    run: Arc<SegmentRun>,
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

/// The next byte of a segment.
#[derive(Clone, Copy, Debug)]
enum SegmentOffset {
    Flv(usize),
    /// A byte of a piece's two slices.
    Rtmp {
        piece: usize,
        byte: usize,
    },
}

impl Batch {
    pub(crate) fn flv(
        preamble: Option<Preamble>,
        run: Arc<SegmentRun>,
        offset: usize,
        lagged: bool,
    ) -> Self {
        Self {
            preamble: preamble.map(Box::new),
            segment: 0,
            offset: SegmentOffset::Flv(offset),
            left: run.bytes().saturating_sub(offset),
            lagged,
            renewed: false,
            keyframe: offset == 0 && run.first.keyframe,
            run,
        }
    }

    pub(crate) fn rtmp(preamble: Option<Preamble>, run: Arc<SegmentRun>, lagged: bool) -> Self {
        Self {
            preamble: preamble.map(Box::new),
            segment: 0,
            offset: SegmentOffset::Rtmp { piece: 0, byte: 0 },
            left: run.segments().map(|segment| segment.rtmp().len()).sum(),
            lagged,
            renewed: false,
            keyframe: run.first.keyframe,
            run,
        }
    }

    /// Returns the media time from the log's beginning to the batch's first message, in milliseconds.
    pub fn begin(&self) -> i64 {
        self.run.first.first_age
    }

    /// Returns the media time from the log's beginning to the batch's last message, in milliseconds.
    pub fn end(&self) -> i64 {
        self.run.last().last_age
    }

    /// Returns the number of bytes that are left.
    pub fn len(&self) -> usize {
        self.preamble_len() + self.left
    }

    /// Returns whether everything is sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn preamble_len(&self) -> usize {
        self.preamble.as_ref().map_or(0, |preamble| preamble.len())
    }

    /// Returns all slices that are left, in order.
    fn all_slices(&self) -> impl Iterator<Item = &[u8]> {
        let preamble = self.preamble.iter();
        let preamble = preamble.flat_map(|preamble| preamble.slices());
        preamble.chain(self.slices())
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
        self.all_slices().next().unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        slices
            .iter_mut()
            .zip(self.all_slices())
            .map(|(slot, slice)| *slot = IoSlice::new(slice))
            .count()
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "advanced past the end");
        let in_preamble = count.min(self.preamble_len());
        if let Some(preamble) = &mut self.preamble {
            preamble.advance(in_preamble);
        }
        let count = count - in_preamble;
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
                SegmentOffset::Rtmp { .. } => SegmentOffset::Rtmp { piece: 0, byte: 0 },
            };
        }
    }

    fn of_segment(&mut self, segment: &'a Segment) -> Option<&'a [u8]> {
        match &mut self.offset {
            SegmentOffset::Flv(offset) => {
                segment.flv().get(*offset..).filter(|rest| !rest.is_empty())
            }
            SegmentOffset::Rtmp { piece, byte } => loop {
                let [copied, payload] = segment.rtmp().piece(segment.flv(), *piece)?;
                let rest = match byte.checked_sub(copied.len()) {
                    None => copied.get(*byte..)?,
                    Some(byte) => payload.get(byte..)?,
                };
                if !rest.is_empty() {
                    return Some(rest);
                }
                (*piece, *byte) = (*piece + 1, 0);
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
