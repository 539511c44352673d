//! The threads that serve connections: one single-threaded runtime each, no work stealing, so that a stream's wake-ups
//! stay on the core of the viewers they wake. A new connection goes to the least loaded one and stays there.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tokio::runtime::{self, Handle};
use tokio_util::sync::CancellationToken;

/// The threads themselves: they end, with all that runs on them, when this is dropped.
pub(crate) struct Workers {
    handles: WorkerHandles,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Workers {
    /// Starts `count` threads, one for each core when it is 0.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let count = match count {
            0 => thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let stop = CancellationToken::new();
        let mut workers = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        for index in 0..count {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            workers.push(Worker {
                handle: runtime.handle().clone(),
                load: AtomicUsize::new(0),
            });
            let stopped = stop.clone();
            let thread = thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || runtime.block_on(stopped.cancelled()))?;
            threads.push(thread);
        }
        Ok(Self {
            handles: WorkerHandles(workers.into()),
            threads,
            stop,
        })
    }

    /// What starts tasks on these threads.
    pub(crate) fn handles(&self) -> WorkerHandles {
        self.handles.clone()
    }

    /// Ends the threads and waits for them.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let threads = std::mem::take(&mut self.threads);
        let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
        drop(tokio::task::spawn_blocking(join).await);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts tasks on the workers.
#[derive(Clone)]
pub(crate) struct WorkerHandles(Arc<[Worker]>);

struct Worker {
    handle: Handle,
    load: AtomicUsize,
}

impl WorkerHandles {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// A place on the least loaded worker, taken until it is dropped.
    pub(crate) fn place(&self) -> Place {
        let loads = self
            .0
            .iter()
            .map(|worker| worker.load.load(Ordering::Relaxed));
        let index = loads
            .enumerate()
            .min_by_key(|(_, load)| *load)
            .map_or(0, |(index, _)| index);
        if let Some(worker) = self.0.get(index) {
            worker.load.fetch_add(1, Ordering::Relaxed);
        }
        Place {
            workers: self.clone(),
            index,
        }
    }

    /// Runs a task on the least loaded worker. It ends with the node at the latest.
    pub(crate) fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.place().run(|_| task);
    }
}

/// A place for one task on one worker.
pub(crate) struct Place {
    workers: WorkerHandles,
    index: usize,
}

impl Place {
    /// Runs the task that `start` makes for the worker of this number.
    pub(crate) fn run<F>(self, start: impl FnOnce(usize) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = start(self.index);
        if let Some(worker) = self.workers.0.get(self.index) {
            let handle = worker.handle.clone();
            handle.spawn(async move {
                task.await;
                drop(self);
            });
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(worker) = self.workers.0.get(self.index) {
            worker.load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_spread_over_the_workers_and_are_given_back() {
        let workers = Workers::start(2).unwrap();
        let handles = workers.handles();
        let first = handles.place();
        let second = handles.place();
        assert_ne!(first.index, second.index);
        let freed = second.index;
        drop(second);
        assert_eq!(handles.place().index, freed);
    }

    #[tokio::test]
    async fn stopping_drops_the_tasks() {
        let workers = Workers::start(1).unwrap();
        let (kept, dropped) = tokio::sync::oneshot::channel::<()>();
        workers.handles().spawn(async move {
            std::future::pending::<()>().await;
            drop(kept);
        });
        workers.stop().await;
        assert!(dropped.await.is_err());
    }
}
