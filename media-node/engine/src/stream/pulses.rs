//! The pulses of a stream: when each worker's notification is due, and what happens then. Segments that no reader needs any more are
//! given up at the same time. Where no message comes for a while, the tracks are decided.

use std::time::{Duration, Instant};

use super::Stream;
use crate::active_publication::ActivePublication;
use crate::notifier::Notifier;
use crate::pulse::due;
use crate::retention::Review;
use crate::tracks::DECIDED_AFTER;
use crate::worker_pulses::WorkerPulse;
use crate::write_state::{Notification, WriteState};

impl Stream {
    /// Notifies the workers whose pulse is due, and seals for them. Returns when the next one is due.
    pub(crate) fn pulse(&self, state: &mut WriteState, now: Instant) -> Option<Instant> {
        if state.is_urgent() {
            self.flush(state);
            state.last_seal = Some(now);
            for notified in &mut state.notified {
                notified.at = Some(now);
            }
            return None;
        }
        let earliest = self.earliest_due(state, now)?;
        if earliest > now {
            return Some(earliest);
        }
        if state.writer.is_open() {
            state.writer.seal();
            self.commit(state);
            state.last_seal = Some(now);
        }
        // A reader that joined after the due times were read is seen here, because the lock of the window orders both.
        for worker in 0..state.notified.len() {
            // A worker that is almost due is notified as well: fewer and larger segments for all.
            let early = self.worker_pulse(worker) / 8;
            if self
                .due(state, worker, now)
                .is_some_and(|due| due <= now + early)
            {
                self.notify(state, worker, Some(now));
            }
        }
        self.earliest_due(state, now)
    }

    /// Decides a few times a second what readers need of the log. The rest is evicted with the next segment.
    pub(crate) fn review_retention(&self, state: &mut WriteState, now: Instant) {
        if !state.retention.is_due(now) {
            return;
        }
        let settings = &self.context.settings;
        let before = state.retention.add(Review {
            at: now,
            reached: self.reached_by_viewers().unwrap_or(state.segments),
            appended: state.segments,
        });
        let (readers, continuity) = (&self.window_readers, settings.continuity);
        let needs_window = state.retention.needs_window(readers, continuity, now);
        let Some(before) = before else {
            return;
        };
        // Readers that wait for the publication on another media node get it from its beginning.
        let is_recent =
            |it: &ActivePublication| now.saturating_duration_since(it.started) < settings.window;
        let mut window = self.window();
        window.set_old_end(before.appended);
        if !needs_window && !state.publication.as_ref().is_some_and(is_recent) {
            window.need_from(before.reached);
        }
    }

    /// Decides the tracks of a publication that is silent after a keyframe, so that viewers can start before its next frame.
    pub(crate) fn decide_tracks(&self, state: &mut WriteState, now: Instant) {
        let last = state.publication.as_ref().map(|active| active.last_message);
        let is_silent = last.is_some_and(|at| now.saturating_duration_since(at) >= DECIDED_AFTER);
        if !is_silent || self.window().newest_start().is_none() || !state.writer.decide_tracks() {
            return;
        }
        let tracks = state.writer.tracks();
        self.update_window(&mut state.playable, |window| window.set_tracks(tracks));
        self.notifiers.notify();
    }

    /// Returns the number of the segment that the viewers of the slowest worker take next: a busy worker serves them late.
    fn reached_by_viewers(&self) -> Option<u64> {
        let workers = (0..).zip(&self.newest_runs);
        let watched = workers.filter(|(worker, _)| {
            let notifier = self.notifiers.of(*worker);
            notifier.is_some_and(Notifier::has_readers)
        });
        watched.filter_map(|(_, newest)| newest.next()).min()
    }

    /// Returns when the next worker is due. Messages that no reader waits for have the longest pulse.
    fn earliest_due(&self, state: &WriteState, now: Instant) -> Option<Instant> {
        let workers = 0..state.notified.len();
        let dues = workers.filter_map(|worker| self.due(state, worker, now));
        let unread = || due(state.last_seal, self.context.settings.pulse_max, now);
        dues.min().or_else(|| state.writer.is_open().then(unread))
    }

    /// Returns when a worker is due, if it has readers that were not notified of everything.
    fn due(&self, state: &WriteState, worker: usize, now: Instant) -> Option<Instant> {
        let notified = state.notified.get(worker)?;
        let lacks_some = state.writer.is_open() || notified.segments < state.segments;
        let waits = lacks_some && self.notifiers.of(worker)?.has_readers();
        waits.then(|| due(notified.at, self.worker_pulse(worker), now))
    }

    pub(super) fn notify(&self, state: &mut WriteState, worker: usize, at: Option<Instant>) {
        let segments = state.segments;
        if let Some(notified) = state.notified.get_mut(worker) {
            *notified = Notification { at, segments };
        }
        if let Some(notifier) = self.notifiers.of(worker) {
            notifier.notify();
        }
    }

    fn worker_pulse(&self, worker: usize) -> Duration {
        let worker = self.context.workers.of(worker);
        worker.map_or(Duration::ZERO, WorkerPulse::pulse)
    }
}
