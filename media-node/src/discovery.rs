//! The addresses of the origins, behind the DNS name of a Service or in a list. A background task keeps them fresh.
//!
//! Guarantees
//! * Media never waits for DNS: readers look at a `watch`, and one task queries the name servers.
//! * An answer is used for its TTL, but at least 1 s and at most 30 s, or 3 s within half a minute after a change.
//! * An error (a timeout, SERVFAIL) keeps the last known addresses. So do answers without records, but only for 5 minutes: a name
//!   server that has lost its source answers like that while the origins serve, and later the address of a Pod that is gone may
//!   belong to another one.
//! * [`OriginSet::refresh`] resolves again immediately, but at most once a second.
//! * [`OriginSet::search`] resolves every 200 ms for a while: viewers wait for an origin, and a Pod that replaces a lost one
//!   has a new address.
//!
//! The media node itself may be among the origins. The relays recognize it by the id in its responses, never by its address.

mod entry;
mod rendezvous;
mod requests;
mod resolver;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use media_config::Discovery;
use media_wire::StreamKey;
use prometheus::IntCounter;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::info;

use entry::{InvalidAddress, OriginEntry, QueryInterval};
use requests::QueryRequests;
use resolver::{DnsResolver, ResolverError};

const QUERY_INTERVAL: QueryInterval = QueryInterval {
    min: Duration::from_secs(1),
    max: Duration::from_secs(30),
    max_unsettled: Duration::from_secs(3),
    settles: Duration::from_secs(30),
    search: Duration::from_millis(200),
    search_lasts: Duration::from_secs(3),
    empty_lasts: Duration::from_secs(300),
};
/// The maximum number of origins: every survey goes to all of them.
const MAX_ORIGINS: usize = 256;

/// The set of origins. Clones share it. The background task ends with the last clone.
#[derive(Clone)]
pub(crate) struct OriginSet {
    set: watch::Receiver<Arc<[SocketAddr]>>,
    requests: Arc<QueryRequests>,
}

/// An error in the configuration of the origins.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    /// An entry of the list is invalid.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// The system's resolver configuration is invalid.
    #[error("origins: {0}")]
    Resolver(#[from] ResolverError),
}

impl OriginSet {
    /// Starts to follow the configured origins on the current runtime. `failures` counts lookups that fail.
    ///
    /// # Errors
    /// When an address is invalid, or when there is a name and the system has no valid `resolv.conf`.
    pub(crate) fn start(
        discovery: &Discovery,
        failures: IntCounter,
    ) -> Result<Self, DiscoveryError> {
        let entries = OriginEntry::parse(discovery)?;
        let resolver = if entries.iter().all(OriginEntry::is_fixed) {
            None
        } else {
            Some(DnsResolver::from_system()?)
        };
        Ok(Self::follow(entries, resolver, QUERY_INTERVAL, failures))
    }

    fn follow(
        entries: Vec<OriginEntry>,
        resolver: Option<DnsResolver>,
        interval: QueryInterval,
        failures: IntCounter,
    ) -> Self {
        let (sender, set) = watch::channel(merge(&entries));
        let requests = Arc::new(QueryRequests::default());
        if let Some(resolver) = resolver {
            let requests = Arc::clone(&requests);
            tokio::spawn(resolve(
                entries, resolver, interval, failures, sender, requests,
            ));
        } else {
            tokio::spawn(async move { sender.closed().await });
        }
        Self { set, requests }
    }

    /// Returns origins that the test changes.
    #[cfg(test)]
    pub(crate) fn of(set: watch::Receiver<Arc<[SocketAddr]>>) -> Self {
        Self {
            set,
            requests: Arc::default(),
        }
    }

    /// Returns the origins that are known now.
    pub(crate) fn current(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.set.borrow())
    }

    /// Returns the origins. While none is known, searches for up to `limit`.
    pub(crate) async fn known(&self, limit: Duration) -> Arc<[SocketAddr]> {
        let mut set = self.set.clone();
        if set.borrow().is_empty() {
            self.search();
        }
        let found = timeout(limit, set.wait_for(|set| !set.is_empty())).await;
        match found {
            Ok(Ok(set)) => Arc::clone(&set),
            Ok(Err(_)) | Err(_) => self.current(),
        }
    }

    /// Returns whether there ever was an origin.
    pub(crate) fn ever_known(&self) -> bool {
        // This receiver never marks a change as seen, and the first change is from none to some.
        !self.current().is_empty() || self.set.has_changed().unwrap_or(true)
    }

    /// Returns the origins in the order in which a publish of `key` is offered to them.
    pub(crate) fn ranked(&self, key: &StreamKey) -> Vec<SocketAddr> {
        rendezvous::rank(&key.to_string(), &self.current())
    }

    /// Returns the origins as they change.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<[SocketAddr]>> {
        self.set.clone()
    }

    /// Resolves the origins again: there may be others.
    pub(crate) fn refresh(&self) {
        self.requests.refresh();
    }

    /// Resolves the origins often for a while, because one failed or there is none.
    pub(crate) fn search(&self) {
        self.requests.search();
    }
}

/// Resolves the entries until all receivers of `set` are dropped.
async fn resolve(
    mut entries: Vec<OriginEntry>,
    resolver: DnsResolver,
    interval: QueryInterval,
    failures: IntCounter,
    set: watch::Sender<Arc<[SocketAddr]>>,
    requests: Arc<QueryRequests>,
) {
    let mut logged_empty = false;
    loop {
        let start = Instant::now();
        let updates = entries
            .iter_mut()
            .map(|entry| entry.update(&resolver, interval, &failures));
        let lifetimes = tokio::select! {
            lifetimes = join_all(updates) => lifetimes,
            () = set.closed() => return,
        };
        let origins = merge(&entries);
        if origins.is_empty() && !std::mem::replace(&mut logged_empty, true) {
            let names: Vec<&str> = entries.iter().map(OriginEntry::name).collect();
            info!(?names, "no origins yet");
        }
        set.send_if_modified(|known| {
            let changed = *known != origins;
            if changed {
                info!(?origins, "origins changed");
                *known = origins;
            }
            changed
        });
        let lifetime = lifetimes.into_iter().flatten().min();
        let expires = start + lifetime.unwrap_or(interval.max);
        tokio::select! {
            () = requests.query_due(start, expires, interval) => {}
            () = set.closed() => return,
        }
    }
}

/// Returns the addresses of all entries, sorted and without duplicates, so that equal sets compare equal.
fn merge(entries: &[OriginEntry]) -> Arc<[SocketAddr]> {
    let addresses = entries.iter().flat_map(OriginEntry::addresses);
    let mut addresses: Vec<SocketAddr> = addresses.copied().collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ORIGINS);
    addresses.into()
}
