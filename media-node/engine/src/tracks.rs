//! Decides which tracks a stream has.
//!
//! Players wait for every track that the FLV header announces, and some never play a track that it does not announce. So a viewer's
//! header is written only after both tracks or all tracks that the metadata announces were seen, or after half a second of media or of
//! silence.

use std::time::Duration;

use media_wire::flv::Tracks;
use media_wire::{MediaKind, Message, amf0};

use crate::message_class::is_metadata;
use crate::timeline::distance;

/// Media time after which no further track is expected.
const DECIDED_AFTER_MS: i32 = 500;

/// Time without a message after which none is expected either: the next frame of a stream with few of them may come late.
pub(crate) const DECIDED_AFTER: Duration = Duration::from_millis(500);

/// The tracks of one epoch, as far as they are known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TrackDecision {
    seen: Tracks,
    announced: Tracks,
    first_timestamp: Option<u32>,
    decided: bool,
}

/// The properties of `onMetaData` that the engine uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Metadata {
    announced: Tracks,
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
}

/// Returns the tracks that a message announces, if it is metadata that announces any.
pub fn announced_tracks(message: &Message) -> Option<Tracks> {
    if message.kind != MediaKind::Data {
        return None;
    }
    let announced = Metadata::read(&message.payload)?.announced;
    (announced != Tracks::default()).then_some(announced)
}

impl TrackDecision {
    /// Records the track of a message.
    pub(crate) fn observe(&mut self, kind: MediaKind, timestamp: u32) {
        match kind {
            MediaKind::Audio => self.seen.audio = true,
            MediaKind::Video => self.seen.video = true,
            MediaKind::Data => return,
        }
        let first = *self.first_timestamp.get_or_insert(timestamp);
        let all_announced = self.announced != Tracks::default()
            && (self.seen.audio || !self.announced.audio)
            && (self.seen.video || !self.announced.video);
        self.decided |= (self.seen.audio && self.seen.video)
            || all_announced
            || distance(first, timestamp) >= DECIDED_AFTER_MS;
    }

    /// Records the tracks that metadata announces.
    pub(crate) fn announce(&mut self, metadata: Metadata) {
        self.announced = metadata.announced;
    }

    /// Expects no track but those that were seen. Returns whether that is new.
    pub(crate) fn decide(&mut self) -> bool {
        let is_new = !self.decided && self.first_timestamp.is_some();
        self.decided |= is_new;
        is_new
    }

    /// Returns the tracks, once they are decided. A later track is added.
    pub(crate) fn tracks(&self) -> Option<Tracks> {
        self.decided.then_some(self.seen)
    }
}

impl Metadata {
    /// Reads a data message. Returns `None` when it is not metadata or cannot be read.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        if !is_metadata(payload) {
            return None;
        }
        let values = amf0::decode_all(payload).ok()?;
        let properties = values.get(1)?;
        let codec = |name| properties.property(name).is_some();
        let pixels = |name| pixels(properties.property(name)?.as_number()?);
        let flag = |name| properties.property(name).and_then(amf0::Value::as_bool);
        let width = pixels("width");
        Some(Self {
            announced: Tracks {
                audio: flag("hasAudio").unwrap_or_else(|| codec("audiocodecid")),
                video: flag("hasVideo").unwrap_or_else(|| codec("videocodecid") || width.is_some()),
            },
            width,
            height: pixels("height"),
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "in range"
)]
fn pixels(number: f64) -> Option<u32> {
    (1.0..=65_535.0).contains(&number).then_some(number as u32)
}
