//! Worker threads, which serve the connections. Each has a single-threaded runtime without work stealing, so that a stream
//! wakes its viewers on their own core. A new connection is assigned to the least loaded worker and stays there.
//!
//! One more thread, the control thread, does what carries no media: metrics, lists, discovery, the search for ended streams. A
//! scrape of a media node with thousands of clients would delay the viewers of a worker.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tokio::runtime::{self, Handle, Runtime};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::host;

/// The maximum number of threads of each worker that read files. A folder that hangs blocks no more.
const MAX_FILE_THREADS: usize = 16;

/// The worker threads. They end, with all of their tasks, when this is dropped.
pub(super) struct Workers {
    handles: WorkerHandles,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Workers {
    /// Starts `count` threads, one for each core when it is 0. Log lines of a worker carry `span`.
    pub(super) fn start(count: usize, span: &Span) -> io::Result<Self> {
        let count = match count {
            0 => thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let stop = CancellationToken::new();
        let mut threads = Vec::with_capacity(count + 1);
        let mut start = |name: String| {
            #[cfg(test)]
            if host::simulated::current().is_some() {
                // A simulated host has one thread: the one that polls it.
                return Ok(Handle::current());
            }
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(MAX_FILE_THREADS)
                .build()?;
            let handle = runtime.handle().clone();
            let (stopped, span) = (stop.clone(), span.clone());
            let thread = thread::Builder::new()
                .name(name)
                .spawn(move || span.in_scope(|| run(runtime, &stopped)))?;
            threads.push(thread);
            io::Result::Ok(handle)
        };
        let control = start("control".to_owned())?;
        let workers = (0..count).map(|index| {
            Ok(Worker {
                handle: start(format!("worker-{index}"))?,
                load: AtomicUsize::new(0),
            })
        });
        let workers = workers.collect::<io::Result<_>>()?;
        Ok(Self {
            handles: WorkerHandles { workers, control },
            threads,
            stop,
        })
    }

    /// Returns handles that start tasks on these threads.
    pub(super) fn handles(&self) -> WorkerHandles {
        self.handles.clone()
    }

    /// Ends the threads and waits for them.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        let threads = std::mem::take(&mut self.threads);
        let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
        host::run_blocking(join).await;
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves until `stopped`, then drops the runtime and with it all of its tasks.
fn run(runtime: Runtime, stopped: &CancellationToken) {
    runtime.block_on(stopped.cancelled());
    drop(runtime);
}

/// Starts tasks on the workers and on the control thread. Clones share them.
#[derive(Clone)]
pub(super) struct WorkerHandles {
    workers: Arc<[Worker]>,
    control: Handle,
}

struct Worker {
    handle: Handle,
    load: AtomicUsize,
}

impl WorkerHandles {
    /// Returns the number of workers.
    pub(super) fn count(&self) -> usize {
        self.workers.len()
    }

    /// Reserves a slot on the least loaded worker.
    pub(super) fn slot(&self) -> WorkerSlot {
        let loads = self
            .workers
            .iter()
            .map(|worker| worker.load.load(Ordering::Relaxed));
        let index = loads
            .enumerate()
            .min_by_key(|(_, load)| *load)
            .map_or(0, |(index, _)| index);
        if let Some(worker) = self.workers.get(index) {
            worker.load.fetch_add(1, Ordering::Relaxed);
        }
        WorkerSlot {
            workers: self.clone(),
            index,
        }
    }

    /// Calls `start` so that the tasks that it spawns with [`tokio::spawn`] run on the control thread.
    pub(super) fn enter_control<T>(&self, start: impl FnOnce() -> T) -> T {
        let _entered = self.control.enter();
        start()
    }

    /// Returns the control thread.
    pub(super) fn control(&self) -> Handle {
        self.control.clone()
    }

    /// Runs a task on the control thread. It ends with the media node at the latest.
    pub(super) fn spawn_control<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.control.spawn(task);
    }

    /// Runs a task on every worker. They end with the media node at the latest.
    pub(super) fn spawn_on_each<F>(&self, start: impl Fn(usize) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        for (index, worker) in self.workers.iter().enumerate() {
            worker.handle.spawn(start(index));
        }
    }
}

/// Slot for one task on one worker, counted in its load until it is dropped.
pub(super) struct WorkerSlot {
    workers: WorkerHandles,
    index: usize,
}

impl WorkerSlot {
    /// Runs the task that `start` returns for the worker of this number. The task keeps the slot. It is not wrapped in another
    /// one, which would need the room of it twice.
    pub(super) fn run<F>(self, start: impl FnOnce(usize, Self) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let worker = self.workers.workers.get(self.index);
        if let Some(handle) = worker.map(|worker| worker.handle.clone()) {
            handle.spawn(start(self.index, self));
        }
    }
}

impl Drop for WorkerSlot {
    fn drop(&mut self) {
        if let Some(worker) = self.workers.workers.get(self.index) {
            worker.load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_spread_over_the_workers_and_are_returned() {
        let workers = Workers::start(2, &Span::none()).unwrap();
        let handles = workers.handles();
        let first = handles.slot();
        let second = handles.slot();
        assert_ne!(first.index, second.index);
        let freed = second.index;
        drop(second);
        assert_eq!(handles.slot().index, freed);
    }

    #[tokio::test]
    async fn stop_drops_the_tasks() {
        let workers = Workers::start(1, &Span::none()).unwrap();
        let (kept, dropped) = tokio::sync::oneshot::channel::<()>();
        workers.handles().slot().run(|_, slot| async move {
            std::future::pending::<()>().await;
            drop((kept, slot));
        });
        workers.stop().await;
        assert!(dropped.await.is_err());
    }
}
