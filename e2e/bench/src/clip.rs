//! The stream that encoders publish: H.264 and AAC by their headers, 25 and 43 frames per second, a keyframe every two seconds. Each
//! frame carries its number and the time at which it was sent.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use media_wire::amf0::{Value, encode_all};
use media_wire::{MediaKind, Message};
use rustix::time::{ClockId, clock_gettime};

/// Video frames from keyframe to keyframe: two seconds.
const GOP: u32 = 50;

/// A video frame lasts 40 ms.
const VIDEO_MICROS: u64 = 40_000;

/// An AAC frame of 1024 samples at 44.1 kHz.
const AUDIO_MICROS: u64 = 1_024_000_000 / 44_100;

/// Frames of both tracks in a second.
pub(crate) const FRAMES_PER_SECOND: f64 = 1e6 / VIDEO_MICROS as f64 + 1e6 / AUDIO_MICROS as f64;

/// Bytes of a video frame before its number: frame type and codec, packet type, composition time.
const VIDEO_PREFIX: usize = 5;

/// The same for audio: format, packet type.
const AUDIO_PREFIX: usize = 2;

/// Bytes of a payload that hold all that is checked.
pub(crate) const CHECKED: usize = VIDEO_PREFIX + 12;

/// The sizes of a stream's frames in bytes, and how often they are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    keyframe: usize,
    interframe: usize,
    audio: usize,
    /// By how much all frames are rarer than at the rates of a camera.
    rarer: u64,
    /// By how much frames are larger after [`GROWTH`].
    growth: u64,
}

/// The time in which frames grow.
const GROWTH: Duration = Duration::from_secs(60);

impl Sizes {
    /// 1.03 Mbit/s.
    pub(crate) const NORMAL: Self = Self {
        keyframe: 24_000,
        interframe: 4_423,
        audio: 186,
        rarer: 1,
        growth: 1,
    };

    /// A tenth of the frames, where only the number of viewers counts: the load has to read less.
    pub(crate) const RARE: Self = Self {
        rarer: 10,
        ..Self::NORMAL
    };

    /// 250 kbit/s.
    pub(crate) const SMALL: Self = Self {
        keyframe: 5_000,
        interframe: 850,
        audio: 186,
        ..Self::NORMAL
    };

    /// 4 Mbit/s.
    pub(crate) const LARGE: Self = Self {
        keyframe: 120_000,
        interframe: 17_330,
        audio: 372,
        ..Self::NORMAL
    };

    /// From 1 Mbit/s to eight times as much.
    pub(crate) const GROWING: Self = Self {
        growth: 8,
        ..Self::NORMAL
    };

    /// Returns the size of a frame that is due at this time.
    fn at(&self, due: Duration, size: usize) -> usize {
        let (elapsed, all) = (due.min(GROWTH).as_millis(), GROWTH.as_millis());
        let factor = |size: u128| size + size * u128::from(self.growth - 1) * elapsed / all;
        usize::try_from(factor(size as u128)).unwrap_or(usize::MAX)
    }
}

/// Returns the time since the system's start. All processes have the same.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    seconds + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

/// A clip without an end.
#[derive(Debug)]
pub(crate) struct EndlessClip {
    sizes: Sizes,
    video: u32,
    audio: u32,
}

/// One frame, and when it is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: MediaKind,
    pub(crate) number: u32,
    /// Time from the clip's start.
    pub(crate) due: Duration,
    size: usize,
}

impl EndlessClip {
    pub(crate) fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            video: 0,
            audio: 0,
        }
    }

    /// Returns when the next frame is due.
    pub(crate) fn next_due(&self) -> Duration {
        Duration::from_micros(self.video_due().min(self.audio_due()))
    }

    /// Returns the next frame.
    pub(crate) fn next(&mut self) -> Frame {
        let due = self.next_due();
        if self.video_due() <= self.audio_due() {
            let number = self.video;
            self.video += 1;
            let size = if number.is_multiple_of(GOP) {
                self.sizes.keyframe
            } else {
                self.sizes.interframe
            };
            let size = self.sizes.at(due, size);
            let kind = MediaKind::Video;
            #[rustfmt::skip]
            return Frame { kind, number, due, size };
        }
        let (kind, number, size) = (MediaKind::Audio, self.audio, self.sizes.audio);
        self.audio += 1;
        #[rustfmt::skip]
        return Frame { kind, number, due, size };
    }

    fn video_due(&self) -> u64 {
        u64::from(self.video) * VIDEO_MICROS * self.sizes.rarer
    }

    fn audio_due(&self) -> u64 {
        u64::from(self.audio) * AUDIO_MICROS * self.sizes.rarer
    }
}

impl Frame {
    /// Whether viewers can start here.
    pub(crate) fn is_keyframe(&self) -> bool {
        self.kind == MediaKind::Video && self.number.is_multiple_of(GOP)
    }

    /// Returns the frame as it is sent at this time, see [`now`].
    pub(crate) fn message(&self, sent: Duration) -> Message {
        let mut payload = BytesMut::with_capacity(self.size);
        match (self.kind, self.is_keyframe()) {
            (MediaKind::Video, true) => payload.put_slice(&[0x17, 1, 0, 0, 0]),
            (MediaKind::Video, false) => payload.put_slice(&[0x27, 1, 0, 0, 0]),
            _ => payload.put_slice(&[0xAF, 1]),
        }
        payload.put_u32(self.number);
        payload.put_u64(u64::try_from(sent.as_nanos()).unwrap_or(u64::MAX));
        payload.resize(self.size, 0x5A);
        Message {
            kind: self.kind,
            timestamp: u32::try_from(self.due.as_millis()).unwrap_or(u32::MAX),
            payload: payload.freeze(),
        }
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameMark {
    pub(crate) keyframe: bool,
    pub(crate) number: u32,
    /// When it was sent, see [`now`].
    pub(crate) sent: Duration,
}

/// Reads what a frame carries from the first [`CHECKED`] bytes of its payload. `None` for metadata and sequence headers.
pub(crate) fn mark(kind: MediaKind, payload: &[u8]) -> Option<FrameMark> {
    let prefix = match kind {
        MediaKind::Video => VIDEO_PREFIX,
        MediaKind::Audio => AUDIO_PREFIX,
        MediaKind::Data => return None,
    };
    let (first, packet) = (payload.first()?, payload.get(1)?);
    if *packet != 1 {
        return None;
    }
    let (number, rest) = payload.get(prefix..)?.split_first_chunk()?;
    let sent = rest.first_chunk()?;
    Some(FrameMark {
        keyframe: *first == 0x17,
        number: u32::from_be_bytes(*number),
        sent: Duration::from_nanos(u64::from_be_bytes(*sent)),
    })
}

/// Metadata and sequence headers, which come first.
pub(crate) fn init_data() -> [Message; 3] {
    let number = |name: &str, value: f64| (name.to_owned(), Value::Number(value));
    let metadata = encode_all(&[
        Value::String("onMetaData".to_owned()),
        Value::EcmaArray(vec![
            number("width", 1280.0),
            number("height", 720.0),
            number("framerate", 25.0),
            number("videocodecid", 7.0),
            number("audiocodecid", 10.0),
        ]),
    ]);
    // ISO 14496-15, 5.2.4.1: version, profile, compatibility, level, four-byte lengths, one SPS, one PPS.
    let avc: &[u8] = &[
        0x17, 0, 0, 0, 0, 1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0, 4, 0x67, 0x42, 0xC0, 0x1E, 1, 0, 4,
        0x68, 0xCE, 0x3C, 0x80,
    ];
    // ISO 14496-3, 1.6.2.1: AAC LC, 44.1 kHz, stereo.
    let aac: &[u8] = &[0xAF, 0, 0x12, 0x10];
    [
        (MediaKind::Data, Bytes::from(metadata)),
        (MediaKind::Video, Bytes::from_static(avc)),
        (MediaKind::Audio, Bytes::from_static(aac)),
    ]
    .map(|(kind, payload)| Message {
        kind,
        timestamp: 0,
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_has_both_tracks_at_their_rates_and_a_megabit_a_second() {
        let mut clip = EndlessClip::new(Sizes::NORMAL);
        let (mut bytes, mut frames) = (0, 0);
        while clip.next_due() < Duration::from_secs(100) {
            bytes += clip.next().size;
            frames += 1;
        }
        assert!(
            (f64::from(frames) / 100.0 - FRAMES_PER_SECOND).abs() < 0.1,
            "{frames}"
        );
        assert!((128_000..129_500).contains(&(bytes / 100)), "{bytes}");
    }

    #[test]
    fn frames_grow_within_a_minute() {
        let sizes = Sizes::GROWING;
        let at = |seconds| sizes.at(Duration::from_secs(seconds), 1_000);
        assert_eq!([0, 30, 60, 90].map(at), [1_000, 4_500, 8_000, 8_000]);
        assert_eq!(Sizes::LARGE.at(GROWTH, 1_000), 1_000);
    }

    #[test]
    fn frame_carries_its_number_and_time() {
        let mut clip = EndlessClip::new(Sizes::NORMAL);
        for _ in 0..200 {
            let frame = clip.next();
            let message = frame.message(frame.due);
            let mark = mark(frame.kind, &message.payload[..CHECKED]).unwrap();
            assert_eq!(
                (mark.keyframe, mark.number, mark.sent),
                (frame.is_keyframe(), frame.number, frame.due)
            );
        }
        for message in init_data() {
            assert_eq!(mark(message.kind, &message.payload), None);
        }
    }
}
