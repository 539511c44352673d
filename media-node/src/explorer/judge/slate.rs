//! How slates are judged: a clip, or the last keyframe of the stream, with silence.

use media_wire::MediaKind;

use super::{ViewerJudge, Violation};
use crate::explorer::media::{Content, Identity, SLATE_FRAMES, SentTracks};

/// A frame of a slate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlateFrame {
    /// That of a clip, with its number.
    Clip(u32),
    /// A keyframe that is repeated, and when it came last, or the silence with it.
    Still(Identity, u32),
}

impl ViewerJudge {
    /// Judges a frame of a clip.
    pub(super) fn receive_clip(
        &mut self,
        frame: Identity,
        timestamp: u32,
    ) -> Result<(), Violation> {
        let is_next = match self.slate {
            Some(SlateFrame::Clip(last)) => frame.number == (last + 1) % SLATE_FRAMES,
            _ => false,
        };
        self.needs_keyframe |= !is_next;
        self.slate = Some(SlateFrame::Clip(frame.number));
        (self.frames, self.shift) = (0, None);
        self.check_frame(frame, timestamp)
    }

    /// Returns whether a keyframe is one that is repeated: silence comes with it, or it comes again. The slate may end with it as well, so that
    /// it is one if it was received before, or neither the message before it nor the one after it is its encoder's.
    pub(super) fn is_still(&self, keyframe: Identity, next: Content) -> bool {
        let seen = self.seen.get(&keyframe.encoder).copied();
        let goes_on = match next {
            Content::Silence => return true,
            Content::Frame(frame) if frame == keyframe => keyframe.tracks() != SentTracks::Video,
            Content::Frame(frame) => frame.encoder == keyframe.encoder,
            Content::Metadata | Content::Header(..) => false,
        };
        let follows = seen.map(|last| last + 1) == Some(keyframe.number);
        seen >= Some(keyframe.number) || !(goes_on || follows)
    }

    /// Judges a keyframe that is repeated: the last one that was received, or a later one of which nothing was.
    pub(super) fn receive_still(
        &mut self,
        keyframe: Identity,
        timestamp: u32,
    ) -> Result<(), Violation> {
        let newest = self.seen.get(&keyframe.encoder).copied();
        let newest = newest.map(|number| Identity { number, ..keyframe }.group());
        if newest > Some(keyframe.number) {
            return Err(Violation::OlderStill);
        }
        if let Some(SlateFrame::Still(last, at)) = self.slate
            && (last != keyframe || timestamp < at + REPEATED)
        {
            return Err(Violation::Repeated);
        }
        self.slate = Some(SlateFrame::Still(keyframe, timestamp));
        (self.frames, self.shift) = (0, None);
        self.check_frame(keyframe, timestamp)
    }

    /// Judges the silence with a keyframe that is repeated.
    pub(super) fn receive_silence(&mut self, timestamp: u32) -> Result<(), Violation> {
        match self.slate {
            Some(SlateFrame::Still(..)) if self.headers.contains_key(&MediaKind::Audio) => {
                self.check_timestamp(timestamp)
            }
            _ => Err(Violation::Silence),
        }
    }
}

/// The shortest time in milliseconds after which a keyframe is repeated.
const REPEATED: u32 = 250;
