//! Totals of a log, for statistics.

use media_wire::Message;

use crate::message_class::MessageClass;
use crate::timeline::Timing;

/// Totals of one log since its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogCounters {
    pub(crate) messages: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
    pub(crate) gaps: u64,
    /// Messages that are missing in all gaps.
    pub(crate) missing: u64,
    pub(crate) video_frames: u64,
    /// The log's age at the newest keyframe, in milliseconds.
    keyframe_age: Option<i64>,
    /// Milliseconds between the last two keyframes.
    pub(crate) keyframe_interval: Option<i64>,
}

impl LogCounters {
    /// Counts a message that is appended at the log's `age`.
    pub(crate) fn count(&mut self, message: &Message, class: MessageClass, age: i64) {
        self.messages += 1;
        self.bytes += message.payload.len() as u64;
        self.video_frames += u64::from(class.timing() == Timing::Video);
        if class == MessageClass::Keyframe {
            let former = self.keyframe_age.replace(age);
            self.keyframe_interval = former.map(|former| age - former);
        }
    }

    /// Counts a gap of `missing` messages.
    pub(crate) fn count_gap(&mut self, missing: u64) {
        self.gaps += 1;
        self.missing += missing;
    }
}
