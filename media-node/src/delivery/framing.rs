//! A protocol's framing of a stream: the bytes around each batch, and what a viewer may send.

use std::io::Cursor;
use std::ops::Deref;

use bytes::{Buf, Bytes, BytesMut};
use media_engine::Batch;

/// A protocol's framing of a stream: bytes around each batch, and the messages of the viewer.
pub(crate) trait Framing {
    /// Reason that a viewer's message cannot be read.
    type Error: std::error::Error;

    /// Returns the bytes before a batch of this length.
    fn header(&mut self, length: usize) -> FrameHeader;

    /// Returns the bytes after each batch.
    fn trailer(&self) -> &'static [u8] {
        b""
    }

    /// Reads one message of the viewer; called until it returns `None`.
    fn receive(&mut self, input: &mut BytesMut) -> Result<Option<ViewerEvent>, Self::Error>;

    /// Returns whether the viewer has begun a message and takes too long to complete it. Asked before each batch.
    fn is_overdue(&mut self) -> bool {
        false
    }

    /// Returns bytes to send between two batches; called until it returns `None`.
    fn reply(&mut self) -> Option<Bytes>;
}

/// A message of a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewerEvent {
    /// Does not affect the stream.
    Other,
    /// Pauses the stream.
    Pause,
    /// Ends the stream.
    Stop,
}

/// The few bytes before a batch.
#[derive(Clone, Copy, Default)]
pub(crate) struct FrameHeader {
    bytes: [u8; 10],
    length: u8,
}

impl FrameHeader {
    /// Appends bytes; those that do not fit are dropped.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(next) = self.bytes.get_mut(usize::from(self.length)) {
                *next = *byte;
                self.length += 1;
            }
        }
    }
}

impl AsRef<[u8]> for FrameHeader {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for FrameHeader {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

/// Returns a batch with the protocol's bytes around it.
pub(crate) fn framed<F: Framing>(framing: &mut F, batch: Batch) -> impl Buf + use<F> {
    let header = Cursor::new(framing.header(batch.remaining()));
    header.chain(batch).chain(framing.trailer())
}
