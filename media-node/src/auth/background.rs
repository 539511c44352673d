//! The thread that reads keys again and calls hooks, so that no worker waits for a file or for another server.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::runtime::{self, Handle};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{Span, info, warn};

use super::jwt::{KeySetTimings, RemoteKeySet};
use super::mounted::KeySource;
use crate::small_file::reload_every;

/// How long hooks may take for their last calls when the media node ends.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// A source of keys that is read again from time to time.
#[derive(Clone)]
pub(super) enum Refreshed {
    Files(Arc<dyn KeySource>),
    Remote(Arc<RemoteKeySet>),
}

/// The thread, which ends when this is dropped.
pub(super) struct Background {
    handle: Handle,
    calls: TaskTracker,
    lost: IntCounter,
    _stop: DropGuard,
}

impl Background {
    /// Starts the thread, which reads files again every `poll`. Its log lines carry the current span.
    pub(super) fn start(
        sources: Vec<Refreshed>,
        poll: Duration,
        key_set: KeySetTimings,
        lost: IntCounter,
    ) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let (stopped, span) = (stop.clone(), Span::current());
        thread::Builder::new()
            .name("auth".to_owned())
            .spawn(move || span.in_scope(|| runtime.block_on(stopped.cancelled())))?;
        let mut files = Vec::new();
        for source in sources {
            match source {
                Refreshed::Files(source) => files.push(source),
                Refreshed::Remote(keys) => drop(handle.spawn(keep_fetching(keys, key_set))),
            }
        }
        let reload = move || files.iter().for_each(|source| source.reload());
        handle.spawn(reload_every(poll, reload));
        Ok(Self {
            handle,
            calls: TaskTracker::new(),
            lost,
            _stop: stop.drop_guard(),
        })
    }

    /// Returns a handle that starts calls of hooks.
    pub(super) fn calls(&self) -> Calls {
        Calls {
            handle: self.handle.clone(),
            tracker: self.calls.clone(),
            lost: self.lost.clone(),
        }
    }

    /// Waits for the calls that are under way, for a limited time.
    pub(super) async fn close(&self) {
        self.calls.close();
        if timeout(LAST_CALLS, self.calls.wait()).await.is_err() {
            warn!(
                calls = self.calls.len(),
                "hooks have not been notified of all clients that left"
            );
        }
    }
}

/// A handle that starts calls of hooks on the thread.
#[derive(Clone)]
pub(super) struct Calls {
    handle: Handle,
    tracker: TaskTracker,
    lost: IntCounter,
}

impl Calls {
    pub(super) fn spawn(&self, call: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn_on(call, &self.handle);
    }

    /// Returns the calls that are under way.
    pub(super) fn pending(&self) -> usize {
        self.tracker.len()
    }

    /// Counts a call that did not reach its hook.
    pub(super) fn count_lost(&self) {
        self.lost.inc();
    }
}

async fn keep_fetching(keys: Arc<RemoteKeySet>, timings: KeySetTimings) {
    let mut failing = false;
    loop {
        let host = keys.host();
        let pause = match keys.refresh(timings.timeout).await {
            Ok(()) if failing => {
                info!(host, "key set fetched again");
                failing = false;
                timings.refresh
            }
            Ok(()) => timings.refresh,
            Err(error) => {
                if !failing {
                    warn!(host, %error, "cannot fetch the key set, keeping the last one");
                }
                failing = true;
                timings.retry
            }
        };
        sleep(pause).await;
    }
}
