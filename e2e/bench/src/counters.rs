//! Where viewers count what they receive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::check::StreamCheck;
use crate::clip::now;
use crate::histogram::Histogram;

/// What the viewers of a crowd have received together.
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) connected: AtomicU64,
    pub(crate) started: AtomicU64,
    pub(crate) frames: AtomicU64,
    pub(crate) gaps: AtomicU64,
    pub(crate) latency: Mutex<Histogram>,
    pub(crate) first_frame: Mutex<Histogram>,
    pub(crate) faults: Mutex<Vec<String>>,
}

/// Where one viewer counts what it receives.
#[derive(Debug)]
pub(crate) struct ViewerCounters {
    pub(crate) totals: Arc<Totals>,
    pub(crate) start: Instant,
    pub(crate) has_frame: AtomicBool,
    pub(crate) has_both_tracks: AtomicBool,
    pub(crate) measures_latency: bool,
}

impl ViewerCounters {
    pub(crate) fn connected(&self) {
        self.totals.connected.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what a viewer's check has found since the previous call.
    pub(crate) fn checked(&self, check: &mut StreamCheck) {
        let gaps = std::mem::take(&mut check.gaps);
        if gaps > 0 {
            self.totals.gaps.fetch_add(gaps, Ordering::Relaxed);
        }
        if check.is_complete() && !self.has_both_tracks.swap(true, Ordering::Relaxed) {
            self.totals.started.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a frame that was sent at this time.
    pub(crate) fn frame(&self, sent: Duration) {
        self.totals.frames.fetch_add(1, Ordering::Relaxed);
        if !self.has_frame.swap(true, Ordering::Relaxed) {
            self.totals.first_frame.lock().record(self.start.elapsed());
        } else if self.measures_latency {
            let latency = now().saturating_sub(sent);
            self.totals.latency.lock().record(latency);
        }
    }
}
