//! Returns memory to the system that clients have left behind.
//!
//! The allocator collects what became free on a thread after a number of allocations of that thread, and returns it to the system when
//! a thread collects again later. A thread that has nothing more to do does neither: it would keep the logs of streams that have
//! ended, which another thread frees, and the buffers of connections. So each thread allocates from time to time.

use std::hint::black_box;
use std::time::Duration;

use media_engine::Registry;

use super::ticks::ticks;
use super::workers::WorkerHandles;

/// Time between two looks at how much memory media have given up.
const PERIOD: Duration = Duration::from_millis(500);

/// The number of [`PERIOD`]s after which a thread collects in any case. In each of them, many idle media nodes on one computer took a
/// third of it (debug builds, 2026-11-29).
const PERIODS: u32 = 4;

/// Media that gave up so many bytes within a [`PERIOD`] make each thread collect in the next ones.
const MUCH: usize = 1 << 20;

/// The number of collections until memory that became free is back.
const COLLECTIONS: u32 = 2;

/// The number of allocations after which mimalloc 3.3 collects on a thread: its option `generic_collect`.
const ALLOCATIONS: usize = 10_000;

/// The size of these blocks. Those below a kibibyte do not count.
const BLOCK: usize = 2 << 10;

/// Returns memory for as long as the threads run.
pub(super) fn start(threads: &WorkerHandles, registry: &Registry) {
    threads.spawn_on_each(|_| return_memory(registry.clone()));
    threads.spawn_control(return_memory(registry.clone()));
}

async fn return_memory(registry: Registry) {
    let mut ticks = ticks(PERIOD);
    let mut collections = Collections::default();
    loop {
        ticks.tick().await;
        if collections.is_next_due(registry.memory().used) {
            for _ in 0..ALLOCATIONS {
                drop(black_box(Vec::<u8>::with_capacity(BLOCK)));
            }
        }
    }
}

/// When a thread collects.
#[derive(Debug, Default)]
struct Collections {
    /// The memory that media had in use a [`PERIOD`] ago, in bytes.
    used: usize,
    /// The collections that follow each other now.
    due: u32,
    /// [`PERIOD`]s since the last collection.
    periods: u32,
}

impl Collections {
    /// Returns whether to collect now. `used` is the memory that media have in use, in bytes. Call it once in each [`PERIOD`].
    fn is_next_due(&mut self, used: usize) -> bool {
        if self.used.saturating_sub(used) >= MUCH {
            self.due = COLLECTIONS;
        }
        self.used = used;
        self.periods += 1;
        let is_due = self.due > 0 || self.periods == PERIODS;
        if is_due {
            self.due = self.due.saturating_sub(1);
            self.periods = 0;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_collects_soon_after_media_have_given_up_much() {
        let mut collections = Collections::default();
        let mut collects = |used| collections.is_next_due(used);
        let collected = [0, 1, 2, 3, 4, 5, 6, 7].map(|number| collects(number * MUCH));
        let rarely = [false, false, false, true];
        assert_eq!(collected, [rarely, rarely].concat()[..]);
        assert!(collects(0));
        assert!(collects(0));
        assert_eq!([0; 4].map(collects), rarely);
    }
}
