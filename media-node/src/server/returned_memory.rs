//! Returns memory to the system that clients have left behind.
//!
//! The allocator collects what became free on a thread after a number of allocations of that thread, and returns it to the system when
//! a thread collects again later. A thread that has nothing more to do does neither: it would keep the logs of streams that have
//! ended, which another thread frees, and the buffers of connections. So each thread allocates from time to time.

use std::hint::black_box;
use std::time::Duration;

use super::ticks::ticks;
use super::workers::WorkerHandles;

/// Time between two collections of a thread. Memory that became free is back after the second one. Twice a second, many idle media
/// nodes on one computer took a third of it (debug builds, 2026-11-29).
const PERIOD: Duration = Duration::from_secs(2);

/// The number of allocations after which mimalloc 3.3 collects on a thread: its option `generic_collect`.
const ALLOCATIONS: usize = 10_000;

/// The size of these blocks. Those below a kibibyte do not count.
const BLOCK: usize = 2 << 10;

/// Returns memory for as long as the threads run.
pub(super) fn start(threads: &WorkerHandles) {
    threads.spawn_on_each(|_| return_memory());
    threads.spawn_control(return_memory());
}

async fn return_memory() {
    let mut ticks = ticks(PERIOD);
    loop {
        ticks.tick().await;
        for _ in 0..ALLOCATIONS {
            drop(black_box(Vec::<u8>::with_capacity(BLOCK)));
        }
    }
}
