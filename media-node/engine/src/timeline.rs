//! Timestamps: an encoder's, made one line without jumps ([`SourceTimeline`], on the first node only), and a log's,
//! which goes on through all epochs ([`LogTimeline`], on every node). Both are milliseconds that wrap at 2^32.
//!
//! Steady state is byte-exact: both add a constant, which is zero until an encoder jumps or a second epoch comes.

/// An encoder whose one track goes forward by more has jumped. Less is a pause of the encoder, and stays one.
const FORWARD_MS: i32 = 10_000;
/// An encoder whose one track goes back by more has jumped. Less is jitter: the track stands still until it is over.
const BACKWARD_MS: i32 = 250;
/// How far one track may be behind another.
const INTERLEAVE_MS: i32 = 10_000;
/// How far the first frame may be from the metadata and sequence headers, which many encoders stamp with zero.
const FIRST_FRAME_MS: i32 = 1_000;
/// Frame interval when nothing is known: 30 frames a second.
const DEFAULT_INTERVAL_MS: u32 = 33;
/// A longer distance of two messages of a track is a pause, not a frame interval.
const INTERVAL_MAX_MS: u32 = 1_000;

/// How far `later` is after `earlier`, on a line that wraps.
pub(crate) fn distance(earlier: u32, later: u32) -> i32 {
    later.wrapping_sub(earlier).cast_signed()
}

/// The later of two timestamps, on a line that wraps.
fn later(one: u32, other: u32) -> u32 {
    if distance(one, other) > 0 { other } else { one }
}

/// Which clock a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timing {
    /// The audio track's.
    Audio,
    /// The video track's.
    Video,
    /// None of its own, as a sequence header: encoders stamp them with anything.
    Untimed,
    /// None at all: FFmpeg takes an `onMetaData` with any other timestamp than 0 for a subtitle track.
    Never,
}

/// What a message that never has a time is stamped with.
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

/// The distance of frames, estimated by the last one seen: video's, else audio's.
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

/// An encoder's timestamps as one line: each track goes forward only, jumps become one frame interval, the distance of
/// audio and video stays as the encoder has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceTimeline {
    tracks: PerTrack<Option<TrackClock>>,
    /// The latest timestamp of any track, or of what came before the first frame.
    newest: Option<u32>,
    /// Source minus encoder, by the latest jump.
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
    /// The source timestamp of an encoder's next message.
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

    /// How often the encoder jumped.
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
        let near = match alone {
            true => (-FIRST_FRAME_MS..=FIRST_FRAME_MS).contains(&distance(newest, candidate)),
            false => (-INTERLEAVE_MS..=FORWARD_MS).contains(&distance(newest, candidate)),
        };
        match near {
            true => (candidate, self.offset),
            false => self.jump(newest, encoder),
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
        // The other track has jumped before, and this one only follows.
        let candidate = encoder.wrapping_add(self.offset);
        let follows = distance(track.source, candidate) > 0
            && (-INTERLEAVE_MS..=FORWARD_MS).contains(&distance(newest, candidate));
        match follows {
            true => (candidate, self.offset),
            false => self.jump(newest, encoder),
        }
    }

    fn jump(&mut self, newest: u32, encoder: u32) -> (u32, u32) {
        let source = newest.wrapping_add(self.interval.get());
        self.offset = source.wrapping_sub(encoder);
        self.jumps += 1;
        (source, self.offset)
    }
}

/// A log's timestamps: the source's plus a shift that is constant in an epoch and makes a new epoch go on where the
/// last one ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogTimeline {
    /// Log minus source.
    shift: u32,
    newest: Option<u32>,
    tracks: PerTrack<LogTrack>,
    interval: FrameInterval,
    /// The next message is the first one of its epoch.
    fresh: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct LogTrack {
    last: Option<u32>,
    /// It had a message in this epoch.
    seen: bool,
}

impl LogTimeline {
    /// The next message opens an epoch.
    pub(crate) fn begin_epoch(&mut self) {
        self.fresh = true;
        self.tracks.audio.seen = false;
        self.tracks.video.seen = false;
    }

    /// The shift in force for the last message placed.
    pub(crate) fn shift(&self) -> u32 {
        self.shift
    }

    /// The latest timestamp in the log.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.newest
    }

    /// The log timestamp of the next message.
    pub(crate) fn place(&mut self, timing: Timing, source: u32) -> u32 {
        if timing == Timing::Never {
            return NEVER;
        }
        if std::mem::take(&mut self.fresh)
            && let Some(newest) = self.newest
        {
            let next = newest.wrapping_add(self.interval.get());
            self.shift = next.wrapping_sub(source);
        }
        let mut timestamp = source.wrapping_add(self.shift);
        if let Some(track) = self.tracks.at(timing) {
            match track.last {
                // A new epoch's second track would begin before its old end: the epoch moves on by as much.
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
}

#[cfg(test)]
mod tests;
