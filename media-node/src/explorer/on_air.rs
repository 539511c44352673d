//! The encoders of one stream: which of them are connected, what they have sent, and which one has to be on air.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use media_config::DuplicatePublish;
use parking_lot::Mutex;

use super::attempts::Attempts;

/// Time in which all media nodes know of an encoder that is accepted, and the former one is disconnected: that of surveys, of a group
/// of pictures, and of what is on its way.
const SETTLED: Duration = Duration::from_secs(3);

/// Time between two encoders that may not know of each other.
const RACE: Duration = Duration::from_millis(1500);

/// Time after which the encoder with the highest priority is on air: it has been steady for ten seconds, and has a keyframe.
pub(super) const PREFERRED: Duration = Duration::from_secs(13);

/// Time without a message after which an encoder hangs, and what it takes until another one has its place.
const SILENT: Duration = Duration::from_secs(1);
const FAILED_OVER: Duration = Duration::from_secs(6);

/// Time from which on it may go on air.
const MAY_BE_PREFERRED: Duration = Duration::from_secs(10);

/// What the encoders of one stream have in common.
#[derive(Clone, Default)]
pub(super) struct OnAir {
    next: Arc<AtomicU32>,
    encoders: Arc<Mutex<Encoders>>,
}

#[derive(Default)]
struct Encoders {
    attempts: Attempts,
    /// Those whose connections are open.
    accepted: BTreeMap<u32, Sending>,
    /// The number of messages of those that have finished their streams, and when they did.
    finished: BTreeMap<u32, (u32, Duration)>,
    /// When one of them sent the last message that each media node knows of.
    last: Duration,
    /// When the connection of one of them was closed last. Whichever has a keyframe first takes its place at first.
    closed: Duration,
}

/// What an encoder has sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    pub(super) encoder: u32,
    pub(super) priority: u8,
    /// When it was accepted.
    pub(super) since: Duration,
    /// When it sent its last message.
    pub(super) last: Duration,
    /// The number of its next message.
    pub(super) next: u32,
}

impl Sending {
    /// Returns whether it sends nothing although it is connected.
    fn is_silent(&self, now: Duration) -> bool {
        now >= self.last + SILENT
    }

    /// Returns whether it is going on air if it has the highest priority: for a moment some viewers see it, and others the former one.
    pub(super) fn is_being_preferred(&self, now: Duration) -> bool {
        (MAY_BE_PREFERRED..PREFERRED).contains(&(now - self.since))
    }
}

impl Encoders {
    fn has_just_left(&self, now: Duration) -> bool {
        let has_hung = |it: &Sending| it.is_silent(now) && now < it.last + FAILED_OVER;
        now < self.closed + SETTLED || self.accepted.values().any(has_hung)
    }
}

impl OnAir {
    /// Returns the number of a new encoder.
    pub(super) fn next_encoder(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the encoders whose connections are open.
    pub(super) fn accepted(&self) -> Vec<Sending> {
        self.encoders.lock().accepted.values().copied().collect()
    }

    /// Returns whether no encoder is connected, besides those that hang.
    pub(super) fn is_free(&self, now: Duration) -> bool {
        let encoders = self.encoders.lock();
        encoders.accepted.values().all(|it| it.is_silent(now))
    }

    /// Returns how many messages an encoder has sent that has finished its stream while it was accepted, and when it did.
    pub(super) fn finished(&self, encoder: u32) -> Option<(u32, Duration)> {
        self.encoders.lock().finished.get(&encoder).copied()
    }

    /// Returns when one of them sent the last message. One that has just begun elsewhere does not count: a media node may end the stream
    /// before it knows of it.
    pub(super) fn last(&self) -> Duration {
        self.encoders.lock().last
    }

    pub(super) fn set(&self, sending: Sending) {
        let mut encoders = self.encoders.lock();
        if sending.last >= sending.since + RACE {
            encoders.last = sending.last;
        }
        encoders.accepted.insert(sending.encoder, sending);
    }

    /// Notes that an encoder ends its stream.
    pub(super) fn finish(&self, encoder: u32, now: Duration) {
        let mut encoders = self.encoders.lock();
        if let Some(sending) = encoders.accepted.get(&encoder) {
            let next = sending.next;
            encoders.finished.insert(encoder, (next, now));
        }
    }

    /// Notes that the connection of an encoder is closed.
    pub(super) fn close(&self, encoder: u32, now: Duration) {
        let mut encoders = self.encoders.lock();
        encoders.accepted.remove(&encoder);
        encoders.closed = now;
        encoders.attempts.ended(encoder, now);
    }

    pub(super) fn attempts<T>(&self, change: impl FnOnce(&mut Attempts) -> T) -> T {
        change(&mut self.encoders.lock().attempts)
    }

    /// Returns the encoder that has to be on air instead of another one, of which something was received now.
    pub(super) fn instead_of(
        &self,
        encoder: u32,
        policy: DuplicatePublish,
        now: Duration,
    ) -> Option<Sending> {
        let encoders = self.encoders.lock();
        let received = encoders.accepted.get(&encoder)?;
        let mut others = encoders.accepted.values();
        let found = others.find(|other| match policy {
            DuplicatePublish::Takeover => {
                other.since > received.since + RACE && now >= other.since + SETTLED
            }
            DuplicatePublish::Reject => other.since + RACE < received.since,
            // One that is preferred to the former one at the same time may take the place of the best one, for a group of pictures.
            DuplicatePublish::Standby => {
                other.priority > received.priority
                    && !received.is_being_preferred(now)
                    && now >= other.since + PREFERRED
                    && !other.is_silent(now)
                    && !encoders.has_just_left(now)
            }
        });
        found.copied()
    }

    /// Returns whether one of them hangs since a short time ago, or its connection was closed.
    pub(super) fn has_just_left(&self, now: Duration) -> bool {
        self.encoders.lock().has_just_left(now)
    }

    /// Returns the encoder for which another one has to be rejected now, with the policy `reject`.
    pub(super) fn rejects(&self, now: Duration) -> Option<Sending> {
        let encoders = self.encoders.lock();
        let mut accepted = encoders.accepted.values();
        accepted.find(|it| it.since + RACE < now).copied()
    }

    /// Returns whether an encoder has left the air for another one, although it is connected and as good. Several may take the place of one
    /// that has left: the last of them stays.
    pub(super) fn is_deposed(&self, former: u32, by: u32, now: Duration) -> bool {
        let encoders = self.encoders.lock();
        if encoders.has_just_left(now) {
            return false;
        }
        let former = encoders.accepted.get(&former);
        let former = former.filter(|former| !former.is_silent(now));
        former
            .zip(encoders.accepted.get(&by))
            .is_some_and(|(former, by)| {
                former.priority >= by.priority && former.since.abs_diff(by.since) > RACE
            })
    }

    /// Returns two encoders that are both accepted for longer than it takes to disconnect one of them.
    pub(super) fn both_accepted(&self, now: Duration) -> Option<(Sending, Sending)> {
        let encoders = self.encoders.lock();
        let accepted = encoders.accepted.values();
        let mut settled = accepted.filter(|it| now >= it.since + SETTLED);
        settled.next().copied().zip(settled.next().copied())
    }
}
