//! Gives memory back to the system that other threads have freed.
//!
//! A worker allocates the logs of its publishers, and the control thread frees those of streams that have ended. The allocator keeps
//! what another thread has freed until its own thread allocates a large block, which the worker of an idle media node never does.

use std::hint::black_box;
use std::time::Duration;

use media_engine::Registry;
use tokio::time::{MissedTickBehavior, interval};

use super::workers::WorkerHandles;

/// Time between two readings of the media memory.
const PERIOD: Duration = Duration::from_secs(1);

/// Bytes that are worth giving back. Less is used again soon.
const WORTHWHILE: usize = 16 << 20;

/// A block for which mimalloc looks through all that it has. From 640 KiB on it does (mimalloc 0.1.52, 2026-11-28): 0.7 ms give
/// 150 MB back. The block itself is not touched.
const LARGE_BLOCK: usize = 1 << 20;

/// The number of large blocks that are allocated after memory was freed. With the first one the allocator collects the pages that became
/// free, with later ones it gives them back: after one alone, half of 1.5 GB stayed for seconds (2026-11-28).
const BLOCKS: u32 = 3;

/// Gives memory back for as long as the workers run.
pub(super) fn start(workers: &WorkerHandles, registry: &Registry) {
    workers.spawn_on_each(|_| give_back(registry.clone()));
}

async fn give_back(registry: Registry) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut peak, mut blocks) = (0, 0);
    loop {
        ticks.tick().await;
        let used = registry.memory().used;
        peak = used.max(peak);
        if peak - used >= WORTHWHILE {
            peak = used;
            blocks = BLOCKS;
        }
        if blocks > 0 {
            blocks -= 1;
            drop(black_box(Vec::<u8>::with_capacity(LARGE_BLOCK)));
        }
    }
}
