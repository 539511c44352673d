//! Demand: the streams with viewers on this media node, and what is known about where they are.

use std::sync::{Arc, Weak};

use media_engine::Stream;
use tokio::sync::watch;

/// The state of the search for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SearchState {
    /// The first survey is not complete.
    Searching,
    /// All origins were surveyed, and none has the stream.
    NotFound,
    /// The stream is pulled, or was.
    Found,
}

/// The demand for one stream. Clones share it.
#[derive(Clone)]
pub(super) struct Demand {
    stream: Weak<Stream>,
    search: watch::Receiver<SearchState>,
}

impl Demand {
    pub(super) fn new(stream: &Arc<Stream>, search: watch::Receiver<SearchState>) -> Self {
        Self {
            stream: Arc::downgrade(stream),
            search,
        }
    }

    /// Returns whether this is the demand for `stream`. Another stream may have the key of one that ended.
    pub(super) fn is_for(&self, stream: &Arc<Stream>) -> bool {
        std::ptr::eq(self.stream.as_ptr(), Arc::as_ptr(stream))
    }

    /// Waits until no origin has the stream.
    pub(super) async fn not_found(mut self) {
        let not_found = |state: &SearchState| *state == SearchState::NotFound;
        // An error means that the stream has no viewers any more.
        drop(self.search.wait_for(not_found).await);
    }
}
