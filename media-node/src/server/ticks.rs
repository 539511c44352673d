//! Ticks of the tasks that a media node repeats.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Returns ticks that are `period` apart. The first one is immediate. A late tick delays those after it, so that none follow each other
/// in a burst.
pub(super) fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
