//! The media memory of a media node: one budget for the logs of all streams, and for the incomplete messages of their
//! publishers.
//!
//! A segment counts from its first message until its last reader has dropped it. When the sum is above the target, five
//! eighths of the limit, a stream that has more than an equal share gives up its oldest segments as it gets new ones:
//!
//! | memory in use | share | what such a stream gives up |
//! |---|---|---|
//! | above the target | of the target | what precedes the newest group of pictures; without readers also that |
//! | above the limit | of the limit | the newest group of pictures as well; a message that alone exceeds the share is refused |
//!
//! The rest of the limit is for newest groups of pictures, which grow at the same time when encoders start together. A stream
//! within its share gives up nothing. So a few large streams cannot shorten many small ones, and no timer has to visit all
//! streams. Each publication reserves what its groups of pictures need: at first a mebibyte, and after half a second what its
//! rate shows. A publication that does not fit beside the others is refused at its start. When those that were accepted do not fit any
//! more, because encoders have raised their bitrates, the largest ones end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;

/// What a new publication reserves until its first group of pictures is complete.
const FIRST_RESERVATION: usize = 1 << 20;

/// Time after which the rate of a first group of pictures is known. The first reservation of a client that sends almost nothing
/// keeps encoders out for no longer.
const RATE_KNOWN: Duration = Duration::from_millis(500);

/// The duration of a first group of pictures. Encoders send a keyframe every second or two.
const FIRST_GROUP: Duration = Duration::from_secs(2);

/// While memory is short, the init data of a stream may take its equal share divided by this number.
const INIT_DATA_PARTS: usize = 4;

/// Time after which the memory counts as sufficient again. Encoders send a keyframe more often.
const PRESSURE_LASTS: Duration = Duration::from_secs(30);

/// The error of a media node that has no memory for another stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the memory for media, {} MiB, is in use by other streams", limit >> 20)]
pub struct OutOfMemory {
    /// The limit of media memory, in bytes.
    pub limit: usize,
}

/// Statistics of a media node's media memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryStats {
    /// Bytes in use.
    pub used: usize,
    /// The limit, in bytes.
    pub limit: usize,
    /// Segments that logs have given up earlier than configured, because memory was short.
    pub evicted_early: u64,
    /// Publications, messages and viewers' requests for streams of other media nodes that were refused for lack of memory.
    pub refused: u64,
    /// Streams that were ended, because the groups of pictures of all did not fit.
    pub ended: u64,
    /// Publications that have memory reserved.
    pub publications: usize,
    /// Memory was short within the last half minute.
    pub pressure: bool,
}

/// The media memory that all streams of a registry share.
#[derive(Debug)]
pub(crate) struct MediaMemory {
    limit: AtomicUsize,
    used: AtomicUsize,
    /// The sum of all reservations.
    reserved: AtomicUsize,
    /// The number of reservations.
    streams: AtomicUsize,
    evicted_early: AtomicU64,
    /// Publications and messages that were refused.
    refused: AtomicU64,
    ended: AtomicU64,
    pressure: AtomicBool,
}

impl Default for MediaMemory {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl MediaMemory {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: AtomicUsize::new(limit),
            used: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            evicted_early: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            pressure: AtomicBool::new(false),
        }
    }

    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Returns what streams are to give up now.
    pub(crate) fn shortage(&self) -> Shortage {
        let used = self.used.load(Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed);
        let above = |bytes: usize| Excess {
            bytes: used.saturating_sub(bytes),
            share: self.share_of(bytes),
        };
        Shortage {
            target: above(limit / 8 * 5),
            limit: above(limit),
        }
    }

    /// Returns an error when the limit is exceeded and `bytes` of a publisher are more than an equal share.
    pub(crate) fn allow(&self, bytes: usize) -> Result<(), OutOfMemory> {
        if !self.shortage().limit.claims(bytes, 0) {
            return Ok(());
        }
        Err(self.refuse())
    }

    /// The same for all of a stream's init data. It stays for as long as the stream and leaves most of the share to the log.
    pub(crate) fn allow_init_data(&self, bytes: usize) -> Result<(), OutOfMemory> {
        self.allow(bytes.saturating_mul(INIT_DATA_PARTS))
    }

    /// Returns the error of a client that is refused, and counts it.
    pub(crate) fn refuse(&self) -> OutOfMemory {
        self.refused.fetch_add(1, Ordering::Relaxed);
        OutOfMemory {
            limit: self.limit.load(Ordering::Relaxed),
        }
    }

    /// Reserves memory for a new publication.
    pub(crate) fn reserve(self: &Arc<Self>) -> Result<Reservation, OutOfMemory> {
        let reserved = &self.reserved;
        let add = |reserved| self.sum_with_another(reserved);
        let added = reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        added.map_err(|_| self.refuse())?;
        self.streams.fetch_add(1, Ordering::Relaxed);
        Ok(Reservation {
            memory: Arc::clone(self),
            bytes: FIRST_RESERVATION,
            is_first: true,
        })
    }

    /// Returns whether a publication could reserve memory now.
    pub(crate) fn has_room(&self) -> bool {
        let reserved = self.reserved.load(Ordering::Relaxed);
        self.sum_with_another(reserved).is_some()
    }

    /// Returns the sum of all reservations and a first one, if it fits.
    fn sum_with_another(&self, reserved: usize) -> Option<usize> {
        let sum = reserved.saturating_add(FIRST_RESERVATION);
        let limit = self.limit.load(Ordering::Relaxed);
        // A sixteenth stays free, because a new message is counted before older ones are given up for it.
        (sum <= limit - limit / 16).then_some(sum)
    }

    /// Returns by how much the sum of all reservations is above so many bytes.
    pub(crate) fn reserved_above(&self, bytes: usize) -> usize {
        self.reserved.load(Ordering::Relaxed).saturating_sub(bytes)
    }

    /// Returns an equal share of so many bytes for each stream.
    pub(crate) fn share_of(&self, bytes: usize) -> usize {
        bytes / self.streams.load(Ordering::Relaxed).max(1)
    }

    pub(crate) fn count_ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_early_evictions(&self, segments: u64) {
        self.evicted_early.fetch_add(segments, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        MemoryStats {
            used: self.used.load(Ordering::Relaxed),
            limit: self.limit.load(Ordering::Relaxed),
            evicted_early: self.evicted_early.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            ended: self.ended.load(Ordering::Relaxed),
            publications: self.streams.load(Ordering::Relaxed),
            pressure: self.pressure.load(Ordering::Relaxed),
        }
    }
}

/// What streams are to give up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shortage {
    /// Media that precede the newest groups of pictures.
    target: Excess,
    /// The newest groups of pictures.
    limit: Excess,
}

impl Shortage {
    pub(crate) fn is_over_target(&self) -> bool {
        self.target.bytes > 0
    }

    pub(crate) fn is_over_limit(&self) -> bool {
        self.limit.bytes > 0
    }

    /// Returns whether a log of `bytes` is to give up another segment after those of `released` bytes. `is_kept` is whether
    /// the segment belongs to a group of pictures that has readers.
    pub(crate) fn claims_another(&self, bytes: usize, released: usize, is_kept: bool) -> bool {
        let excess = if is_kept { &self.limit } else { &self.target };
        excess.claims(bytes, released)
    }
}

/// The memory in use above a number of bytes.
#[derive(Clone, Copy, Debug)]
struct Excess {
    bytes: usize,
    /// An equal share for each stream. A stream with less gives up nothing.
    share: usize,
}

impl Excess {
    /// Returns whether a stream that has `bytes` and has given up those `released` is to give up more.
    fn claims(&self, bytes: usize, released: usize) -> bool {
        bytes > self.share && released < self.bytes
    }
}

/// Bytes that count as used until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct MemoryClaim {
    memory: Arc<MediaMemory>,
    bytes: usize,
}

impl MemoryClaim {
    pub(crate) fn new(memory: &Arc<MediaMemory>, bytes: usize) -> Self {
        memory.used.fetch_add(bytes, Ordering::Relaxed);
        Self {
            memory: Arc::clone(memory),
            bytes,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn set(&mut self, bytes: usize) {
        change(&self.memory.used, &mut self.bytes, bytes);
    }

    /// Returns the claim, and leaves an empty one of the same memory.
    pub(crate) fn take(&mut self) -> Self {
        let memory = Arc::clone(&self.memory);
        std::mem::replace(self, Self { memory, bytes: 0 })
    }
}

impl Drop for MemoryClaim {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The memory of the incomplete messages of one encoder, on air or standing by, or of one relay.
#[derive(Debug)]
pub struct IncompleteMessages(MemoryClaim);

impl IncompleteMessages {
    pub(crate) fn new(memory: &Arc<MediaMemory>) -> Self {
        Self(MemoryClaim::new(memory, 0))
    }

    /// Sets the bytes that they occupy. Call it after each read.
    pub fn count(&mut self, bytes: usize) {
        self.0.set(bytes);
    }

    /// Sets the bytes that an encoder's incomplete messages occupy.
    ///
    /// # Errors
    /// When the media memory is in use, and the bytes are more than an equal share of it.
    pub fn hold(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        self.count(bytes);
        self.0.memory.allow(bytes)
    }
}

/// The bytes that a stream with a publisher needs: those of its largest recent group of pictures.
#[derive(Debug)]
pub(crate) struct Reservation {
    memory: Arc<MediaMemory>,
    bytes: usize,
    /// The stream has not had a complete group of pictures.
    is_first: bool,
}

impl Reservation {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn set(&mut self, bytes: usize) {
        change(&self.memory.reserved, &mut self.bytes, bytes);
    }

    /// Reserves the bytes of the `complete` group of pictures, or those of the `newest` one if they are more already.
    pub(crate) fn update(&mut self, complete: Option<usize>, newest: usize) {
        self.is_first &= complete.is_none();
        self.set(complete.unwrap_or(self.bytes).max(newest));
    }

    /// Reserves what the first group of pictures needs at its rate, while that is not complete. It has `newest` bytes, `age` after the
    /// publication began.
    pub(crate) fn settle_first(&mut self, newest: usize, age: Duration) {
        if self.is_first && age >= RATE_KNOWN {
            self.set(expected_group(newest, age));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory
            .reserved
            .fetch_sub(self.bytes, Ordering::Relaxed);
        self.memory.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns twice the bytes that a first group of pictures has at its end if it goes on at its rate, because the beginning of a
/// connection can be slow.
fn expected_group(newest: usize, age: Duration) -> usize {
    let millis = |time: Duration| usize::try_from(time.as_millis()).unwrap_or(usize::MAX);
    let left = millis(FIRST_GROUP.saturating_sub(age));
    match left {
        0 => newest,
        _ => {
            let whole = newest.saturating_mul(millis(FIRST_GROUP)) / millis(age).max(1);
            whole.saturating_mul(2).min(FIRST_RESERVATION).max(newest)
        }
    }
}

/// Changes one part of a sum.
fn change(sum: &AtomicUsize, part: &mut usize, new: usize) {
    match new.checked_sub(*part) {
        Some(0) => {}
        Some(more) => drop(sum.fetch_add(more, Ordering::Relaxed)),
        None => drop(sum.fetch_sub(*part - new, Ordering::Relaxed)),
    }
    *part = new;
}

/// Decides at each sweep whether memory is short.
#[derive(Debug, Default)]
pub(crate) struct PressureWatch {
    /// Early evictions and refusals at the last update.
    seen: u64,
    /// The last update that found new ones.
    last: Option<Instant>,
}

impl PressureWatch {
    pub(crate) fn update(&mut self, memory: &MediaMemory, now: Instant) {
        let evicted = memory.evicted_early.load(Ordering::Relaxed);
        let events = evicted.saturating_add(memory.refused.load(Ordering::Relaxed));
        if std::mem::replace(&mut self.seen, events) != events {
            self.last = Some(now);
        }
        let is_recent = |last| now.saturating_duration_since(last) < PRESSURE_LASTS;
        let pressure = self.last.is_some_and(is_recent);
        memory.pressure.store(pressure, Ordering::Relaxed);
    }
}
