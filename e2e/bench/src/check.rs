//! Checks what one viewer receives: a keyframe first, both tracks, every frame in order, time that never goes back.

use std::time::Duration;

use media_wire::MediaKind;

use crate::clip::{FrameMark, mark};

/// What one viewer has received so far.
#[derive(Debug, Default)]
pub(crate) struct StreamCheck {
    video: Option<Position>,
    audio: Option<Position>,
    /// How often frames were left out. A viewer that lags goes on at a keyframe.
    pub(crate) gaps: u64,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    number: u32,
    timestamp: u32,
}

impl StreamCheck {
    /// Checks a message by the first bytes of its payload. Returns when a frame was sent; `None` for metadata and sequence headers.
    pub(crate) fn message(
        &mut self,
        kind: MediaKind,
        timestamp: u32,
        payload: &[u8],
    ) -> Result<Option<Duration>, String> {
        let Some(FrameMark {
            keyframe,
            number,
            sent,
        }) = mark(kind, payload)
        else {
            return Ok(None);
        };
        let track = match kind {
            MediaKind::Video => &mut self.video,
            _ => &mut self.audio,
        };
        match track {
            None if kind == MediaKind::Video && !keyframe => {
                return Err(format!("video starts with frame {number}, no keyframe"));
            }
            None => {}
            Some(before) if number <= before.number => {
                let before = before.number;
                return Err(format!("{kind:?} frame {number} after {before}"));
            }
            Some(before) if timestamp < before.timestamp => {
                let before = before.timestamp;
                return Err(format!("{kind:?} at {timestamp} ms after {before} ms"));
            }
            Some(before) => self.gaps += u64::from(number > before.number + 1),
        }
        *track = Some(Position { number, timestamp });
        Ok(Some(sent))
    }

    /// Whether both tracks have arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.video.is_some() && self.audio.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clip::{EndlessClip, Sizes};

    /// Checks the frames of two seconds after a change. Returns the check and its first error.
    fn check(
        change: impl FnOnce(&mut Vec<media_wire::Message>),
    ) -> (StreamCheck, Result<(), String>) {
        let mut clip = EndlessClip::new(Sizes::SMALL);
        let mut messages: Vec<_> = (0..136)
            .map(|_| clip.next().message(Duration::ZERO))
            .collect();
        change(&mut messages);
        let mut check = StreamCheck::default();
        let result = messages.iter().try_for_each(|message| {
            let checked = check.message(message.kind, message.timestamp, &message.payload);
            checked.map(drop)
        });
        (check, result)
    }

    #[test]
    fn whole_stream_passes() {
        let (check, result) = check(|_| {});
        assert_eq!(result, Ok(()));
        assert!(check.is_complete());
        assert_eq!(check.gaps, 0);
    }

    #[test]
    fn faults_are_found() {
        let (_, twice) = check(|all| all.insert(9, all[8].clone()));
        assert!(twice.unwrap_err().contains("after"));
        let (_, headless) = check(|all| drop(all.remove(0)));
        assert!(headless.unwrap_err().contains("no keyframe"));
        let (_, back) = check(|all| all[20].timestamp = 0);
        assert!(back.unwrap_err().contains("0 ms after"));
        let (lost, result) = check(|all| drop(all.remove(30)));
        assert_eq!((lost.gaps, result), (1, Ok(())));
        let (silent, _) = check(|all| all.retain(|it| it.kind == MediaKind::Video));
        assert!(!silent.is_complete());
    }
}
