//! The readers of a stream: how many there are on each worker, and what they share.

use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::Stream;
use crate::notifier::Notifier;
use crate::retention::{KeptWindow, WindowReaders};
use crate::segment_run::NewestRun;
use crate::stream_state::ReaderCounts;
use crate::subscription::Format;

impl Stream {
    /// Returns the current number of readers.
    pub fn readers(&self) -> ReaderCounts {
        *self.readers.borrow()
    }

    /// Returns a receiver of the current number of readers and all later ones.
    pub fn watch_readers(&self) -> watch::Receiver<ReaderCounts> {
        self.readers.subscribe()
    }

    /// Keeps the whole window for a publication that is forwarded, also while no origin is connected.
    pub fn keep_window(&self) -> KeptWindow {
        KeptWindow::new(&self.window_readers)
    }

    pub(crate) fn window_readers(&self) -> &WindowReaders {
        &self.window_readers
    }

    pub(crate) fn is_watched(&self) -> bool {
        let mut workers = 0..self.newest_runs.len();
        workers.any(|worker| self.notifiers.of(worker).is_some_and(Notifier::has_readers))
    }

    pub(crate) fn newest_run(&self, worker: u16) -> Option<&NewestRun> {
        self.newest_runs.get(usize::from(worker))
    }

    /// Counts a reader. Returns its worker, one of those that exist.
    pub(crate) fn reader_joined(&self, format: Format, worker: usize) -> u16 {
        let worker = worker % self.newest_runs.len();
        if let Some(notifier) = self.notifiers.of(worker) {
            notifier.join();
        }
        match format {
            Format::Relay => {
                self.window_readers.relay_joined();
                self.readers.send_modify(|readers| readers.relays += 1);
            }
            Format::Flv | Format::Rtmp => {
                if let Some(worker) = self.context.workers.of(worker) {
                    worker.viewer_joined();
                }
                self.readers.send_modify(|readers| readers.viewers += 1);
            }
        }
        u16::try_from(worker).unwrap_or(u16::MAX)
    }

    pub(crate) fn reader_left(&self, format: Format, worker: u16) {
        let is_last = self
            .notifiers
            .of(worker.into())
            .is_some_and(Notifier::leave);
        if is_last && let Some(newest) = self.newest_run(worker) {
            newest.set(None);
        }
        match format {
            Format::Relay => {
                self.window_readers.relay_left();
                self.readers.send_modify(|readers| readers.relays -= 1);
            }
            Format::Flv | Format::Rtmp => {
                if let Some(worker) = self.context.workers.of(worker.into()) {
                    worker.viewer_left();
                }
                self.readers.send_modify(|readers| readers.viewers -= 1);
            }
        }
    }

    pub(crate) fn reader_lagged(&self) {
        self.lags.fetch_add(1, Ordering::Relaxed);
    }
}
