//! The public state of a stream, and its statistics.

use std::time::{Duration, Instant};

use media_wire::Codec;
use media_wire::relay::Epoch;

/// The state of a stream. [`Stream::watch`](crate::Stream::watch) reports every change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// The publication, if the stream has a publisher.
    pub publication: Option<PublicationInfo>,
    /// A viewer can start now: the tracks are decided, and the log has a starting position.
    pub playable: bool,
    /// The stream has ended and gets no further publisher. Another stream can have its key.
    pub ended: bool,
}

impl StreamState {
    /// Returns whether the stream has a publication that is more than a slate.
    pub fn has_encoder(&self) -> bool {
        let publication = self.publication.as_ref();
        publication.is_some_and(|publication| !publication.source.is_slate())
    }
}

/// The readers of a stream. [`Stream::watch_readers`](crate::Stream::watch_readers) reports every change. They are apart from
/// its state, which thousands of viewers can wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReaderCounts {
    /// Readers of FLV and RTMP.
    pub viewers: usize,
    /// Readers of [`Format::Relay`](crate::Format::Relay).
    pub relays: usize,
}

/// A publication of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicationInfo {
    /// The time at which the encoder connected, on whichever media node.
    pub epoch: Epoch,
    /// The origin of the messages.
    pub source: PublicationSource,
    /// The encoder's priority among those of the stream. The highest is preferred.
    pub priority: u8,
}

/// The origin of a publication's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicationSource {
    /// An encoder.
    Encoder,
    /// A media node that the encoder is connected to.
    Forwarded,
    /// A media node that has the publication. This one has a copy.
    Pulled,
    /// A clip of this media node, while viewers wait for an encoder.
    Slate,
    /// A media node that shows its slate. This one has a copy.
    PulledSlate,
}

impl PublicationSource {
    /// Returns whether another media node has the publication, and this one a copy of it.
    pub fn is_copy(self) -> bool {
        matches!(self, Self::Pulled | Self::PulledSlate)
    }

    /// Returns whether the stream has no encoder. Every other publication takes its place.
    pub fn is_slate(self) -> bool {
        matches!(self, Self::Slate | Self::PulledSlate)
    }
}

/// Statistics of a stream since its creation.
#[derive(Clone, Debug, Default)]
pub struct StreamStats {
    /// Messages appended to the log.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes_in: u64,
    /// How often a viewer or relay lagged behind the log and jumped to a keyframe.
    pub lags: u64,
    /// How often messages of an upstream were missing.
    pub gaps: u64,
    /// The number of these messages.
    pub missing: u64,
    /// How often an encoder's timestamps jumped.
    pub jumps: u64,
    /// Video frames appended to the log.
    pub video_frames: u64,
    /// Media time between the last two keyframes.
    pub keyframe_interval: Option<Duration>,
    /// When the publisher started.
    pub started: Option<Instant>,
    /// The epoch of the last message, and the sequence after it.
    pub position: Option<(Epoch, u64)>,
    /// The codec of the video.
    pub video: Option<Codec>,
    /// The codec of the audio.
    pub audio: Option<Codec>,
    /// The width of the video in the metadata.
    pub width: Option<u32>,
    /// The height of the video in the metadata.
    pub height: Option<u32>,
    /// The latest timestamp in the log, in milliseconds.
    pub last_timestamp: Option<u32>,
    /// Segments in the log.
    pub window_segments: usize,
    /// Bytes in the log.
    pub window_bytes: usize,
}
