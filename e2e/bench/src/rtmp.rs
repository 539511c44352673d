//! RTMP as a load generator reads it: every chunk's header and the start of each message, without keeping or copying the rest
//! (Adobe's RTMP specification 1.0, 5.3.1).

use std::time::Duration;

use media_wire::MediaKind;

use crate::check::StreamCheck;
use crate::clip::CHECKED;
use crate::parts::PartReader;

/// What a server sends before its chunks: a byte for the version, and two blocks.
const HANDSHAKE: usize = 1 + 2 * 1536;

/// The size of chunks before any announcement, and the smallest that a server should announce (5.4.1).
const MIN_CHUNK_SIZE: usize = 128;

/// Larger than any message: a length above it is an error.
const MAX_MESSAGE: usize = 1 << 20;

const EXTENDED: u32 = 0xFF_FFFF;

const SET_CHUNK_SIZE: u8 = 1;

/// A reader of what a server sends on one connection.
#[derive(Debug)]
pub(crate) struct RtmpReader {
    part: PartReader,
    /// The chunk stream whose payload is being read. `None` while a header is.
    open: Option<usize>,
    chunk_size: usize,
    streams: Vec<ChunkStream>,
}

/// The current message of a chunk stream.
#[derive(Clone, Copy, Debug, Default)]
struct ChunkStream {
    id: u16,
    kind: u8,
    length: usize,
    timestamp: u32,
    delta: u32,
    is_extended: bool,
    /// Payload bytes of later chunks.
    left: usize,
}

impl Default for RtmpReader {
    fn default() -> Self {
        let mut part = PartReader::default();
        part.next(HANDSHAKE);
        Self {
            part,
            open: None,
            chunk_size: MIN_CHUNK_SIZE,
            streams: Vec::new(),
        }
    }
}

impl RtmpReader {
    /// Reads bytes and passes each message to `check`. Calls `frame` with the time at which each frame was sent.
    pub(crate) fn read(
        &mut self,
        mut bytes: &[u8],
        check: &mut StreamCheck,
        mut frame: impl FnMut(Duration),
    ) -> Result<(), String> {
        loop {
            let wanted = self.wanted();
            if !self.part.fill(&mut bytes, wanted) {
                return Ok(());
            }
            // A header says how long it is.
            if self.wanted() > wanted {
                continue;
            }
            if let Some(index) = self.open.take() {
                if let Some(sent) = self.payload(index, check)? {
                    frame(sent);
                }
            } else {
                self.header()?;
            }
        }
    }

    /// Bytes of the current part, as far as is known.
    fn wanted(&self) -> usize {
        if let Some(stream) = self.open.and_then(|index| self.streams.get(index)) {
            let begins = stream.left == stream.length;
            return if begins {
                stream.length.min(CHECKED)
            } else {
                0
            };
        }
        let header = self.part.bytes();
        let Some((format, id_bytes)) = header.first().map(|first| basic_header(*first)) else {
            return 1;
        };
        let size = id_bytes + message_header(format);
        let Some(fields) = header.get(id_bytes..size) else {
            return size;
        };
        let is_extended = match *fields {
            [a, b, c, ..] => u32::from_be_bytes([0, a, b, c]) == EXTENDED,
            _ => self
                .find(chunk_stream_id(header))
                .is_some_and(|(_, stream)| stream.is_extended),
        };
        size + if is_extended { 4 } else { 0 }
    }

    fn find(&self, id: u16) -> Option<(usize, &ChunkStream)> {
        let mut streams = self.streams.iter().enumerate();
        streams.find(|(_, stream)| stream.id == id)
    }

    fn header(&mut self) -> Result<(), String> {
        let header = self.part.bytes();
        let id = chunk_stream_id(header);
        let (format, id_bytes) = basic_header(header.first().copied().unwrap_or_default());
        let found = self.find(id).map(|(index, stream)| (index, *stream));
        let (index, mut stream) = match found {
            Some(found) => found,
            None if format == 0 => (self.streams.len(), ChunkStream::default()),
            None => return Err(format!("chunk stream {id} starts with type {format}")),
        };
        let (fields, extended) = header
            .get(id_bytes..)
            .and_then(|rest| rest.split_at_checked(message_header(format)))
            .unwrap_or_default();
        if let &[a, b, c, ref rest @ ..] = fields {
            stream.is_extended = !extended.is_empty();
            let extended = extended.first_chunk().copied().map(u32::from_be_bytes);
            stream.delta = extended.unwrap_or(u32::from_be_bytes([0, a, b, c]));
            if let &[a, b, c, kind, ..] = rest {
                stream.length = u32::from_be_bytes([0, a, b, c]) as usize;
                stream.kind = kind;
            }
        }
        if stream.left == 0 {
            stream.left = stream.length;
            let before = if format == 0 { 0 } else { stream.timestamp };
            stream.timestamp = before.wrapping_add(stream.delta);
        }
        if stream.length > MAX_MESSAGE {
            return Err(format!("a message of {} bytes", stream.length));
        }
        stream.id = id;
        if index == self.streams.len() {
            self.streams.push(stream);
        } else if let Some(slot) = self.streams.get_mut(index) {
            *slot = stream;
        }
        self.open = Some(index);
        self.part.next(0);
        Ok(())
    }

    /// Takes the payload of a chunk. Returns when the frame was sent that begins with it.
    fn payload(
        &mut self,
        index: usize,
        check: &mut StreamCheck,
    ) -> Result<Option<Duration>, String> {
        let stream = self.streams.get_mut(index).ok_or("no chunk stream")?;
        let begins = stream.left == stream.length;
        let size = stream.left.min(self.chunk_size);
        stream.left -= size;
        let payload = self.part.bytes();
        let kind = match stream.kind {
            _ if !begins => None,
            SET_CHUNK_SIZE => {
                let size = payload.first_chunk().copied().map(u32::from_be_bytes);
                self.chunk_size = size.unwrap_or_default() as usize;
                if self.chunk_size < MIN_CHUNK_SIZE {
                    return Err(format!("chunks of {} bytes", self.chunk_size));
                }
                None
            }
            8 => Some(MediaKind::Audio),
            9 => Some(MediaKind::Video),
            _ => None,
        };
        let checked = match kind {
            Some(kind) => check.message(kind, stream.timestamp, payload)?,
            None => None,
        };
        let skip = size - payload.len();
        self.part.next(skip);
        Ok(checked)
    }
}

/// Returns the format of a chunk and the bytes of its basic header (5.3.1.1).
fn basic_header(first: u8) -> (u8, usize) {
    let id_bytes = match first & 0x3F {
        0 => 2,
        1 => 3,
        _ => 1,
    };
    (first >> 6, id_bytes)
}

/// Returns the bytes of a message header (5.3.1.2).
fn message_header(format: u8) -> usize {
    match format {
        0 => 11,
        1 => 7,
        2 => 3,
        _ => 0,
    }
}

fn chunk_stream_id(header: &[u8]) -> u16 {
    match *header {
        [first, second, ..] if first & 0x3F == 0 => 64 + u16::from(second),
        [first, second, third, ..] if first & 0x3F == 1 => {
            u16::from_le_bytes([second, third]).saturating_add(64)
        }
        [first, ..] => u16::from(first & 0x3F),
        [] => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::{EndlessClip, Sizes, init_data};
    use media_wire::rtmp::write_media_message;

    /// What a server sends with the first timestamp of its media.
    fn stream(first_timestamp: u32) -> Vec<u8> {
        let mut bytes = vec![3; HANDSHAKE];
        bytes.extend(b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\xEA\x60");
        let mut clip = EndlessClip::new(Sizes::LARGE);
        let frames = (0..100).map(|_| clip.next().message(Duration::ZERO));
        for message in init_data().into_iter().chain(frames) {
            let timestamp = first_timestamp + message.timestamp;
            write_media_message(&mut bytes, message.kind, timestamp, &message.payload);
        }
        bytes
    }

    fn read(stream: &[u8], size: usize) -> Result<(u64, u64), String> {
        let (mut reader, mut check) = (RtmpReader::default(), StreamCheck::default());
        let mut frames = 0;
        for part in stream.chunks(size) {
            reader.read(part, &mut check, |_| frames += 1)?;
        }
        Ok((frames, check.gaps))
    }

    #[test]
    fn every_frame_is_found_however_the_bytes_are_split() {
        for first_timestamp in [0, 0xFF_FF00] {
            let stream = stream(first_timestamp);
            for size in [1, 2, 7, 12, 1000, stream.len()] {
                assert_eq!(read(&stream, size), Ok((100, 0)), "parts of {size}");
            }
        }
    }

    #[test]
    fn short_headers_repeat_what_they_leave_out() {
        let whole = stream(0);
        let (before, _) = whole.split_at(HANDSHAKE);
        let keyframe = |number: u8| {
            let mut payload = vec![0x17, 1, 0, 0, 0, 0, 0, 0, number];
            payload.resize(40, 0);
            payload
        };
        let mut bytes = before.to_vec();
        // A full header, one with a difference of time, and one without anything.
        for (header, number) in [
            (&b"\x06\0\0\x10\0\0\x28\x09\x01\0\0\0"[..], 1),
            (b"\x86\0\0\x05", 2),
            (b"\xC6", 3),
        ] {
            bytes.extend(header);
            bytes.extend(keyframe(number));
        }
        assert_eq!(read(&bytes, 1), Ok((3, 0)));
    }

    #[test]
    fn damage_is_found() {
        let mut damaged = stream(0);
        damaged.remove(HANDSHAKE + 20);
        assert!(read(&damaged, 1000).is_err());
    }
}
