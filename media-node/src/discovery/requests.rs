//! The requests to resolve the origins before their addresses expire.

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::entry::QueryInterval;

/// The requests of a media node for further queries.
#[derive(Debug, Default)]
pub(super) struct QueryRequests(watch::Sender<RequestTimes>);

#[derive(Clone, Copy, Debug, Default)]
struct RequestTimes {
    refresh: Option<Instant>,
    search: Option<Instant>,
}

impl QueryRequests {
    /// Requests one query.
    pub(super) fn refresh(&self) {
        self.0
            .send_modify(|last| last.refresh = Some(Instant::now()));
    }

    /// Requests frequent queries for a while.
    pub(super) fn search(&self) {
        self.0
            .send_modify(|last| last.search = Some(Instant::now()));
    }

    /// Waits until the query after the one of `start` is due, whose answer expires at `expires`.
    pub(super) async fn query_due(
        &self,
        start: Instant,
        expires: Instant,
        interval: QueryInterval,
    ) {
        let mut requests = self.0.subscribe();
        loop {
            let requested = *requests.borrow_and_update();
            let due = requested.due(start, interval);
            let due = due.map_or(expires, |due| due.min(expires));
            tokio::select! {
                () = sleep_until(due) => return,
                // The sender lives as long as `self`.
                _ = requests.changed() => {}
            }
        }
    }
}

impl RequestTimes {
    /// Returns when the requested query is due, if the one of `start` does not serve the requests.
    fn due(self, start: Instant, interval: QueryInterval) -> Option<Instant> {
        let searching = |since| start < since + interval.search_lasts;
        if self.search.is_some_and(searching) {
            return Some(start + interval.search);
        }
        let refresh = self.refresh.is_some_and(|since| start < since);
        refresh.then(|| start + interval.min)
    }
}
