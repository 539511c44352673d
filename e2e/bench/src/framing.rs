//! What is around FLV on an HTTP connection: nothing, the chunks of HTTP/1.1, or WebSocket frames.

/// A remover of the framing of one response body.
#[derive(Debug)]
pub(crate) enum BodyReader {
    /// The body ends with the connection.
    Plain,
    /// Chunks: what is left of the current one, and its incomplete header.
    Chunked(usize, Vec<u8>),
    /// WebSocket frames, likewise.
    WebSocket(usize, Vec<u8>),
}

/// Larger than any chunk or frame: a length above it is an error.
const MAX_LENGTH: usize = 64 << 20;

impl BodyReader {
    /// Passes what `bytes` hold of the body to `body`.
    pub(crate) fn read(
        &mut self,
        mut bytes: &[u8],
        mut body: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let (left, header, parse) = match self {
            Self::Plain => return body(bytes),
            Self::Chunked(left, header) => (left, header, chunk as Parse),
            Self::WebSocket(left, header) => (left, header, frame as Parse),
        };
        while !bytes.is_empty() {
            if *left > 0 {
                let (part, rest) = bytes.split_at(bytes.len().min(*left));
                body(part)?;
                *left -= part.len();
                bytes = rest;
                continue;
            }
            let (byte, rest) = bytes.split_at(1);
            header.extend_from_slice(byte);
            bytes = rest;
            if let Some(length) = parse(header)? {
                if length > MAX_LENGTH {
                    return Err(format!("a chunk of {length} bytes"));
                }
                *left = length;
                header.clear();
            }
        }
        Ok(())
    }
}

type Parse = fn(&[u8]) -> Result<Option<usize>, String>;

/// Returns a chunk's length when its header is complete.
fn chunk(header: &[u8]) -> Result<Option<usize>, String> {
    let text = String::from_utf8_lossy(header);
    // The line before ends the chunk before.
    let line = text.trim_start_matches("\r\n");
    let Some(digits) = line.strip_suffix("\r\n") else {
        return Ok(None);
    };
    let length = usize::from_str_radix(digits, 16);
    length
        .map(Some)
        .map_err(|_| format!("chunk header {text:?}"))
}

/// Returns a frame's length when its header is complete (RFC 6455, 5.2). A server does not mask its frames.
fn frame(header: &[u8]) -> Result<Option<usize>, String> {
    match *header {
        [first, ..] if ![0x82, 0x02, 0x00, 0x80].contains(&first) => {
            Err(format!("a WebSocket frame {first:#x}"))
        }
        [_, 126, high, low] => Ok(Some(usize::from(u16::from_be_bytes([high, low])))),
        [_, 127, a, b, c, d, e, f, g, h] => {
            let length = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            Ok(Some(usize::try_from(length).unwrap_or(usize::MAX)))
        }
        [_, length] if length < 126 => Ok(Some(usize::from(length))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(mut framing: BodyReader, bytes: &[u8], size: usize) -> Vec<u8> {
        let mut body = Vec::new();
        for part in bytes.chunks(size) {
            let mut add = |part: &[u8]| {
                body.extend_from_slice(part);
                Ok(())
            };
            framing.read(part, &mut add).unwrap();
        }
        body
    }

    #[test]
    fn body_is_the_same_however_the_bytes_are_split() {
        let chunked = b"3\r\nabc\r\n00A\r\n0123456789\r\n";
        let frames = [
            &b"\x82\x03abc\x02\x7e\x00\x04"[..],
            b"0123\x80\x7f\0\0\0\0\0\0\0\x06456789",
        ]
        .concat();
        for size in [1, 2, 3, 100] {
            let read = body(BodyReader::Chunked(0, Vec::new()), chunked, size);
            assert_eq!(read, b"abc0123456789");
            let read = body(BodyReader::WebSocket(0, Vec::new()), &frames, size);
            assert_eq!(read, b"abc0123456789");
            assert_eq!(body(BodyReader::Plain, b"abc", size), b"abc");
        }
    }

    #[test]
    fn other_frames_and_lengths_are_refused() {
        let refused =
            |mut framing: BodyReader, bytes: &[u8]| framing.read(bytes, |_| Ok(())).is_err();
        assert!(refused(BodyReader::Chunked(0, Vec::new()), b"xyz\r\n"));
        assert!(refused(
            BodyReader::Chunked(0, Vec::new()),
            b"FFFFFFFFF\r\n"
        ));
        assert!(refused(BodyReader::WebSocket(0, Vec::new()), b"\x88\x00"));
    }
}
