//! How late the ledger itself is. Where the host is too small for it, a gap may be its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

/// Measures how late timers are, as long as the program runs. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lateness(Arc<Mutex<Vec<Late>>>);

/// A timer that was late.
#[derive(Clone, Copy, Debug)]
struct Late {
    at: Instant,
    by: Duration,
}

impl Lateness {
    /// Starts to measure.
    pub(crate) fn start() -> Self {
        let this = Self::default();
        tokio::spawn(this.clone().measure());
        this
    }

    /// Returns the worst since a time.
    pub(crate) fn since(&self, start: Instant) -> Duration {
        let late = self.0.lock();
        let since = late.iter().rev().take_while(|it| it.at >= start);
        since.map(|it| it.by).max().unwrap_or_default()
    }

    async fn measure(self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let before = Instant::now();
            tick.tick().await;
            let by = before.elapsed().saturating_sub(TICK);
            if by > NEGLIGIBLE {
                let at = Instant::now();
                self.0.lock().push(Late { at, by });
            }
        }
    }
}

const TICK: Duration = Duration::from_millis(20);

/// Much less than a viewer notices.
const NEGLIGIBLE: Duration = Duration::from_millis(50);
