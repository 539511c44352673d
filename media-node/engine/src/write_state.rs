//! The writing side of a stream: its publication, and the segments that its readers were notified of.

use std::time::Instant;

use crate::active_publication::ActivePublication;
use crate::retention::Retention;
use crate::writer::Writer;

/// The writing side of a stream: its publication, and the segments that the readers of each worker were notified of.
#[derive(Debug, Default)]
pub(crate) struct WriteState {
    pub(crate) writer: Writer,
    pub(crate) publication: Option<ActivePublication>,
    pub(crate) last_seal: Option<Instant>,
    /// A keyframe or a full segment has sealed the segment before it. Both are sent together, before the pulse.
    pub(crate) sealed_by_message: bool,
    /// The number of segments that were sealed.
    pub(crate) segments: u64,
    /// One for each worker.
    pub(crate) notified: Box<[Notification]>,
    /// The time of the first sweep that found the stream without a publisher. A slate does not count as one.
    pub(crate) idle_since: Option<Instant>,
    /// The last publication was not pulled from another media node.
    pub(crate) had_publisher: bool,
    pub(crate) playable: bool,
    pub(crate) retention: Retention,
}

/// The last notification of a worker's readers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notification {
    pub(crate) at: Option<Instant>,
    /// The number of segments that were sealed by then.
    pub(crate) segments: u64,
}

impl WriteState {
    /// Returns whether waiting messages are sent before the pulse.
    pub(crate) fn is_urgent(&self) -> bool {
        let becomes_playable = !self.playable && self.writer.opens_with_keyframe();
        self.sealed_by_message || becomes_playable
    }

    pub(crate) fn has_encoder(&self) -> bool {
        let publication = self.publication.as_ref();
        publication.is_some_and(|active| !active.source.is_slate())
    }

    /// Returns whether this media node had the publisher, and a sweep has found the stream without it.
    pub(crate) fn awaits_encoder(&self) -> bool {
        self.publication.is_none() && self.idle_since.is_some() && self.had_publisher
    }

    /// Records that messages were appended, so that the publication does not count as silent.
    pub(crate) fn observe_messages(&mut self, now: Instant) {
        let messages = self.writer.counters().messages;
        if let Some(active) = &mut self.publication {
            active.observe(messages, now);
        }
    }
}
