//! The bytes of a batch before its segments: file header, init data and marks for one reader.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::rtmp_headers::SHARED_FROM;

/// The bytes before the segments of a batch. Clones share them, and large payloads are shared by all readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preamble {
    pieces: VecDeque<Bytes>,
    len: usize,
}

/// A preamble that is being written.
#[derive(Debug, Default)]
pub(crate) struct PreambleWriter {
    pieces: VecDeque<Bytes>,
    /// Bytes after the last piece.
    copied: Vec<u8>,
}

impl PreambleWriter {
    /// Appends a copy of the bytes.
    pub(crate) fn copy(&mut self, bytes: &[u8]) {
        self.copied.extend_from_slice(bytes);
    }

    /// Appends a payload, without a copy if it is large.
    pub(crate) fn share(&mut self, payload: Bytes) {
        if payload.len() < SHARED_FROM {
            return self.copy(&payload);
        }
        self.finish_piece();
        self.pieces.push_back(payload);
    }

    /// Returns the preamble, or `None` if nothing was written.
    pub(crate) fn finish(mut self) -> Option<Preamble> {
        self.finish_piece();
        let written = !self.pieces.is_empty();
        written.then(|| Preamble {
            len: self.pieces.iter().map(Bytes::len).sum(),
            pieces: self.pieces,
        })
    }

    fn finish_piece(&mut self) {
        if !self.copied.is_empty() {
            let copied = std::mem::take(&mut self.copied);
            self.pieces.push_back(copied.into());
        }
    }
}

impl Preamble {
    /// Returns the number of bytes that are left.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the slices that are left. None is empty.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(|piece| &piece[..])
    }

    /// Skips bytes. `count` is at most the number of bytes that are left.
    pub(crate) fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(piece) = self.pieces.front_mut()
            && count > 0
        {
            let step = count.min(piece.len());
            piece.advance(step);
            count -= step;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}
