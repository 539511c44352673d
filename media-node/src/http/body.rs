//! Body framing of an HTTP-FLV stream. HTTP/1.1 gets chunks, so that a player can distinguish the stream's end from a broken
//! connection (RFC 9112, section 7.1). HTTP/1.0 has no chunks; its body ends with the connection.
//!
//! A batch is one chunk. The chunk header is the frame header of the batch, so that nothing is copied and no work is done for
//! each message.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};

use crate::delivery::framing::{FrameHeader, Framing, ViewerEvent};

/// Body framing of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// Ends with an empty chunk.
    Chunked,
    /// Ends with the connection.
    UntilClosed,
}

impl BodyFraming {
    /// Returns the bytes that end the body.
    pub(super) fn last_bytes(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"0\r\n\r\n",
            Self::UntilClosed => b"",
        }
    }
}

impl Framing for BodyFraming {
    type Error = Infallible;

    /// Returns the chunk header. A batch is never empty; an empty chunk would end the body.
    fn header(&mut self, length: usize) -> FrameHeader {
        let mut header = FrameHeader::default();
        if *self == Self::Chunked {
            let digits = (usize::BITS - length.leading_zeros()).div_ceil(4);
            for digit in (0..digits).rev() {
                let value = length >> (4 * digit) & 0xF;
                header.push(&DIGITS[value..=value]);
            }
            header.push(b"\r\n");
        }
        header
    }

    fn trailer(&self) -> &'static [u8] {
        match self {
            Self::Chunked => b"\r\n",
            Self::UntilClosed => b"",
        }
    }

    /// Discards the input: an HTTP-FLV viewer sends nothing after its request.
    fn receive(&mut self, input: &mut BytesMut) -> Result<Option<ViewerEvent>, Infallible> {
        input.clear();
        Ok(None)
    }

    fn reply(&mut self) -> Option<Bytes> {
        None
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_starts_with_its_length() {
        for length in [1, 9, 15, 16, 255, 256, 65_535, 0x0100_0000, 0xFFFF_FFFF] {
            let header = BodyFraming::Chunked.header(length);
            assert_eq!(&*header, format!("{length:x}\r\n").as_bytes());
        }
        assert!(BodyFraming::UntilClosed.header(100).is_empty());
    }
}
