//! FLV as a load generator reads it: every tag's header and the start of its payload, without keeping or copying the rest.

use media_wire::MediaKind;

use crate::check::StreamCheck;
use crate::clip::CHECKED;
use crate::parts::PartReader;

const FILE_HEADER: usize = 13;
const TAG_HEADER: usize = 11;
const TRAILER: usize = 4;

/// Larger than any tag: a length above it is an error.
const MAX_TAG: usize = 1 << 20;

/// A reader of one FLV stream.
#[derive(Debug, Default)]
pub(crate) struct FlvReader {
    stage: FlvPart,
    /// The header, the start of the payload, or the trailer.
    part: PartReader,
    tag: OpenTag,
}

#[derive(Clone, Copy, Debug, Default)]
struct OpenTag {
    kind: u8,
    size: usize,
    timestamp: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FlvPart {
    #[default]
    FileHeader,
    TagHeader,
    Payload,
    Trailer,
}

impl FlvReader {
    /// Reads bytes and passes each message to `check`. Calls `frame` with the time at which each frame was sent.
    pub(crate) fn read(
        &mut self,
        mut bytes: &[u8],
        check: &mut StreamCheck,
        mut frame: impl FnMut(std::time::Duration),
    ) -> Result<(), String> {
        while self.part.fill(&mut bytes, self.wanted()) {
            if let Some(sent) = self.part_is_complete(check)? {
                frame(sent);
            }
        }
        Ok(())
    }

    /// Bytes of the current part.
    fn wanted(&self) -> usize {
        match self.stage {
            FlvPart::FileHeader => FILE_HEADER,
            FlvPart::TagHeader => TAG_HEADER,
            FlvPart::Payload => self.tag.size.min(CHECKED),
            FlvPart::Trailer => TRAILER,
        }
    }

    fn part_is_complete(
        &mut self,
        check: &mut StreamCheck,
    ) -> Result<Option<std::time::Duration>, String> {
        let (mut sent, mut skip) = (None, 0);
        match (self.stage, self.part.bytes()) {
            (FlvPart::FileHeader, part) => {
                if !part.starts_with(b"FLV\x01") {
                    return Err(format!("no FLV but {part:?}"));
                }
                self.stage = FlvPart::TagHeader;
            }
            (FlvPart::TagHeader, &[kind, s2, s1, s0, t2, t1, t0, t3, ..]) => {
                let size = u32::from_be_bytes([0, s2, s1, s0]) as usize;
                let timestamp = u32::from_be_bytes([t3, t2, t1, t0]);
                if ![8, 9, 18].contains(&kind) || size > MAX_TAG {
                    return Err(format!("a tag of type {kind} and {size} bytes"));
                }
                #[rustfmt::skip]
                let tag = OpenTag { kind, size, timestamp };
                self.tag = tag;
                self.stage = FlvPart::Payload;
            }
            (FlvPart::Payload, payload) => {
                skip = self.tag.size - payload.len();
                self.stage = FlvPart::Trailer;
                let kind = match self.tag.kind {
                    8 => MediaKind::Audio,
                    9 => MediaKind::Video,
                    _ => MediaKind::Data,
                };
                sent = check.message(kind, self.tag.timestamp, payload)?;
            }
            (FlvPart::Trailer, trailer) => {
                let expected = u32::try_from(self.tag.size + TAG_HEADER).unwrap_or_default();
                if trailer != expected.to_be_bytes() {
                    return Err(format!("{trailer:?} follows a tag of {expected} bytes"));
                }
                self.stage = FlvPart::TagHeader;
            }
            (FlvPart::TagHeader, short) => return Err(format!("a tag header of {short:?}")),
        }
        self.part.next(skip);
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clip::{EndlessClip, Sizes, init_data};

    fn stream() -> Vec<u8> {
        let mut bytes = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        let mut clip = EndlessClip::new(Sizes::SMALL);
        let frames = (0..100).map(|_| clip.next().message(Duration::ZERO));
        for message in init_data().into_iter().chain(frames) {
            let (kind, timestamp) = (message.kind, message.timestamp);
            media_wire::flv::write_tag(&mut bytes, kind, timestamp, &message.payload);
        }
        bytes
    }

    #[test]
    fn every_frame_is_found_however_the_bytes_are_split() {
        let stream = stream();
        for size in [1, 2, 7, 12, 1000, stream.len()] {
            let (mut reader, mut check) = (FlvReader::default(), StreamCheck::default());
            let mut frames = 0;
            for part in stream.chunks(size) {
                reader.read(part, &mut check, |_| frames += 1).unwrap();
            }
            assert_eq!((frames, check.gaps), (100, 0), "parts of {size}");
            assert!(check.is_complete());
        }
    }

    #[test]
    fn damage_is_found() {
        let whole = stream();
        for at in [0, 13, 200, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged.remove(at);
            damaged.extend(&whole[13..]);
            let (mut reader, mut check) = (FlvReader::default(), StreamCheck::default());
            let read = reader.read(&damaged, &mut check, |_| {});
            assert!(read.is_err(), "without byte {at}");
        }
    }
}
