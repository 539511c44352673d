//! What the origins of a publication had of it, for the one that comes after them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::protocol::{NeededMessages, PublicationStatus};

/// The origins that have had a publication, as long as those who pulled it from them may lack a message of the log.
#[derive(Default)]
pub(super) struct FormerOrigins(Mutex<BTreeMap<SocketAddr, FormerOrigin>>);

#[derive(Clone, Copy, Debug)]
struct FormerOrigin {
    /// The number of the next message that it lacked. Its own viewers need that.
    next: u64,
    at: Instant,
    /// The most media nodes that have pulled from it at a time.
    relays: usize,
    relays_at: Instant,
}

impl FormerOrigins {
    /// Takes the status of an origin that has the publication. What is older than the log, which has this length, is forgotten.
    pub(super) fn observe(&self, origin: SocketAddr, status: &PublicationStatus, log: Duration) {
        // An older origin does not say it.
        let Some(relays) = status.relays else {
            return;
        };
        let at = Instant::now();
        let mut origins = self.0.lock();
        origins.retain(|_, former| former.at.elapsed() < log);
        let former = origins.get(&origin).copied();
        let most = former.filter(|it| it.relays > relays && it.relays_at.elapsed() < log);
        let (relays, relays_at) = most.map_or((relays, at), |it| (it.relays, it.relays_at));
        let next = status.sequence;
        let now = FormerOrigin {
            next,
            at,
            relays,
            relays_at,
        };
        origins.insert(origin, now);
    }

    /// Returns whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Returns the first message that viewers lack, once all media nodes that have pulled the publication say what they need to an origin that
    /// has nothing of it. That one may have had it before, but has no viewers from then.
    pub(super) fn first_needed(&self, origin: SocketAddr, needed: NeededMessages) -> Option<u64> {
        let origins = self.0.lock();
        let relays = origins.values().map(|former| former.relays).max()?;
        let next = |of: &FormerOrigin| of.next;
        let others = origins.iter().filter(|(former, _)| **former != origin);
        let first = others.map(|(_, former)| next(former)).min();
        match needed.nodes {
            nodes if nodes < relays => None,
            0 => first.or_else(|| origins.get(&origin).map(next)),
            _ => Some(first.map_or(needed.from, |first| first.min(needed.from))),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LOG: Duration = Duration::from_secs(10);

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn observe(origins: &FormerOrigins, port: u16, next: u64, relays: usize) {
        let status = PublicationStatus {
            sequence: next,
            relays: Some(relays),
            ..PublicationStatus::default()
        };
        origins.observe(address(port), &status, LOG);
    }

    /// Returns what an origin gets first that is new.
    fn first_needed(origins: &FormerOrigins, nodes: usize, from: u64) -> Option<u64> {
        origins.first_needed(address(9), NeededMessages { nodes, from })
    }

    #[tokio::test(start_paused = true)]
    async fn first_message_that_anyone_lacks_is_known_when_all_have_said_what_they_need() {
        let origins = FormerOrigins::default();
        assert!(origins.is_empty());
        observe(&origins, 1, 100, 2);
        assert_eq!(first_needed(&origins, 1, 90), None);
        assert_eq!(first_needed(&origins, 2, 90), Some(90));
        assert_eq!(first_needed(&origins, 2, 110), Some(100));
        observe(&origins, 2, 150, 0);
        assert_eq!(first_needed(&origins, 1, 110), None);
        assert_eq!(first_needed(&origins, 2, 110), Some(100));
    }

    #[tokio::test(start_paused = true)]
    async fn media_nodes_that_pulled_before_count_for_as_long_as_the_log_has_what_they_may_lack() {
        let origins = FormerOrigins::default();
        observe(&origins, 1, 100, 2);
        advance(LOG / 2).await;
        observe(&origins, 1, 200, 0);
        assert_eq!(first_needed(&origins, 0, 0), None);
        advance(LOG / 2).await;
        observe(&origins, 1, 300, 0);
        assert_eq!(first_needed(&origins, 0, 0), Some(300));
        advance(LOG).await;
        observe(&origins, 2, 900, 0);
        assert_eq!(first_needed(&origins, 0, 0), Some(900));
    }

    #[tokio::test(start_paused = true)]
    async fn origin_that_has_lost_the_publication_has_no_viewers_of_it() {
        let origins = FormerOrigins::default();
        let needed = |nodes, from| NeededMessages { nodes, from };
        observe(&origins, 1, 100, 0);
        assert_eq!(origins.first_needed(address(1), needed(0, 0)), Some(100));
        observe(&origins, 1, 100, 1);
        assert_eq!(origins.first_needed(address(1), needed(1, 130)), Some(130));
        assert_eq!(origins.first_needed(address(2), needed(1, 130)), Some(100));
        observe(&origins, 2, 200, 1);
        assert_eq!(origins.first_needed(address(1), needed(0, 0)), None);
        assert_eq!(origins.first_needed(address(1), needed(1, 230)), Some(200));
    }

    #[tokio::test]
    async fn origin_of_an_older_release_does_not_count() {
        let origins = FormerOrigins::default();
        let status = PublicationStatus::default();
        origins.observe(address(1), &status, LOG);
        assert!(origins.is_empty());
    }
}
