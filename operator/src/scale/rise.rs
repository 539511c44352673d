//! How fast the load of the edges rises: a pure function of what it was.

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// Time that shows whether a rise goes on.
const RECENT: Duration = Duration::from_secs(15);
/// A rise below this part of the load is noise.
const NOISE: f64 = 0.05;

/// The loads of the last seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct LoadHistory {
    loads: VecDeque<PastLoad>,
}

#[derive(Clone, Copy, Debug)]
struct PastLoad {
    at: Timestamp,
    /// In Pods.
    load: f64,
    /// Edges that there were for it.
    edges: u16,
}

impl LoadHistory {
    /// Forgets all loads: the next one is no rise.
    pub(super) fn clear(&mut self) {
        self.loads.clear();
    }

    /// Adds a load in Pods, and returns by how much it will have grown after `lead`; 0 for noise, and for a load for which there
    /// were enough edges before it began to rise: one that swings comes back to where it was.
    ///
    /// The last interval shows a crowd immediately. The time of `lead` shows a slower rise, as long as it goes on: one that is noise
    /// over that time is within the buffer.
    pub(super) fn rise(&mut self, load: f64, edges: u16, lead: Duration, now: Timestamp) -> f64 {
        if self.loads.back().is_some_and(|last| now <= last.at) {
            self.clear();
        }
        let kept = lead.max(RECENT);
        while self.loads.front().is_some_and(|past| past.at + kept < now) {
            self.loads.pop_front();
        }
        let current = PastLoad {
            at: now,
            load,
            edges,
        };
        let slope = self.slope(&current);
        self.loads.push_back(current);
        slope * lead.as_secs_f64()
    }

    /// Returns the Pods a second by which the load rises.
    fn slope(&self, current: &PastLoad) -> f64 {
        let is_recent = |past: &&PastLoad| past.at + RECENT >= current.at;
        let first = self.loads.front();
        let (Some(first), Some(last)) = (first, self.loads.back()) else {
            return 0.0;
        };
        if f64::from(current.edges) <= f64::from(first.edges) * (1.0 + NOISE) {
            return 0.0;
        }
        let recent = self.loads.iter().find(is_recent);
        let recent = recent.map_or(0.0, |past| current.slope_since(past));
        let rises = self.loads.iter().filter(|past| current.rises_from(past));
        let lasting = rises
            .map(|past| current.slope_since(past))
            .fold(0.0, f64::max);
        let at_once = if current.rises_from(last) {
            current.slope_since(last)
        } else {
            0.0
        };
        lasting.min(recent).max(at_once)
    }
}

impl PastLoad {
    fn rises_from(&self, past: &Self) -> bool {
        self.load - past.load > self.load * NOISE
    }

    fn slope_since(&self, past: &Self) -> f64 {
        (self.load - past.load) / self.at.duration_since(past.at).as_secs_f64()
    }
}
