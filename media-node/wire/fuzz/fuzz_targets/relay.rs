//! Relay streams: the same items or the same error however the bytes are split, each message with its own sequence.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use media_wire::MediaKind;
use media_wire::flv::{Tracks, file_header, write_tag};
use media_wire::relay::{Epoch, Mark, RelayError, RelayItem, RelayReader};

#[derive(Arbitrary, Debug)]
struct RelayInput<'a> {
    step: u8,
    parts: Vec<StreamPart<'a>>,
}

#[derive(Arbitrary, Debug)]
enum StreamPart<'a> {
    Mark {
        epoch: u64,
        sequence: u64,
        shift: u32,
    },
    Tag {
        kind: u8,
        timestamp: u32,
        payload: &'a [u8],
    },
    Bytes(&'a [u8]),
}

impl StreamPart<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Mark {
                epoch,
                sequence,
                shift,
            } => {
                let epoch = Epoch(epoch);
                let mark = Mark {
                    epoch,
                    sequence,
                    shift,
                };
                out.extend_from_slice(&mark.encode());
            }
            Self::Tag {
                kind,
                timestamp,
                payload,
            } => {
                let kinds = [MediaKind::Audio, MediaKind::Video, MediaKind::Data];
                write_tag(out, kinds[usize::from(kind) % 3], timestamp, payload);
            }
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }
}

fuzz_target!(|input: RelayInput| {
    let mut bytes = file_header(Tracks::default()).to_vec();
    input.parts.iter().for_each(|part| part.write(&mut bytes));
    let whole = read(&bytes, bytes.len());
    assert_eq!(whole, read(&bytes, usize::from(input.step).max(1)));
    assert!(
        matches!(whole.0.first(), None | Some(RelayItem::Epoch(_))),
        "a message before the first mark"
    );
});

fn read(bytes: &[u8], step: usize) -> (Vec<RelayItem>, Option<RelayError>) {
    let mut reader = RelayReader::new(10_000);
    let mut items = Vec::new();
    for piece in bytes.chunks(step) {
        reader.feed(Bytes::copy_from_slice(piece));
        loop {
            match reader.receive() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error)),
            }
        }
    }
    (items, None)
}
