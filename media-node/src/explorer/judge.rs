//! The judge of what one viewer receives on one connection.

mod slate;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use media_wire::{MediaKind, Message};

use super::media::{Content, Identity, SLATE, content};
use slate::SlateFrame;

/// What a viewer must never see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error("a message was repeated")]
    Repeated,
    #[error("a message arrived after a later one")]
    Reordered,
    #[error("a message is torn, or no encoder sent it")]
    Torn,
    #[error("the first video frame after a gap, or of an encoder, is no keyframe")]
    NoKeyframe,
    #[error("time goes back")]
    TimeGoesBack,
    #[error("a timestamp is beyond 2^31 ms")]
    TimeTooLate,
    #[error("the sequence header before it is that of another encoding")]
    WrongHeader,
    #[error("a frame arrived before a sequence header")]
    NoHeader,
    #[error("an encoder is back on air after another one")]
    TwoOnAir,
    #[error("a keyframe is repeated that is not the last one")]
    OlderStill,
    #[error("silence without a keyframe that is repeated")]
    Silence,
    #[error("a sequence header was repeated, and has not changed")]
    HeaderRepeated,
    #[error("the time since the encoder's first message is not that of the encoder")]
    TimeShifted,
}

/// What a viewer may see that it must not see otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowed {
    /// An encoder may be on air again, with later messages, as those that stand by for each other. So may one of two at origins that do not
    /// know of each other: the viewer judges which one.
    pub(super) returns: bool,
    /// What was received may come again from a keyframe on, as from an RTMP server, of which none can ask for what follows.
    pub(super) repeats: bool,
    /// An encoder may be on air again without the loss of a message: two origins that reach each other again have each another encoder on air,
    /// the one that gives way stands by, and is preferred at its very next message. That is a publication of its own, whose time begins
    /// a frame after the former one.
    pub(super) restarts: bool,
    /// Viewers may get the last keyframe again and again, with silence, while their stream waits for an encoder.
    pub(super) stills: bool,
}

/// What one viewer has received on one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct ViewerJudge {
    last: Option<Identity>,
    /// The last number of each encoder.
    seen: BTreeMap<u32, u32>,
    /// The encodings of the newest sequence headers.
    headers: BTreeMap<MediaKind, u32>,
    timestamp: Option<u32>,
    /// Timestamp minus time of the encoder that is on air, once both of its tracks have begun.
    shift: Option<u32>,
    /// Frames of the encoder that is on air, since the last gap.
    frames: u32,
    /// A keyframe of the encoder that is on air was received, or any frame if it sends no video.
    has_keyframe: bool,
    /// Times that the timestamps began again.
    renewals: u32,
    needs_keyframe: bool,
    /// The last frame, if it was one of a slate.
    slate: Option<SlateFrame>,
    /// A keyframe, with its timestamp, of which the next message says whether it is one that is repeated.
    held: Option<(Identity, u32)>,
    /// The encoder on air goes on after a slate, and no keyframe of it has come since.
    continues_after_slate: bool,
    allowed: Allowed,
    /// Messages that did not arrive, of encoders that were on air before and after them.
    pub(super) lost: u32,
    pub(super) received: u32,
}

impl ViewerJudge {
    pub(super) fn new(allowed: Allowed) -> Self {
        Self {
            allowed,
            ..Self::default()
        }
    }

    pub(super) fn last(&self) -> Option<Identity> {
        self.last
    }

    /// Returns how many of the messages after the last one and before `end` the encoder on air has to get to viewers: no video before
    /// its first keyframe, nor before the first one after a slate, with which a decoder has begun anew.
    pub(super) fn missing(&self, end: u32) -> u32 {
        let Some(last) = self.last.filter(|_| self.has_keyframe) else {
            return 0;
        };
        let mut is_decodable = !self.continues_after_slate;
        let missing = (last.number + 1..end).map(|number| Identity { number, ..last });
        let decodable = missing.filter(|it| {
            is_decodable |= it.is_keyframe();
            is_decodable || it.kind() != MediaKind::Video
        });
        u32::try_from(decodable.count()).unwrap_or(u32::MAX)
    }

    /// Judges the next message.
    pub(super) fn receive(&mut self, message: &Message) -> Result<(), Violation> {
        let content = content(message).ok_or(Violation::Torn)?;
        if let Some((keyframe, timestamp)) = self.held.take() {
            if self.is_still(keyframe, content) {
                self.receive_still(keyframe, timestamp)?;
            } else {
                self.receive_frame(keyframe, timestamp)?;
            }
        }
        match content {
            Content::Metadata => Ok(()),
            Content::Header(kind, encoding) => {
                if self.headers.insert(kind, encoding) == Some(encoding) {
                    Err(Violation::HeaderRepeated)
                } else {
                    Ok(())
                }
            }
            Content::Silence => self.receive_silence(message.timestamp),
            Content::Frame(frame) if frame.encoder == SLATE => {
                self.receive_clip(frame, message.timestamp)
            }
            Content::Frame(frame) if self.allowed.stills && frame.is_keyframe() => {
                self.held = Some((frame, message.timestamp));
                Ok(())
            }
            Content::Frame(frame) => self.receive_frame(frame, message.timestamp),
        }
    }

    fn receive_frame(&mut self, frame: Identity, timestamp: u32) -> Result<(), Violation> {
        let is_after_slate = self.slate.take().is_some();
        self.needs_keyframe |= is_after_slate;
        self.continues_after_slate |= is_after_slate;
        let is_start = frame.is_start();
        let is_last = |last: Identity| last.encoder == frame.encoder;
        let may_repeat = self.allowed.repeats && is_start && self.last.is_some_and(is_last);
        match self.seen.get(&frame.encoder).copied() {
            Some(last) if may_repeat && last >= frame.number => {
                self.seen.remove(&frame.encoder);
                self.last = None;
            }
            Some(last) if last == frame.number => return Err(Violation::Repeated),
            Some(last) if last > frame.number => return Err(Violation::Reordered),
            Some(_) | None => {}
        }
        let is_same = self.last.is_some_and(is_last);
        if !is_same && self.seen.contains_key(&frame.encoder) && !self.allowed.returns {
            return Err(Violation::TwoOnAir);
        }
        let next = self.last.map(|last| last.number + 1);
        if !is_same {
            self.needs_keyframe = true;
            self.has_keyframe = false;
            (self.frames, self.shift) = (0, None);
        } else if let Some(missing) = next.and_then(|next| frame.number.checked_sub(next))
            && missing > 0
        {
            self.lost += self.missing(frame.number);
            self.needs_keyframe = true;
            // Another one may have been on air meanwhile.
            (self.frames, self.shift) = (0, None);
        }
        self.check_frame(frame, timestamp)?;
        self.check_time(frame, timestamp)?;
        self.has_keyframe |= is_start;
        let first = if is_same { next } else { None }.unwrap_or(frame.number);
        let mut passed = (first..=frame.number).map(|number| Identity { number, ..frame });
        self.continues_after_slate &= !passed.any(Identity::is_keyframe);
        self.seen.insert(frame.encoder, frame.number);
        self.last = Some(frame);
        self.received += 1;
        Ok(())
    }

    /// Checks whether a decoder can show a frame.
    fn check_frame(&mut self, frame: Identity, timestamp: u32) -> Result<(), Violation> {
        if frame.kind() == MediaKind::Video {
            if self.needs_keyframe && !frame.is_keyframe() {
                return Err(Violation::NoKeyframe);
            }
            self.needs_keyframe = false;
        }
        match self.headers.get(&frame.kind()) {
            None => return Err(Violation::NoHeader),
            Some(encoding) if *encoding != frame.encoding => return Err(Violation::WrongHeader),
            Some(_) => {}
        }
        self.check_timestamp(timestamp)
    }

    fn check_timestamp(&mut self, timestamp: u32) -> Result<(), Violation> {
        if timestamp >= 1 << 31 {
            return Err(Violation::TimeTooLate);
        }
        if let Some(before) = self.timestamp.filter(|before| timestamp < *before) {
            let may_renew = before >= OLD && timestamp < YOUNG && self.renewals == 0;
            if !may_renew {
                return Err(Violation::TimeGoesBack);
            }
            self.renewals += 1;
            self.shift = None;
        }
        self.timestamp = Some(timestamp);
        Ok(())
    }

    /// Checks that the time of an encoder goes on as it has sent it.
    fn check_time(&mut self, frame: Identity, timestamp: u32) -> Result<(), Violation> {
        self.frames += 1;
        let shift = timestamp.wrapping_sub(frame.sent);
        // The second track of an encoder may begin later, so that its time does not go back.
        if self.frames > 2 {
            let expected = *self.shift.get_or_insert(shift);
            if expected.wrapping_sub(shift).cast_signed().abs() > ROUNDED {
                let may_begin_again = self.allowed.restarts || self.allowed.repeats;
                if !(may_begin_again && frame.is_start()) {
                    return Err(Violation::TimeShifted);
                }
                (self.frames, self.shift) = (1, None);
            }
        }
        Ok(())
    }
}

/// The time of the network, which messages carry, goes on in ticks of 5 ms.
const ROUNDED: i32 = 10;

/// The timestamps of a stream begin again after this one, below the other one, see `media-engine`'s timeline: the next epoch's first one
/// would be a frame later, at most a second. A viewer that lags may miss all that a schedule lasts of those before and after.
const OLD: u32 = (1 << 30) - 1000 - MISSED;
const YOUNG: u32 = 15_000 + MISSED;
const MISSED: u32 = 60_000;
