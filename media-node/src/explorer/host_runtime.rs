//! A simulated host with its own runtime, whose time passes only when the explorer lets it.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, advance, sleep_until};

use crate::host::simulated::SimulatedHost;

/// A host and the tasks that run on it. Dropping it drops the tasks, as the end of a process does.
pub(super) struct HostRuntime {
    pub(super) host: SimulatedHost,
    /// `None` only while this is dropped.
    runtime: Option<Runtime>,
    start: Instant,
    /// When it started, in the time of the network.
    started_at: Duration,
}

impl HostRuntime {
    /// Returns a host where nothing runs yet. With `--cfg tokio_unstable`, `seed` decides in which order `select!` polls its
    /// branches, and `watch` wakes its receivers.
    pub(super) fn new(host: SimulatedHost, seed: u64) -> Self {
        let mut builder = Builder::new_current_thread();
        builder
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(1);
        #[cfg(tokio_unstable)]
        builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_be_bytes()));
        #[cfg(not(tokio_unstable))]
        let _ = seed;
        let runtime = builder.build();
        let runtime = runtime.expect("a runtime without input and output");
        let start = runtime.block_on(async { Instant::now() });
        Self {
            started_at: host.network.now(),
            host,
            runtime: Some(runtime),
            start,
        }
    }

    /// Runs something to its end, in no time.
    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let runtime = self.runtime.as_ref().expect("a host that runs");
        self.host.run(|| runtime.block_on(future))
    }

    /// Returns the number of tasks.
    pub(super) fn tasks(&self) -> usize {
        let runtime = self.runtime.as_ref();
        runtime.map_or(0, |runtime| runtime.metrics().num_alive_tasks())
    }

    /// Lets the tasks run until `now`.
    pub(super) fn run_until(&self, now: Duration) {
        let due = self.start + now.saturating_sub(self.started_at);
        self.block_on(async { sleep_until(due).await });
    }

    /// Lets the time pass until `now` while no task runs.
    pub(super) fn skip_until(&self, now: Duration) {
        let due = self.start + now.saturating_sub(self.started_at);
        self.block_on(async { advance(due - Instant::now()).await });
    }
}

impl Drop for HostRuntime {
    fn drop(&mut self) {
        let runtime = self.runtime.take();
        self.host.run(|| drop(runtime));
    }
}
