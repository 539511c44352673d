//! Decides how much of a log is kept: the whole window while a relay or a viewer that is behind may need it, otherwise little more
//! than new viewers need. Most of the memory of a media node with many streams depends on it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Time that a segment is kept after a worker has begun to serve its viewers with it. All of them follow within a turn of the worker.
const KEPT_AT_LEAST: Duration = Duration::from_secs(1);

/// The number of reviews in [`KEPT_AT_LEAST`].
const REVIEWS: u32 = 4;

/// The readers for which a stream keeps the whole window.
#[derive(Debug, Default)]
pub(crate) struct WindowReaders {
    /// Relays, and publications that are forwarded. They continue where an outage has interrupted them.
    relays: AtomicUsize,
    /// Viewers that have not been sent everything.
    viewers_behind: AtomicUsize,
}

impl WindowReaders {
    pub(crate) fn relay_joined(&self) {
        self.relays.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn relay_left(&self) {
        self.relays.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn viewer_fell_behind(&self) {
        self.viewers_behind.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn viewer_caught_up(&self) {
        self.viewers_behind.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Decides a few times a second which segments a log gives up.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    /// When the log last had relays.
    relayed: Option<Instant>,
    /// Former reviews, oldest first.
    reviews: VecDeque<Review>,
}

/// How far a log and its viewers were at some time, in numbers of segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Review {
    pub(crate) at: Instant,
    /// The segment that viewers took next.
    pub(crate) reached: u64,
    /// The segment that was appended next.
    pub(crate) appended: u64,
}

impl Retention {
    /// Returns whether it is time for another review.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let newest = self.reviews.back();
        newest.is_none_or(|newest| lasted(newest.at, KEPT_AT_LEAST / REVIEWS, now))
    }

    /// Adds a review. Returns the one of [`KEPT_AT_LEAST`] before, if there was one.
    pub(crate) fn add(&mut self, review: Review) -> Option<Review> {
        let is_old = |it: &Review| lasted(it.at, KEPT_AT_LEAST, review.at);
        self.reviews.push_back(review);
        while self.reviews.get(1).is_some_and(is_old) {
            self.reviews.pop_front();
        }
        self.reviews.front().copied().filter(is_old)
    }

    /// Returns whether readers need the whole window. `continuity` is the time in which a relay may return.
    pub(crate) fn needs_window(
        &mut self,
        readers: &WindowReaders,
        continuity: Duration,
        now: Instant,
    ) -> bool {
        let count = |readers: &AtomicUsize| readers.load(Ordering::Relaxed);
        if count(&readers.relays) > 0 {
            self.relayed = Some(now);
        }
        let relay_may_return = self.relayed.is_some_and(|at| !lasted(at, continuity, now));
        relay_may_return || count(&readers.viewers_behind) > 0
    }
}

/// Returns whether `time` has passed since an instant.
fn lasted(since: Instant, time: Duration, now: Instant) -> bool {
    now.saturating_duration_since(since) >= time
}

/// Makes a stream keep the whole window, until this is dropped and the continuity window has passed.
#[derive(Debug)]
pub struct KeptWindow(Arc<WindowReaders>);

impl KeptWindow {
    pub(crate) fn new(readers: &Arc<WindowReaders>) -> Self {
        readers.relay_joined();
        Self(Arc::clone(readers))
    }
}

impl Drop for KeptWindow {
    fn drop(&mut self) {
        self.0.relay_left();
    }
}
