//! Timestamps. [`SourceTimeline`] removes the jumps from an encoder's, on the media node of the encoder only. [`LogTimeline`]
//! makes all epochs of a log one timeline, on every media node. Both are in milliseconds. The source's wraps at 2^32.
//!
//! Both add a constant, which is zero until an encoder jumps or a second epoch begins. So messages usually pass through
//! byte by byte.
//!
//! A log's timestamps stay below 2^31, because players that read them as signed (mpegts.js) stop there for good. A log that
//! is older than 12 days is renewed with its next epoch, and at a keyframe at the latest: its timestamps begin again. Each
//! media node renews its own log. Its relays go on, because they restore the source's timestamps.

/// A track that goes forward by more has jumped. A smaller step is a pause of the encoder, and is kept.
const FORWARD_MS: i32 = 10_000;
/// A track that goes back by more has jumped. A smaller step is jitter: the track stands still until it has caught up.
const BACKWARD_MS: i32 = 250;
/// The maximum distance of one track behind another.
const INTERLEAVE_MS: i32 = 10_000;
/// The maximum distance of the first frame from the metadata and sequence headers. Many encoders stamp these with zero.
const FIRST_FRAME_MS: i32 = 1_000;
/// The frame interval before any was measured: 30 frames a second.
const DEFAULT_INTERVAL_MS: u32 = 33;
/// The longest frame interval. A longer distance of two messages of a track is a pause.
const INTERVAL_MAX_MS: u32 = 1_000;

/// An epoch renews the log from this timestamp on: 12.4 days.
const RENEW_WITH_EPOCH: u32 = 1 << 30;
/// A keyframe renews the log from this timestamp on: 70 minutes before 2^31.
const RENEW_AT_KEYFRAME: u32 = (1 << 31) - (1 << 22);
/// Any message renews the log from this timestamp on: 17 minutes before 2^31. A group of pictures is shorter.
const RENEW_AT_ONCE: u32 = (1 << 31) - (1 << 20);
/// The first timestamp of a renewed log. The other track may begin earlier by this much.
const RENEWED: u32 = INTERLEAVE_MS.cast_unsigned();

/// Returns the distance from `earlier` to `later`, on a timeline that wraps.
pub(crate) fn distance(earlier: u32, later: u32) -> i32 {
    later.wrapping_sub(earlier).cast_signed()
}

/// Returns the later of two timestamps, on a timeline that wraps.
fn later(one: u32, other: u32) -> u32 {
    if distance(one, other) > 0 { other } else { one }
}

/// The clock of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timing {
    /// The audio track's.
    Audio,
    /// The video track's.
    Video,
    /// No clock. Sequence headers belong here, because encoders give them arbitrary timestamps.
    Untimed,
    /// No clock, and the timestamp 0. FFmpeg takes an `onMetaData` with another timestamp for a subtitle track.
    Never,
}

/// The timestamp of messages with [`Timing::Never`].
pub(crate) const NEVER: u32 = 0;

/// One value for each track.
#[derive(Clone, Copy, Debug, Default)]
struct PerTrack<T> {
    audio: T,
    video: T,
}

impl<T> PerTrack<T> {
    fn at(&mut self, timing: Timing) -> Option<&mut T> {
        match timing {
            Timing::Audio => Some(&mut self.audio),
            Timing::Video => Some(&mut self.video),
            Timing::Untimed | Timing::Never => None,
        }
    }
}

/// The frame interval, estimated by the last one: the video track's, or else the audio track's.
#[derive(Clone, Copy, Debug, Default)]
struct FrameInterval(PerTrack<Option<u32>>);

impl FrameInterval {
    fn observe(&mut self, timing: Timing, step: i32) {
        if let (Some(interval), Ok(step)) = (self.0.at(timing), u32::try_from(step))
            && (1..=INTERVAL_MAX_MS).contains(&step)
        {
            *interval = Some(step);
        }
    }

    fn get(self) -> u32 {
        self.0.video.or(self.0.audio).unwrap_or(DEFAULT_INTERVAL_MS)
    }
}

/// An encoder's timestamps as one timeline. Each track only goes forward, jumps become one frame interval, and the distance
/// of audio and video stays the encoder's.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceTimeline {
    tracks: PerTrack<Option<TrackClock>>,
    /// The latest timestamp of any track, or of the headers before the first frame.
    newest: Option<u32>,
    /// Source timestamp minus encoder timestamp, since the latest jump.
    offset: u32,
    interval: FrameInterval,
    jumps: u64,
}

#[derive(Clone, Copy, Debug)]
struct TrackClock {
    encoder: u32,
    source: u32,
    offset: u32,
}

impl SourceTimeline {
    /// Returns the source timestamp of an encoder's next message.
    pub(crate) fn place(&mut self, timing: Timing, encoder: u32) -> u32 {
        if timing == Timing::Never {
            return NEVER;
        }
        let Some(track) = self.tracks.at(timing).copied() else {
            return self.place_untimed(encoder);
        };
        let (source, offset) = match track {
            None => self.first_of_track(encoder),
            Some(track) => self.next_of_track(timing, track, encoder),
        };
        if let Some(track) = self.tracks.at(timing) {
            *track = Some(TrackClock {
                encoder,
                source,
                offset,
            });
        }
        self.newest = Some(self.newest.map_or(source, |newest| later(newest, source)));
        source
    }

    /// Returns how often the encoder jumped.
    pub(crate) fn jumps(&self) -> u64 {
        self.jumps
    }

    fn place_untimed(&mut self, encoder: u32) -> u32 {
        let candidate = encoder.wrapping_add(self.offset);
        match self.newest {
            None => {
                self.newest = Some(candidate);
                candidate
            }
            Some(newest) if (0..=FIRST_FRAME_MS).contains(&distance(newest, candidate)) => {
                candidate
            }
            Some(newest) => newest,
        }
    }

    fn first_of_track(&mut self, encoder: u32) -> (u32, u32) {
        let candidate = encoder.wrapping_add(self.offset);
        let Some(newest) = self.newest else {
            return (candidate, self.offset);
        };
        let alone = self.tracks.audio.is_none() && self.tracks.video.is_none();
        let near = if alone {
            (-FIRST_FRAME_MS..=FIRST_FRAME_MS).contains(&distance(newest, candidate))
        } else {
            (-INTERLEAVE_MS..=FORWARD_MS).contains(&distance(newest, candidate))
        };
        if near {
            (candidate, self.offset)
        } else {
            self.jump(newest, encoder)
        }
    }

    fn next_of_track(&mut self, timing: Timing, track: TrackClock, encoder: u32) -> (u32, u32) {
        let step = distance(track.encoder, encoder);
        if (-BACKWARD_MS..=FORWARD_MS).contains(&step) {
            self.interval.observe(timing, step);
            let source = later(track.source, encoder.wrapping_add(track.offset));
            return (source, track.offset);
        }
        let newest = self.newest.unwrap_or(track.source);
        // The other track has jumped already, and this one follows.
        let candidate = encoder.wrapping_add(self.offset);
        let follows = distance(track.source, candidate) > 0
            && (-INTERLEAVE_MS..=FORWARD_MS).contains(&distance(newest, candidate));
        if follows {
            (candidate, self.offset)
        } else {
            self.jump(newest, encoder)
        }
    }

    fn jump(&mut self, newest: u32, encoder: u32) -> (u32, u32) {
        let source = newest.wrapping_add(self.interval.get());
        self.offset = source.wrapping_sub(encoder);
        self.jumps += 1;
        (source, self.offset)
    }
}

/// A log's timestamps: the source's plus a shift. The shift makes a new epoch continue where the last one ended, and changes
/// within an epoch only when the log is renewed.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogTimeline {
    /// Log timestamp minus source timestamp.
    shift: u32,
    newest: Option<u32>,
    /// The log's age at the timestamp zero.
    age_at_zero: i64,
    renewals: u32,
    tracks: PerTrack<LogTrack>,
    interval: FrameInterval,
    /// Whether the next message is the first of its epoch.
    fresh: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct LogTrack {
    last: Option<u32>,
    /// Whether the track has had a message in this epoch.
    seen: bool,
}

impl LogTimeline {
    /// Begins an epoch with the next message.
    pub(crate) fn begin_epoch(&mut self) {
        self.fresh = true;
        self.tracks.audio.seen = false;
        self.tracks.video.seen = false;
    }

    /// Returns the shift of the last message.
    pub(crate) fn shift(&self) -> u32 {
        self.shift
    }

    /// Returns the latest timestamp in the log.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.newest
    }

    /// Returns how often the log was renewed.
    pub(crate) fn renewals(&self) -> u32 {
        self.renewals
    }

    /// Returns the age of the log in milliseconds at a timestamp. It goes on when the log is renewed.
    pub(crate) fn age(&self, timestamp: u32) -> i64 {
        self.age_at_zero + i64::from(timestamp.cast_signed())
    }

    /// Returns the log timestamp of the next message. `starts` says whether a viewer can start there.
    pub(crate) fn place(&mut self, timing: Timing, source: u32, starts: bool) -> u32 {
        if timing == Timing::Never {
            return NEVER;
        }
        let next = self
            .newest
            .map(|newest| newest.wrapping_add(self.interval.get()));
        let fresh = std::mem::take(&mut self.fresh);
        if let Some(next) = next.filter(|_| fresh) {
            self.shift = next.wrapping_sub(source);
        }
        let mut timestamp = source.wrapping_add(self.shift);
        let limit = match (fresh, starts) {
            (true, _) => RENEW_WITH_EPOCH,
            (false, true) => RENEW_AT_KEYFRAME,
            (false, false) => RENEW_AT_ONCE,
        };
        // A second track that begins before the timestamp zero is just below 2^32.
        let is_second = self.tracks.audio.last.or(self.tracks.video.last).is_some();
        let is_before_zero = is_second && timestamp >= RENEWED.wrapping_neg();
        if timestamp >= limit && !is_before_zero {
            self.renew(source, next);
            timestamp = RENEWED;
        }
        if let Some(track) = self.tracks.at(timing) {
            match track.last {
                // The second track of a new epoch would begin before its former end, so the whole epoch is shifted.
                Some(last) if !track.seen && distance(last, timestamp) <= 0 => {
                    let next = last.wrapping_add(1);
                    self.shift = self.shift.wrapping_add(next.wrapping_sub(timestamp));
                    timestamp = next;
                }
                Some(last) if track.seen => {
                    self.interval.observe(timing, distance(last, timestamp));
                }
                _ => {}
            }
            track.seen = true;
            track.last = Some(timestamp);
        }
        self.newest = Some(
            self.newest
                .map_or(timestamp, |newest| later(newest, timestamp)),
        );
        timestamp
    }

    /// Begins the timestamps again with the next message, which has this source timestamp and would be the log's `next`.
    fn renew(&mut self, source: u32, next: Option<u32>) {
        self.shift = RENEWED.wrapping_sub(source);
        self.renewals += u32::from(next.is_some());
        let next = next.map_or(0, |next| self.age(next));
        self.age_at_zero = next - i64::from(RENEWED);
        self.newest = None;
        self.tracks.audio.last = None;
        self.tracks.video.last = None;
    }
}

#[cfg(test)]
mod tests;
