//! Returns freed memory to the system.
//!
//! A worker allocates the logs of its publishers, and the control thread frees those of streams that have ended. The allocator keeps
//! memory that another thread has freed until its own thread allocates a large block, which the worker of an idle media node never
//! does.

use std::hint::black_box;
use std::time::Duration;

use media_engine::Registry;

use super::ticks::ticks;
use super::workers::WorkerHandles;

/// Time between two readings of the media memory.
const PERIOD: Duration = Duration::from_secs(1);

/// The number of freed bytes that are worth returning. Fewer are used again soon.
const WORTHWHILE: usize = 16 << 20;

/// The size of a block for which mimalloc collects all of its memory. It does so from 640 KiB on (mimalloc 0.1.52, 2026-11-28):
/// 150 MB are returned in 0.7 ms. The block itself is not touched.
const LARGE_BLOCK: usize = 1 << 20;

/// The number of large blocks that are allocated after memory was freed. With the first one the allocator collects the pages that became
/// free, with later ones it gives them back: after one alone, half of 1.5 GB stayed for seconds (2026-11-28).
const BLOCKS: u32 = 3;

/// Returns memory for as long as the workers run.
pub(super) fn start(workers: &WorkerHandles, registry: &Registry) {
    workers.spawn_on_each(|_| give_back(registry.clone()));
}

async fn give_back(registry: Registry) {
    let mut ticks = ticks(PERIOD);
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
