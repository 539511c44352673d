//! What a reader sends in one write: a part of the log, by reference.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::segment::Segment;

/// Whole messages to send: a preamble of this reader's own where it needs one, and a segment that all share.
#[derive(Debug)]
pub struct Batch {
    preamble: Bytes,
    segment: Arc<Segment>,
    at: At,
    /// Bytes of the segment that are left.
    left: usize,
    /// The reader was outrun: messages before this batch are lost to it.
    pub skipped: bool,
    /// The batch begins at a keyframe, its preamble aside.
    pub keyframe: bool,
}

/// The next byte of the segment.
#[derive(Clone, Copy, Debug)]
enum At {
    Flv(usize),
    /// A byte of a piece's head and payload; never the one behind them.
    Rtmp {
        piece: usize,
        byte: usize,
    },
}

impl Batch {
    pub(crate) fn flv(
        preamble: Bytes,
        segment: Arc<Segment>,
        offset: usize,
        skipped: bool,
    ) -> Self {
        Self {
            preamble,
            at: At::Flv(offset),
            left: segment.flv().len().saturating_sub(offset),
            skipped,
            keyframe: segment.keyframe && offset == 0,
            segment,
        }
    }

    pub(crate) fn rtmp(preamble: Bytes, segment: Arc<Segment>, skipped: bool) -> Self {
        Self {
            preamble,
            at: At::Rtmp { piece: 0, byte: 0 },
            left: segment.rtmp().len(),
            skipped,
            keyframe: segment.keyframe,
            segment,
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

    /// What is left of the segment, in order.
    fn slices(&self) -> Slices<'_> {
        Slices {
            segment: &self.segment,
            at: self.at,
            left: self.left,
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
        match &mut self.at {
            At::Flv(offset) => *offset += count,
            At::Rtmp { piece, byte } => {
                *byte += count;
                let heads = self.segment.rtmp();
                while let Some([head, payload]) = heads.piece(self.segment.flv(), *piece)
                    && *byte >= head.len() + payload.len()
                {
                    *byte -= head.len() + payload.len();
                    *piece += 1;
                }
            }
        }
    }
}

/// Non-empty slices of a segment.
struct Slices<'a> {
    segment: &'a Segment,
    at: At,
    left: usize,
}

impl<'a> Iterator for Slices<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let slice = match &mut self.at {
            At::Flv(offset) => {
                let slice = self.segment.flv().get(*offset..)?;
                *offset += slice.len();
                slice
            }
            At::Rtmp { piece, byte } => {
                let heads = self.segment.rtmp();
                let [head, payload] = heads.piece(self.segment.flv(), *piece)?;
                match head.get(*byte..) {
                    Some(rest) if !rest.is_empty() => {
                        *byte = head.len();
                        rest
                    }
                    _ => {
                        let rest = payload.get(*byte - head.len()..)?;
                        (*piece, *byte) = (*piece + 1, 0);
                        rest
                    }
                }
            }
        };
        self.left -= slice.len();
        Some(slice)
    }
}
