//! Many viewers at the same time, and what they have received together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::counters::{Totals, ViewerCounters};
use crate::histogram::Histogram;
use crate::viewer;

/// How viewers start, and what they do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    /// Viewers that begin to connect in a second.
    pub(crate) joins_per_second: u32,
    /// Whether each frame's latency is measured, which takes time.
    pub(crate) measures_latency: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            joins_per_second: 5_000,
            measures_latency: false,
        }
    }
}

/// Viewers that watch until they are dropped.
#[derive(Debug)]
pub(crate) struct Crowd {
    totals: Arc<Totals>,
    viewers: Vec<AbortHandle>,
}

/// What all viewers of a crowd have received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) frames: u64,
    /// How often a viewer left frames out.
    pub(crate) gaps: u64,
}

impl Crowd {
    /// Starts viewers.
    pub(crate) fn start(
        runtime: &Handle,
        urls: impl Iterator<Item = String>,
        behaviour: Behaviour,
    ) -> Self {
        let pause = Duration::from_secs(1) / behaviour.joins_per_second;
        let begin = tokio::time::Instant::now();
        let totals = Arc::new(Totals {
            connected: AtomicU64::new(0),
            started: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            latency: Mutex::default(),
            first_frame: Mutex::default(),
            faults: Mutex::default(),
        });
        let viewers = (0..).zip(urls).map(|(number, url)| {
            let totals = Arc::clone(&totals);
            let task = runtime.spawn(async move {
                tokio::time::sleep_until(begin + pause * number).await;
                let counters = ViewerCounters {
                    totals: Arc::clone(&totals),
                    start: Instant::now(),
                    has_frame: AtomicBool::new(false),
                    has_both_tracks: AtomicBool::new(false),
                    measures_latency: behaviour.measures_latency,
                };
                if let Err(fault) = viewer::watch(&url, &counters).await {
                    totals.faults.lock().push(format!("{url}: {fault:#}"));
                }
            });
            task.abort_handle()
        });
        let viewers = viewers.collect();
        Self { totals, viewers }
    }

    /// Waits until every viewer has received both tracks. Fails when one of them fails or it takes longer than a minute.
    pub(crate) fn wait_until_all_watch(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let expected = self.viewers.len() as u64;
        loop {
            self.assert_faultless()?;
            let started = self.watching();
            if started == expected {
                return Ok(());
            }
            if Instant::now() > deadline {
                let connected = self.totals.connected.load(Ordering::Relaxed);
                bail!(
                    "after a minute {connected} of {expected} viewers are connected, {started} watch"
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fails when a viewer was disconnected or has received what it must not.
    pub(crate) fn assert_faultless(&self) -> Result<()> {
        let faults = self.totals.faults.lock();
        let (count, first) = (faults.len(), faults.first().cloned().unwrap_or_default());
        ensure!(count == 0, "{count} viewers failed, the first: {first}");
        Ok(())
    }

    /// Returns how many have received both tracks.
    pub(crate) fn watching(&self) -> u64 {
        self.totals.started.load(Ordering::Relaxed)
    }

    /// Returns why viewers ended or never began.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.totals.faults.lock().clone()
    }

    /// Returns what all of them have received so far.
    pub(crate) fn received(&self) -> Received {
        Received {
            frames: self.totals.frames.load(Ordering::Relaxed),
            gaps: self.totals.gaps.load(Ordering::Relaxed),
        }
    }

    /// Returns the time from a frame's sending to its receipt, for all frames since the previous call.
    pub(crate) fn take_latency(&self) -> Histogram {
        std::mem::take(&mut self.totals.latency.lock())
    }

    /// Returns the time from a viewer's connecting to its first frame.
    pub(crate) fn first_frame(&self) -> Histogram {
        self.totals.first_frame.lock().clone()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.viewers.iter().for_each(AbortHandle::abort);
    }
}
