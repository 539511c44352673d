//! The slate: a clip that viewers watch while a stream waits for an encoder. It is that of a file, or made of the stream's last keyframe.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use media_wire::flv::{FlvError, FlvItem, TagReader};
use media_wire::media::{KeyframeFlags, PacketType, Silence};
use media_wire::{MediaKind, Message};

use crate::small_file;

/// The maximum bytes of the file. It stays in memory, once for all streams.
const MAX_BYTES: u64 = 16 << 20;

/// The maximum bytes of one tag.
const MAX_TAG_BYTES: usize = 8 << 20;

/// The shortest clip, in milliseconds. A shorter one would be a burst of sequence headers and keyframes.
const MIN_DURATION_MS: u32 = 1_000;

/// The longest clip, in milliseconds. Timestamps further apart are a mistake.
const MAX_DURATION_MS: i32 = 600_000;

/// How much earlier than the first frame a later one may be, in milliseconds: it belongs to the other track.
const INTERLEAVE_MS: i32 = 1_000;

/// The duration of the last frame, in milliseconds, when no other frame shows the interval.
const FRAME_MS: u32 = 40;

/// How often a clip of one keyframe has it.
const KEYFRAMES: u32 = 4;

/// The shortest time from one keyframe of such a clip to the next, in milliseconds. Players hold back a frame until they know how long it is
/// shown.
const MIN_KEYFRAME_MS: u32 = 250;

/// The most bytes of its keyframes in a second.
const MAX_KEYFRAME_BYTES: usize = 512 << 10;

/// What viewers watch meanwhile.
#[derive(Clone, Debug)]
pub(crate) enum Slate {
    /// This clip, in all streams.
    Clip(Arc<SlateClip>),
    /// The last keyframe of each stream.
    LastKeyframe,
}

/// A clip that can be repeated without a gap.
#[derive(Debug)]
pub(crate) struct SlateClip {
    /// Sequence headers and frames. Their timestamps begin at 0.
    messages: Vec<Message>,
    duration: u32,
}

/// Why a file is no slate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SlateError {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the file has more than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    #[error("the file is not FLV: {0}")]
    Flv(#[from] FlvError),
    #[error("the last tag is truncated")]
    Truncated,
    #[error("the first video frame is not a keyframe")]
    NoKeyframe,
    #[error(
        "the timestamp of frame {0} is before that of the first frame, or more than 10 minutes after it"
    )]
    Timestamp(usize),
    #[error("the clip lasts {0} ms, it must last at least 1 s")]
    TooShort(u32),
}

impl SlateClip {
    /// Reads a clip.
    pub(crate) fn load(path: &Path) -> Result<Self, SlateError> {
        let bytes = small_file::read_up_to(path, MAX_BYTES)?;
        Self::parse(&bytes.ok_or(SlateError::TooLarge)?)
    }

    fn parse(bytes: &[u8]) -> Result<Self, SlateError> {
        let mut input = BytesMut::from(bytes);
        let mut reader = TagReader::new(MAX_TAG_BYTES);
        let mut flags = KeyframeFlags::default();
        let mut messages = Vec::new();
        while let Some(item) = reader.receive(&mut input)? {
            match item {
                // Its metadata describes a file: duration, size, positions.
                FlvItem::Header(_)
                | FlvItem::Tag(Message {
                    kind: MediaKind::Data,
                    ..
                }) => {}
                FlvItem::Tag(mut message) => {
                    flags.add_missing(&mut message);
                    messages.push(message);
                }
            }
        }
        if !input.is_empty() {
            return Err(SlateError::Truncated);
        }
        Self::of(messages)
    }

    fn of(mut messages: Vec<Message>) -> Result<Self, SlateError> {
        let is_frame = |message: &&Message| !is_configuration(message);
        let is_video = |message: &&Message| message.kind == MediaKind::Video;
        let frames = || messages.iter().filter(is_frame);
        if frames()
            .find(is_video)
            .is_some_and(|first| !first.is_keyframe())
        {
            return Err(SlateError::NoKeyframe);
        }
        let first = frames().map(|frame| frame.timestamp).next();
        let first = first.ok_or(SlateError::TooShort(0))?;
        let (mut last, mut interval) = (0, FRAME_MS);
        for (number, message) in messages.iter_mut().enumerate() {
            if is_configuration(message) {
                message.timestamp = last;
                continue;
            }
            let offset = message.timestamp.wrapping_sub(first).cast_signed();
            if !(-INTERLEAVE_MS..=MAX_DURATION_MS).contains(&offset) {
                return Err(SlateError::Timestamp(number + 1));
            }
            let offset = u32::try_from(offset).unwrap_or(0);
            message.timestamp = offset;
            if offset > last {
                interval = offset - last;
                last = offset;
            }
        }
        let duration = last + interval;
        if duration < MIN_DURATION_MS {
            return Err(SlateError::TooShort(duration));
        }
        Ok(Self { messages, duration })
    }

    /// Returns a clip that shows a keyframe, with silence in the codec of `audio`, or else of the first audio track of these sequence
    /// headers.
    pub(crate) fn of_keyframe(
        headers: &[Message],
        audio: Option<&Message>,
        keyframe: &Message,
    ) -> Self {
        let bytes = keyframe.payload.len() * 1000 / MAX_KEYFRAME_BYTES;
        let interval = MIN_KEYFRAME_MS.max(u32::try_from(bytes).unwrap_or(u32::MAX));
        let at = |timestamp, message: &Message| Message {
            timestamp,
            ..message.clone()
        };
        let mut messages: Vec<_> = headers.iter().map(|header| at(0, header)).collect();
        messages.extend((0..KEYFRAMES).map(|number| at(number * interval, keyframe)));
        let mut duration = KEYFRAMES * interval;
        if let Some(silence) = audio.into_iter().chain(headers).find_map(Silence::after) {
            let mut packet = 0;
            while silence.begin(packet) < duration {
                messages.push(Message {
                    kind: MediaKind::Audio,
                    timestamp: silence.begin(packet),
                    payload: silence.packet().clone(),
                });
                packet += 1;
            }
            duration = silence.begin(packet);
        }
        messages.sort_by_key(|message| message.timestamp);
        Self { messages, duration }
    }

    /// Returns the messages of the clip, again and again. Their timestamps go on.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = Message> {
        let starts = (0_u32..).map(|round| round.wrapping_mul(self.duration));
        starts.flat_map(|start| {
            self.messages.iter().map(move |message| Message {
                timestamp: message.timestamp.wrapping_add(start),
                ..message.clone()
            })
        })
    }
}

/// Returns whether a message only says how to decode or show frames. ffmpeg 9 writes video metadata before the first keyframe.
fn is_configuration(message: &Message) -> bool {
    use PacketType::{MultichannelConfig, SequenceHeader, VideoMetadata};
    matches!(
        message.header().packet_type,
        SequenceHeader | VideoMetadata | MultichannelConfig
    )
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use media_wire::flv::{Tracks, file_header, write_tag};

    use super::*;

    fn flv(tags: &[(MediaKind, u32, &[u8])]) -> Vec<u8> {
        let tracks = Tracks {
            audio: true,
            video: true,
        };
        let mut file = file_header(tracks).to_vec();
        for (kind, timestamp, payload) in tags {
            write_tag(&mut file, *kind, *timestamp, payload);
        }
        file
    }

    const HEADER: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1e\xff\xe1\0\0\x01\0\0";
    const KEYFRAME: &[u8] = b"\x17\x01\0\0\0\0\0\0\x01\x65";
    const INTERFRAME: &[u8] = b"\x27\x01\0\0\0\0\0\0\x01\x41";

    fn error(tags: &[(MediaKind, u32, &[u8])]) -> String {
        SlateClip::parse(&flv(tags)).unwrap_err().to_string()
    }

    #[test]
    fn clip_is_repeated_one_frame_after_its_end() {
        let file = flv(&[
            (MediaKind::Data, 0, b"\x02\x00\x0AonMetaData"),
            (MediaKind::Video, 7_000, HEADER),
            (MediaKind::Video, 5_000, KEYFRAME),
            (MediaKind::Video, 5_600, INTERFRAME),
        ]);
        let clip = SlateClip::parse(&file).unwrap();
        let times = clip.repeated().map(|message| message.timestamp);
        assert_eq!(
            times.take(7).collect::<Vec<_>>(),
            [0, 0, 600, 1_200, 1_200, 1_800, 2_400]
        );
    }

    #[test]
    fn clip_may_have_video_metadata_before_its_first_keyframe() {
        let file = flv(&[
            (MediaKind::Video, 0, b"\x90av01\x81\x04\x0C\0"),
            (MediaKind::Video, 23, b"\xD4av01\x02\0\x09colorInfo"),
            (MediaKind::Video, 23, b"\x91av01\x12\0"),
            (MediaKind::Video, 1_023, b"\xA1av01\x12\0"),
        ]);
        let clip = SlateClip::parse(&file).unwrap();
        let times = clip.repeated().map(|message| message.timestamp);
        let expected = [0, 0, 0, 1_000, 2_000, 2_000, 2_000];
        assert_eq!(times.take(7).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn clip_of_a_keyframe_repeats_it_with_silence() {
        let message = |kind, payload: &'static [u8]| Message {
            kind,
            timestamp: 7,
            payload: payload.into(),
        };
        let video = message(MediaKind::Video, b"\x17\0\0\0\0\x01");
        let audio = message(MediaKind::Audio, b"\xAF\0\x12\x10");
        let keyframe = message(MediaKind::Video, b"\x17\x01\0\0\0\x01");
        let times = |clip: &SlateClip, kind| -> Vec<u32> {
            let messages = clip.repeated().take_while(|it| it.timestamp < 1500);
            let messages: Vec<_> = messages.collect();
            assert!(messages.is_sorted_by_key(|it| it.timestamp));
            let is_frame = |it: &&Message| it.kind == kind && !it.is_sequence_header();
            messages
                .iter()
                .filter(is_frame)
                .map(|it| it.timestamp)
                .collect()
        };
        let silent = SlateClip::of_keyframe(std::slice::from_ref(&video), None, &keyframe);
        assert_eq!(
            times(&silent, MediaKind::Video),
            [0, 250, 500, 750, 1000, 1250]
        );
        let clip = SlateClip::of_keyframe(&[audio, video], None, &keyframe);
        // The last packet of silence ends at 1021 ms.
        assert_eq!(
            times(&clip, MediaKind::Video),
            [0, 250, 500, 750, 1021, 1271]
        );
        let silence = times(&clip, MediaKind::Audio);
        assert_eq!(silence.len(), 65);
        assert_eq!(silence[42..46], [975, 998, 1021, 1044]);
        // A codec without sequence headers: A-law, in packets of 20 ms.
        let g711 = message(MediaKind::Audio, b"\x72\x01\x02");
        let clip = SlateClip::of_keyframe(&[], Some(&g711), &keyframe);
        assert_eq!(times(&clip, MediaKind::Audio)[..3], [0, 20, 40]);
        // A large one comes less often.
        let large = Message {
            payload: vec![0x17; 1 << 20].into(),
            ..keyframe
        };
        let clip = SlateClip::of_keyframe(&[], None, &large);
        assert_eq!(times(&clip, MediaKind::Video), [0]);
        assert_eq!(clip.duration, 8000);
    }

    #[test]
    fn file_that_is_no_slate_is_refused_with_the_reason() {
        let error_of = |file: &[u8]| SlateClip::parse(file).unwrap_err().to_string();
        assert!(error_of(b"GIF89a and so on").starts_with("the file is not FLV"));
        let file = flv(&[(MediaKind::Video, 0, KEYFRAME)]);
        assert_eq!(
            error_of(&file[..file.len() - 1]),
            "the last tag is truncated"
        );
        assert_eq!(error(&[]), "the clip lasts 0 ms, it must last at least 1 s");
        let begins_late = [(MediaKind::Video, 0, INTERFRAME)];
        assert_eq!(
            error(&begins_late),
            "the first video frame is not a keyframe"
        );
        let short = [
            (MediaKind::Video, 0, KEYFRAME),
            (MediaKind::Video, 400, INTERFRAME),
        ];
        assert!(error(&short).starts_with("the clip lasts 800 ms"));
        let jumps = [
            (MediaKind::Video, 0, KEYFRAME),
            (MediaKind::Video, 600_001, INTERFRAME),
        ];
        assert!(error(&jumps).starts_with("the timestamp of frame 2"));
    }

    #[test]
    fn file_above_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slate.flv");
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let error = SlateClip::load(&path).unwrap_err().to_string();
        assert_eq!(error, "the file has more than 16 MiB");
        let missing = SlateClip::load(&folder.path().join("none"));
        assert!(matches!(missing, Err(SlateError::Read(_))));
    }
}
