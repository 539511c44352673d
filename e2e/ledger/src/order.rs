//! What a viewer may rely on in any failure, checked on each connection: messages are those of the encoders, in their order, time never
//! goes back, and video begins with its header and a keyframe, also after a loss. A run in which a viewer had something else fails.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::media::{Packet, Seen};
use media_wire::MediaKind;

use super::audience::Audience;
use super::figures::Sent;

/// What encoders have sent up to a time.
pub(crate) struct SentOrder {
    /// By hash.
    places: HashMap<u64, Place>,
    end: Instant,
}

#[derive(Clone, Copy)]
struct Place {
    /// Among all frames.
    number: usize,
    /// Among the video frames, the number of those before.
    video: usize,
}

impl SentOrder {
    pub(crate) fn of(sent: &[Sent], end: Instant) -> Self {
        let frames = sent.iter().flat_map(|it| it.recording.frames());
        let mut video = 0;
        let places = frames.enumerate().map(|(number, frame)| {
            let place = Place { number, video };
            video += usize::from(frame.is_video_frame());
            (frame.hash, place)
        });
        Self {
            places: places.collect(),
            end,
        }
    }

    /// Fails unless each viewer, also one who left after its first frame, had what it may rely on.
    pub(crate) fn check(&self, audience: &Audience) -> Result<()> {
        for (number, watcher) in audience.watchers().iter().enumerate() {
            for (connection, seen) in watcher.seen().iter().enumerate() {
                self.check_connection(seen).with_context(|| {
                    format!(
                        "viewer {number} ({:?}), connection {connection}",
                        watcher.protocol
                    )
                })?;
            }
        }
        for join in audience.joins() {
            if let Some(seen) = &join.seen {
                self.check_connection(seen)
                    .with_context(|| format!("a viewer who joined ({:?})", join.protocol))?;
            }
        }
        Ok(())
    }

    fn check_connection(&self, seen: &Seen) -> Result<()> {
        assert_headers_first(&seen.recording.packets)?;
        let mut before: [Option<Packet>; 2] = [None, None];
        let (mut last, mut expected_video) = (None, None);
        let mut received = HashSet::new();
        let frames = seen.recording.frames().into_iter();
        for frame in frames.filter(|it| it.at < self.end) {
            let place = self.places.get(&frame.hash);
            let place = place.with_context(|| format!("no encoder has sent {frame:?}"))?;
            if !received.insert(frame.hash) {
                // It is counted.
                continue;
            }
            ensure!(
                last < Some(place.number),
                "{frame:?} came after what was sent later"
            );
            last = Some(place.number);
            let is_video = frame.is_video_frame();
            if is_video {
                ensure!(
                    frame.keyframe || expected_video == Some(place.video),
                    "{frame:?} came without the video frame before it"
                );
                expected_video = Some(place.video + 1);
            }
            let earlier = before[usize::from(is_video)].replace(frame);
            ensure!(
                earlier.is_none_or(|it| !frame.goes_back_from(&it)),
                "time went back from {earlier:?} to {frame:?}"
            );
        }
        Ok(())
    }
}

/// Fails when the first frame of audio or video came before its sequence header.
fn assert_headers_first(packets: &[Packet]) -> Result<()> {
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let first = packets.iter().find(|it| it.kind == kind);
        ensure!(
            first.is_none_or(|it| it.sequence_header),
            "{first:?} came before the sequence header"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use e2e::media::Recording;
    use media_wire::Message;

    use super::*;

    /// A keyframe of AVC, and frames that need it.
    const KEYFRAME: u8 = 0x17;
    const INTERFRAME: u8 = 0x27;

    /// Returns frames of this type, number and time, after a sequence header.
    fn recording(frames: &[(u8, u8, u32)]) -> Recording {
        let mut recording = Recording::default();
        let header = [KEYFRAME, 0, 0, 0, 0].to_vec();
        let frames = frames.iter().map(|(frame_type, number, timestamp)| {
            let payload = vec![*frame_type, 1, 0, 0, 0, *number];
            (payload, *timestamp)
        });
        for (payload, timestamp) in std::iter::once((header, 0)).chain(frames) {
            recording.push(&Message {
                kind: MediaKind::Video,
                timestamp,
                payload: Bytes::from(payload),
            });
        }
        recording
    }

    #[test]
    fn what_breaks_the_order_is_found() {
        let complete = [
            (KEYFRAME, 0, 0),
            (INTERFRAME, 1, 40),
            (INTERFRAME, 2, 80),
            (KEYFRAME, 3, 120),
        ];
        let sent = [Sent {
            recording: recording(&complete),
            superseded: None,
        }];
        let check = |recording: Recording| {
            let order = SentOrder::of(&sent, Instant::now());
            let seen = Seen {
                recording,
                ..Seen::default()
            };
            let checked = order.check_connection(&seen);
            checked.map_err(|error| error.to_string())
        };
        assert_eq!(check(recording(&complete)), Ok(()));
        let lost = [(KEYFRAME, 0, 0), (INTERFRAME, 1, 40), (KEYFRAME, 3, 120)];
        assert_eq!(check(recording(&lost)), Ok(()));
        let mut headless = recording(&complete);
        headless.packets.remove(0);
        let broken = [
            (
                recording(&[(KEYFRAME, 0, 0), (INTERFRAME, 2, 80)]),
                "without the video frame before",
            ),
            (
                recording(&[(INTERFRAME, 1, 40)]),
                "without the video frame before",
            ),
            (
                recording(&[(KEYFRAME, 3, 0), (KEYFRAME, 0, 40)]),
                "after what was sent later",
            ),
            (
                recording(&[(KEYFRAME, 0, 40), (INTERFRAME, 1, 0)]),
                "time went back",
            ),
            (recording(&[(KEYFRAME, 9, 0)]), "no encoder has sent"),
            (headless, "before the sequence header"),
        ];
        for (recording, expected) in broken {
            let error = check(recording).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
