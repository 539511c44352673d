//! The media message, and the header of its payload.
//!
//! Payloads are FLV tag bodies (Annex E.4.2.1, E.4.3.1) or those of Enhanced RTMP v2. Nothing is decoded, so messages of
//! unknown codecs pass through like any other.

mod av1;
mod codec;
mod header;
mod keyframe;
mod obu;
mod silence;

use bytes::Bytes;

pub use av1::{Av1Configuration, use_coded_frames};
pub use codec::Codec;
pub use header::{MediaHeader, MediaKind, PacketType};
pub use keyframe::KeyframeFlags;
pub use silence::Silence;

/// One message of a stream: the body of an RTMP message or FLV tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The content.
    pub kind: MediaKind,
    /// Decoding time in milliseconds; wraps after 2^32.
    pub timestamp: u32,
    /// The body.
    pub payload: Bytes,
}

impl Message {
    /// Returns the header of the payload.
    pub fn header(&self) -> MediaHeader {
        MediaHeader::parse(self.kind, &self.payload)
    }

    /// Returns whether a viewer can start here.
    pub fn is_keyframe(&self) -> bool {
        self.header().is_first_keyframe()
    }

    /// Returns whether this configures a decoder.
    pub fn is_sequence_header(&self) -> bool {
        self.header().packet_type == PacketType::SequenceHeader
    }
}

#[cfg(test)]
mod tests;
