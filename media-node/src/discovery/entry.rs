//! One entry of the configured origins, and the addresses that it has now.

use std::net::SocketAddr;
use std::time::Duration;

use media_config::Discovery;
use prometheus::IntCounter;
use tokio::time::Instant;
use tracing::warn;

use super::resolver::{DnsAnswer, DnsResolver, LookupError};

/// How often a name is resolved.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryInterval {
    /// The shortest time between two queries, also after errors, empty answers and refreshes, except during a search.
    pub(super) min: Duration,
    /// The longest time that an answer is used, whatever its TTL.
    pub(super) max: Duration,
    /// The same while the addresses settle: where one Pod starts or ends, others do.
    pub(super) max_unsettled: Duration,
    /// The time after a change in which the addresses settle.
    pub(super) settles: Duration,
    /// The time between two queries during a search.
    pub(super) search: Duration,
    /// The time that a search lasts. A relay that still lacks an origin requests another one before.
    pub(super) search_lasts: Duration,
    /// The time for which answers without addresses leave the known ones in place.
    pub(super) empty_lasts: Duration,
}

/// An entry of `origins.addresses` without a host or a port.
#[derive(Debug, thiserror::Error)]
#[error("origins.addresses: `{address}` is not HOST:PORT")]
pub(crate) struct InvalidAddress {
    address: String,
}

/// One entry of the configuration.
#[derive(Debug)]
pub(super) struct OriginEntry {
    kind: EntryKind,
    addresses: Vec<SocketAddr>,
    failing: bool,
    /// When the addresses changed.
    changed: Option<Instant>,
    /// When the answers without addresses began.
    empty_since: Option<Instant>,
}

#[derive(Debug)]
enum EntryKind {
    Fixed,
    Host { name: String, port: u16 },
    Service { name: String, port: u16 },
}

impl OriginEntry {
    /// Returns the entries of the configuration.
    ///
    /// # Errors
    /// When an address of the list is invalid.
    pub(super) fn parse(discovery: &Discovery) -> Result<Vec<Self>, InvalidAddress> {
        let service = discovery.service.as_ref().map(|name| {
            Self::new(EntryKind::Service {
                name: name.clone(),
                port: discovery.port(),
            })
        });
        let listed = discovery
            .addresses
            .iter()
            .map(|address| Self::parse_address(address));
        service.into_iter().map(Ok).chain(listed).collect()
    }

    fn parse_address(address: &str) -> Result<Self, InvalidAddress> {
        if let Ok(fixed) = address.parse::<SocketAddr>() {
            return Ok(Self {
                addresses: vec![fixed],
                ..Self::new(EntryKind::Fixed)
            });
        }
        let host = address.rsplit_once(':').and_then(|(name, port)| {
            let valid = !name.is_empty() && !name.contains(['[', ']', ':', '/']);
            let (name, port) = (name.to_owned(), port.parse().ok()?);
            valid.then_some(EntryKind::Host { name, port })
        });
        host.map(Self::new).ok_or_else(|| InvalidAddress {
            address: address.to_owned(),
        })
    }

    fn new(kind: EntryKind) -> Self {
        Self {
            kind,
            addresses: Vec::new(),
            failing: false,
            changed: None,
            empty_since: None,
        }
    }

    pub(super) fn is_fixed(&self) -> bool {
        matches!(self.kind, EntryKind::Fixed)
    }

    /// Returns the DNS name; empty when the entry is an address.
    pub(super) fn name(&self) -> &str {
        match &self.kind {
            EntryKind::Fixed => "",
            EntryKind::Host { name, .. } | EntryKind::Service { name, .. } => name,
        }
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Resolves the entry, and counts a failure. Returns how long the result is valid; `None` means always.
    pub(super) async fn update(
        &mut self,
        resolver: &DnsResolver,
        interval: QueryInterval,
        failures: &IntCounter,
    ) -> Option<Duration> {
        let answer = match &self.kind {
            EntryKind::Fixed => return None,
            EntryKind::Host { name, port } => resolver.addresses(name, *port).await,
            EntryKind::Service { name, port } => resolver.service(name, *port).await,
        };
        match answer {
            Ok(answer) => {
                self.failing = false;
                Some(self.accept(answer, interval))
            }
            Err(error) => {
                failures.inc();
                self.report(&error);
                Some(interval.min)
            }
        }
    }

    /// Takes the addresses of an answer. Returns how long they are valid.
    fn accept(&mut self, mut answer: DnsAnswer, interval: QueryInterval) -> Duration {
        let now = Instant::now();
        if !answer.addresses.is_empty() {
            self.empty_since = None;
            answer.addresses.sort_unstable();
            if self.addresses != answer.addresses {
                self.addresses = answer.addresses;
                self.changed = Some(now);
            }
            let settles = |changed| now.saturating_duration_since(changed) < interval.settles;
            let max = if self.changed.is_some_and(settles) {
                interval.max_unsettled
            } else {
                interval.max
            };
            let lifetime = answer.valid_until.saturating_duration_since(now.into_std());
            return lifetime.min(max).max(interval.min);
        }
        let (name, kept) = (self.name(), self.addresses.len());
        if self.empty_since.is_none() && kept > 0 {
            warn!(name, kept, "origins have no addresses");
        }
        let since = *self.empty_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= interval.empty_lasts {
            self.addresses.clear();
        }
        interval.min
    }

    /// Logs one line for each outage, not one for each attempt.
    fn report(&mut self, error: &LookupError) {
        if !std::mem::replace(&mut self.failing, true) {
            let kept = self.addresses.len();
            warn!(name = self.name(), %error, kept, "origins could not be resolved");
        }
    }
}
