//! The RTMP form of a segment: a gather list of bytes of its own and of payload ranges in the segment's FLV bytes.
//!
//! Every message begins with a type-0 header, so all viewers share the list. Small payloads are copied behind their headers,
//! so that consecutive ones are one slice. A slice costs as much as copying 1 KB. Large payloads are not copied: a second log
//! of muxed chunks would cost as much memory as the first.

use media_wire::flv::tags;
use media_wire::rtmp::{CHUNK_SIZE, continuation_header, message_header};

/// The length from which a payload is shared instead of copied. A slice of its own costs as much as copying this many bytes.
pub(crate) const SHARED_FROM: usize = 1024;

/// The chunk headers and small payloads of a segment.
#[derive(Debug)]
pub(crate) struct RtmpHeaders {
    copied: Box<[u8]>,
    pieces: Box<[Piece]>,
    len: usize,
}

/// A range of the copied bytes, then a range of the FLV bytes, which can be empty. Segments are far below 4 GiB.
#[derive(Clone, Copy, Debug, Default)]
struct Piece {
    copied_start: u32,
    copied_len: u32,
    payload_start: u32,
    payload_len: u32,
}

impl RtmpHeaders {
    /// Returns the headers of all tags in a segment's FLV bytes.
    pub(crate) fn of(flv: &[u8]) -> Self {
        let mut copied = Vec::new();
        let mut pieces = Vec::new();
        let mut piece = Piece::default();
        for tag in tags(flv) {
            let mut header = message_header(tag.kind, tag.timestamp, narrow(tag.payload.len()));
            let mut payload = tag.payload;
            loop {
                let chunk = payload.start..payload.end.min(payload.start + CHUNK_SIZE);
                payload.start = chunk.end;
                copied.extend_from_slice(&header);
                if chunk.len() < SHARED_FROM {
                    copied.extend_from_slice(flv.get(chunk).unwrap_or_default());
                } else {
                    piece.copied_len = narrow(copied.len()) - piece.copied_start;
                    piece.payload_start = narrow(chunk.start);
                    piece.payload_len = narrow(chunk.len());
                    pieces.push(piece);
                    piece = Piece {
                        copied_start: narrow(copied.len()),
                        ..Piece::default()
                    };
                }
                if payload.is_empty() {
                    break;
                }
                header = continuation_header(tag.kind, tag.timestamp);
            }
        }
        piece.copied_len = narrow(copied.len()) - piece.copied_start;
        if piece.copied_len > 0 {
            pieces.push(piece);
        }
        let shared = pieces.iter().map(|piece| piece.payload_len as usize);
        Self {
            len: copied.len() + shared.sum::<usize>(),
            copied: copied.into(),
            pieces: pieces.into(),
        }
    }

    /// Returns the bytes of all headers and payloads together.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the two slices of a piece, of which the second can be empty.
    pub(crate) fn piece<'a>(&'a self, flv: &'a [u8], number: usize) -> Option<[&'a [u8]; 2]> {
        let piece = self.pieces.get(number)?;
        let copied = piece.copied_start as usize;
        let payload = piece.payload_start as usize;
        Some([
            self.copied
                .get(copied..copied + piece.copied_len as usize)?,
            flv.get(payload..payload + piece.payload_len as usize)?,
        ])
    }
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use media_wire::MediaKind;
    use media_wire::flv::write_tag;
    use media_wire::rtmp::chunk_writer::write_media_message;

    use super::*;

    /// Returns the slices for messages of these lengths, after a check of their bytes.
    fn slices(lengths: &[usize]) -> Vec<usize> {
        let (mut flv, mut rtmp) = (Vec::new(), Vec::new());
        for (number, len) in (0..).zip(lengths) {
            let payload = vec![u8::try_from(number).unwrap(); *len];
            write_tag(&mut flv, MediaKind::Video, number, &payload);
            write_media_message(&mut rtmp, MediaKind::Video, number, &payload);
        }
        let headers = RtmpHeaders::of(&flv);
        let pieces = (0..).map_while(|number| headers.piece(&flv, number));
        let slices: Vec<_> = pieces.flatten().filter(|slice| !slice.is_empty()).collect();
        assert!(slices.concat() == rtmp);
        assert_eq!(headers.len(), rtmp.len());
        slices.iter().map(|slice| slice.len()).collect()
    }

    #[test]
    fn small_messages_are_one_slice_and_large_payloads_are_not_copied() {
        assert_eq!(slices(&[300, 300, 1023]).len(), 1);
        assert_eq!(slices(&[1024]), [12, 1024]);
        assert_eq!(slices(&[300, 5_000, 300, 300, 5_000]).len(), 4);
        assert_eq!(slices(&[5_000, 300]).len(), 3);
    }

    #[test]
    fn long_message_has_slices_for_each_chunk() {
        assert_eq!(slices(&[60_000]), [12, 60_000]);
        assert_eq!(slices(&[60_001]), [12, 60_000, 2]);
        assert_eq!(slices(&[130_000]), [12, 60_000, 1, 60_000, 1, 10_000]);
        assert!(slices(&[]).is_empty());
    }
}
