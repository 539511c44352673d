//! The body of a stream by HTTP: in chunks for HTTP/1.1, so that a player can tell the stream's end from a connection that broke
//! (RFC 9112, section 7.1); for HTTP/1.0, which knows no chunks, all that comes until the connection is closed.
//!
//! A batch is one chunk. Its head takes the place that each viewer has before a batch, so that nothing is copied and nothing
//! is done for each message.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};

use crate::delivery::viewer::{Dialect, Heard, Prefix};

/// How a client finds the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// By a chunk of no bytes.
    Chunked,
    /// By the end of the connection.
    UntilClosed,
}

impl Body {
    /// What is sent behind the last batch.
    pub(crate) fn end(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"0\r\n\r\n",
            Self::UntilClosed => b"",
        }
    }
}

impl Dialect for Body {
    type Error = Infallible;

    /// A batch is never empty: a chunk of no bytes would be the end.
    fn prefix(&mut self, length: usize) -> Prefix {
        let mut prefix = Prefix::default();
        if *self == Self::Chunked {
            let digits = (usize::BITS - length.leading_zeros()).div_ceil(4);
            for digit in (0..digits).rev() {
                let value = length >> (4 * digit) & 0xF;
                prefix.push(&DIGITS[value..=value]);
            }
            prefix.push(b"\r\n");
        }
        prefix
    }

    fn suffix(&self) -> &'static [u8] {
        match self {
            Self::Chunked => b"\r\n",
            Self::UntilClosed => b"",
        }
    }

    /// A viewer has nothing to say.
    fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Heard>, Infallible> {
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
    fn a_chunk_begins_with_its_length() {
        for length in [1, 9, 15, 16, 255, 256, 65_535, 0x0100_0000, 0xFFFF_FFFF] {
            let prefix = Body::Chunked.prefix(length);
            assert_eq!(&*prefix, format!("{length:x}\r\n").as_bytes());
        }
        assert!(Body::UntilClosed.prefix(100).is_empty());
    }
}
