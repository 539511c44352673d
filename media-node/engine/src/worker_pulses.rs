//! The pulse of each worker, and the number of its viewers that it follows.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::pulse::{WorkerLoad, next_pulse};
use crate::settings::EngineSettings;

/// The pulses of all workers.
#[derive(Debug)]
pub(crate) struct WorkerPulses(Box<[WorkerPulse]>);

/// One worker. Aligned to two cache lines, which processors fetch together: viewers that join on one worker do not slow the
/// publishers on the others.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct WorkerPulse {
    viewers: AtomicUsize,
    nanoseconds: AtomicU64,
}

impl WorkerPulses {
    pub(crate) fn new(settings: &EngineSettings) -> Self {
        let new = || {
            let worker = WorkerPulse::default();
            worker.set(settings.pulse_min.min(settings.pulse_max));
            worker
        };
        Self((0..settings.workers.max(1)).map(|_| new()).collect())
    }

    /// Returns the pulse of a worker. Every number is valid, and at least one worker exists.
    pub(crate) fn of(&self, worker: usize) -> Option<&WorkerPulse> {
        self.0.get(worker.checked_rem(self.0.len())?)
    }

    /// Returns the viewers of all workers together.
    pub(crate) fn viewers(&self) -> usize {
        let viewers = self.0.iter().map(|worker| worker.viewers());
        viewers.sum()
    }
}

impl WorkerPulse {
    pub(crate) fn viewer_joined(&self) {
        self.viewers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn viewer_left(&self) {
        self.viewers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn pulse(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// Adapts the pulse to the share of time in which the worker's thread had work, and returns it.
    pub(crate) fn adapt(&self, settings: &EngineSettings, busy: f64) -> Duration {
        let viewers = self.viewers();
        let load = WorkerLoad { viewers, busy };
        let pulse = next_pulse(settings, load, self.pulse());
        self.set(pulse);
        pulse
    }

    fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    fn set(&self, pulse: Duration) {
        let nanoseconds = u64::try_from(pulse.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.store(nanoseconds, Ordering::Relaxed);
    }
}
