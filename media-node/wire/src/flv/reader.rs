//! Reading an FLV byte stream tag by tag.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use super::{
    FLAG_AUDIO, FLAG_VIDEO, MAX_PAYLOAD, PREVIOUS_TAG_SIZE_LEN, TAG_HEADER_LEN, TagHeader, Tracks,
    kind,
};
use crate::{MediaKind, Message};

/// A reader of an FLV byte stream.
#[derive(Debug)]
pub struct TagReader {
    max_payload: usize,
    state: TagReaderState,
}

#[derive(Debug)]
enum TagReaderState {
    FileHeader,
    /// This many bytes are left of a file header that is longer than ours, or of a tag of an unknown type.
    Skipping(usize),
    TagHeader,
    Payload(MediaKind, TagHeader),
}

/// An element of an FLV byte stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlvItem {
    /// The file header.
    Header(Tracks),
    /// A tag.
    Tag(Message),
}

/// An error of an FLV byte stream.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FlvError {
    /// The first bytes are no file header of version 1.
    #[error("the stream starts with {0:02x?} and not with an FLV header")]
    NotFlv([u8; 4]),
    /// The file header has an impossible size.
    #[error("an FLV header of {0} bytes")]
    HeaderSize(u32),
    /// A tag is larger than the limit.
    #[error("a tag of {len} bytes is above the limit of {limit}")]
    TooLong {
        /// The announced size.
        len: usize,
        /// The largest size that is allowed.
        limit: usize,
    },
    /// A tag is encrypted.
    #[error("an encrypted tag")]
    Encrypted,
}

impl TagReader {
    /// Returns a reader that starts at the file header and refuses tags with a larger payload.
    pub fn new(max_tag_bytes: usize) -> Self {
        Self {
            max_payload: max_tag_bytes.min(MAX_PAYLOAD),
            state: TagReaderState::FileHeader,
        }
    }

    /// Takes the next item off the front of `input`. Returns `None` when more bytes are needed.
    ///
    /// # Guarantees
    /// A payload is split off `input` without being copied. `input` never has to grow beyond one tag.
    ///
    /// # Errors
    /// When the bytes are not FLV. The reader must not be used afterwards.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<FlvItem>, FlvError> {
        loop {
            match self.state {
                TagReaderState::FileHeader => {
                    let Some(header) = take::<9>(input) else {
                        return Ok(None);
                    };
                    let (tracks, rest) = parse_file_header(header)?;
                    self.state = TagReaderState::Skipping(rest);
                    return Ok(Some(FlvItem::Header(tracks)));
                }
                TagReaderState::Skipping(left) => {
                    let skipped = left.min(input.len());
                    input.advance(skipped);
                    if skipped < left {
                        self.state = TagReaderState::Skipping(left - skipped);
                        return Ok(None);
                    }
                    self.state = TagReaderState::TagHeader;
                }
                TagReaderState::TagHeader => {
                    let Some(header) = take::<TAG_HEADER_LEN>(input) else {
                        return Ok(None);
                    };
                    self.state = self.after_header(TagHeader::parse(header))?;
                }
                TagReaderState::Payload(kind, header) => {
                    let Some(payload) = take_payload(header.len, input) else {
                        return Ok(None);
                    };
                    self.state = TagReaderState::TagHeader;
                    return Ok(Some(FlvItem::Tag(Message {
                        kind,
                        timestamp: header.timestamp,
                        payload,
                    })));
                }
            }
        }
    }

    fn after_header(&self, header: TagHeader) -> Result<TagReaderState, FlvError> {
        let len = header.len;
        if header.tag_type & ENCRYPTED != 0 {
            return Err(FlvError::Encrypted);
        }
        let Some(kind) = kind(header.tag_type) else {
            return Ok(TagReaderState::Skipping(len + PREVIOUS_TAG_SIZE_LEN));
        };
        if len > self.max_payload {
            let limit = self.max_payload;
            return Err(FlvError::TooLong { len, limit });
        }
        Ok(TagReaderState::Payload(kind, header))
    }
}

/// The flag of an encrypted tag (E.4.1, Filter).
const ENCRYPTED: u8 = 0x20;

/// The largest file header. No known writer's header exceeds 9 bytes, so a larger size is an error and not a long header.
const MAX_FILE_HEADER: u32 = 1024;

/// Parses the nine bytes of a file header. Returns the tracks and the number of bytes before the first tag.
fn parse_file_header(header: [u8; 9]) -> Result<(Tracks, usize), FlvError> {
    let [f, l, v, version, flags, s3, s2, s1, s0] = header;
    if [f, l, v, version] != *b"FLV\x01" {
        return Err(FlvError::NotFlv([f, l, v, version]));
    }
    let size = u32::from_be_bytes([s3, s2, s1, s0]);
    if !(9..=MAX_FILE_HEADER).contains(&size) {
        return Err(FlvError::HeaderSize(size));
    }
    let tracks = Tracks {
        audio: flags & FLAG_AUDIO != 0,
        video: flags & FLAG_VIDEO != 0,
    };
    Ok((tracks, size as usize - 9 + PREVIOUS_TAG_SIZE_LEN))
}

/// Takes a payload and the `PreviousTagSize` after it, whose value is ignored: many writers get it wrong.
fn take_payload(len: usize, input: &mut BytesMut) -> Option<Bytes> {
    if input.len() < len + PREVIOUS_TAG_SIZE_LEN {
        return None;
    }
    let payload = input.split_to(len).freeze();
    input.advance(PREVIOUS_TAG_SIZE_LEN);
    Some(payload)
}

fn take<const N: usize>(input: &mut BytesMut) -> Option<[u8; N]> {
    let taken = *input.first_chunk::<N>()?;
    input.advance(N);
    Some(taken)
}
