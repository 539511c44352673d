//! The format and the starting position that a reader asks for.

use media_wire::relay::Epoch;

/// The format in which a reader gets a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// FLV with its file header.
    Flv,
    /// Chunks for a connection whose chunk size is [`media_wire::rtmp::CHUNK_SIZE`]. Batches are whole messages.
    Rtmp,
    /// FLV with marks, for another media node.
    Relay,
}

/// The position at which a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The newest keyframe. A viewer that joined before the publication starts at its beginning, while all of it is kept.
    Newest,
    /// The oldest keyframe of the newest epoch. Viewers start at the newest one when another media node has had the beginning.
    Oldest,
    /// For relays: a message of a publication, or the newest keyframe if the message was evicted. Viewers start at the
    /// newest keyframe.
    At(Epoch, u64),
    /// For relays whose viewers stayed: the same, but an evicted message is replaced by the oldest keyframe that they can
    /// still read. They lose the least. A message of a later publication than those of the log is replaced by the newest keyframe.
    Resume(Epoch, u64),
    /// For relays whose receiver has nothing and needs a publication from this message on: the newest keyframe that is not after it, or
    /// else the oldest one.
    Before(Epoch, u64),
}
