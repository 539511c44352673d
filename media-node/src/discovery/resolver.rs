//! DNS lookups like those of the system's own resolver: search domains and `ndots`, SRV, A and AAAA records.
//!
//! This module tries the names of the search list itself, because hickory returns the result of the last one only: a name
//! server that does not answer for the right name would look like a Service without origins.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;

#[cfg(test)]
use crate::host;

/// Time for one query to one server: longer than any cluster's DNS takes, and short enough to repeat it soon.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum number of SRV targets of one answer.
const MAX_TARGETS: usize = 256;

/// A resolver with a search list.
pub(super) struct DnsResolver {
    resolver: TokioResolver,
    search: Vec<Name>,
    ndots: usize,
}

/// An error in the system's resolver configuration.
#[derive(Debug, thiserror::Error)]
#[error("invalid resolver configuration of the system")]
pub(crate) struct ResolverError(#[from] NetError);

/// An error of a lookup. A name without records is not an error.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    #[error("`{name}` is not a DNS name")]
    Name { name: String },
    #[error("{name}: {source}")]
    Query { name: Name, source: Box<NetError> },
}

/// The addresses of a name.
#[derive(Debug)]
pub(super) struct DnsAnswer {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) valid_until: Instant,
}

impl DnsAnswer {
    fn empty() -> Self {
        Self {
            addresses: Vec::new(),
            valid_until: Instant::now(),
        }
    }
}

/// The result of a query for one fully qualified name.
enum QueryResult<T> {
    Records(T),
    /// The name exists and has no such records.
    NoRecords,
    /// The name does not exist.
    NoName,
}

impl DnsResolver {
    pub(super) fn from_system() -> Result<Self, ResolverError> {
        let (config, options) = read_system_conf()?;
        Self::new(config, options)
    }

    pub(super) fn new(
        config: ResolverConfig,
        mut options: ResolverOpts,
    ) -> Result<Self, ResolverError> {
        // The caller repeats the lookup by TTL. A cache here would only delay a refresh.
        options.cache_size = 0;
        options.timeout = options.timeout.min(QUERY_TIMEOUT);
        let ndots = options.ndots;
        let mut search = config.search().to_vec();
        if search.is_empty() {
            search.extend(config.domain().cloned());
        }
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()?;
        Ok(Self {
            resolver,
            search,
            ndots,
        })
    }

    /// Returns the SRV records of the Service's port `internal`. Without any, returns its addresses with `port`.
    pub(super) async fn service(&self, service: &str, port: u16) -> Result<DnsAnswer, LookupError> {
        #[cfg(test)]
        if let Some(host) = host::simulated::current() {
            return simulated(&host, service, port).await;
        }
        let ports = format!("_internal._tcp.{service}");
        for name in self.candidates(&ports)? {
            // A server that fails for SRV may still have the A records.
            if let Ok(QueryResult::Records(lookup)) = self.query(&name, RecordType::SRV).await {
                return self.targets(&lookup).await;
            }
        }
        self.addresses(service, port).await
    }

    /// Returns the A and AAAA records of `name`, with `port`.
    pub(super) async fn addresses(&self, name: &str, port: u16) -> Result<DnsAnswer, LookupError> {
        let candidates = self.candidates(name)?;
        let labels = Name::from_ascii(name).map_or(0, |name| name.num_labels());
        let mut missing = false;
        for name in &candidates {
            match self.hosts(name, port).await {
                Ok(QueryResult::Records(answer)) => return Ok(answer),
                Ok(QueryResult::NoRecords) => return Ok(DnsAnswer::empty()),
                Ok(QueryResult::NoName) => missing = true,
                // The cluster's DNS replied that the name does not exist. The query for the bare name goes to the DNS outside of
                // the cluster, and its failure does not change that.
                Err(_) if missing && name.num_labels() == labels => {}
                Err(error) => return Err(error),
            }
        }
        Ok(DnsAnswer::empty())
    }

    /// Returns the fully qualified names to try, in order. With a search list, a bare name that ends in `svc`, which is
    /// no top-level domain, is not among them.
    fn candidates(&self, name: &str) -> Result<Vec<Name>, LookupError> {
        let invalid = || LookupError::Name {
            name: name.to_owned(),
        };
        let mut bare = Name::from_ascii(name).map_err(|_| invalid())?;
        if bare.is_fqdn() {
            return Ok(vec![bare]);
        }
        let mut candidates: Vec<Name> = self
            .search
            .iter()
            .filter_map(|domain| bare.clone().append_domain(domain).ok())
            .collect();
        // A Service has no name outside of its cluster, and a query there can take longer than its Pods take to start.
        if bare.iter().next_back() == Some(b"svc".as_slice()) && !candidates.is_empty() {
            return Ok(candidates);
        }
        let dots = usize::from(bare.num_labels()).saturating_sub(1);
        bare.set_fqdn(true);
        if dots >= self.ndots || bare.is_localhost() {
            candidates.insert(0, bare);
        } else {
            candidates.push(bare);
        }
        Ok(candidates)
    }

    async fn targets(&self, lookup: &Lookup) -> Result<DnsAnswer, LookupError> {
        let records = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some((srv.target.clone(), srv.port)),
                _ => None,
            });
        let hosts = records
            .take(MAX_TARGETS)
            .map(|(target, port)| async move { self.hosts(&target, port).await });
        let mut answer = DnsAnswer {
            addresses: Vec::new(),
            valid_until: lookup.valid_until(),
        };
        for host in join_all(hosts).await {
            if let QueryResult::Records(host) = host? {
                answer.addresses.extend(host.addresses);
                answer.valid_until = answer.valid_until.min(host.valid_until);
            }
        }
        Ok(answer)
    }

    /// Queries both address families. The answer is empty only when both are: half an answer is not an empty one.
    async fn hosts(&self, name: &Name, port: u16) -> Result<QueryResult<DnsAnswer>, LookupError> {
        let (v4, v6) = join(
            self.query(name, RecordType::A),
            self.query(name, RecordType::AAAA),
        )
        .await;
        let mut found: Option<DnsAnswer> = None;
        for lookup in [&v4, &v6] {
            if let Ok(QueryResult::Records(lookup)) = lookup {
                let addresses = addresses(lookup).map(|ip| SocketAddr::new(ip, port));
                let answer = found.get_or_insert_with(|| DnsAnswer {
                    addresses: Vec::new(),
                    valid_until: lookup.valid_until(),
                });
                answer.addresses.extend(addresses);
                answer.valid_until = answer.valid_until.min(lookup.valid_until());
            }
        }
        if let Some(answer) = found {
            return Ok(QueryResult::Records(answer));
        }
        match (v4?, v6?) {
            (QueryResult::NoName, QueryResult::NoName) => Ok(QueryResult::NoName),
            _ => Ok(QueryResult::NoRecords),
        }
    }

    async fn query(
        &self,
        name: &Name,
        kind: RecordType,
    ) -> Result<QueryResult<Lookup>, LookupError> {
        match self.resolver.lookup(name.clone(), kind).await {
            Ok(lookup)
                if lookup
                    .answers()
                    .iter()
                    .any(|record| record.record_type() == kind) =>
            {
                Ok(QueryResult::Records(lookup))
            }
            Ok(_) => Ok(QueryResult::NoRecords),
            Err(error) if error.is_nx_domain() => Ok(QueryResult::NoName),
            Err(error) if error.is_no_records_found() => Ok(QueryResult::NoRecords),
            Err(source) => Err(LookupError::Query {
                name: name.clone(),
                source: Box::new(source),
            }),
        }
    }
}

fn addresses(lookup: &Lookup) -> impl Iterator<Item = IpAddr> + '_ {
    lookup
        .answers()
        .iter()
        .filter_map(|record| record.data.ip_addr())
}

/// Returns the addresses that the name servers of a simulated host have.
#[cfg(test)]
async fn simulated(
    host: &host::simulated::SimulatedHost,
    service: &str,
    port: u16,
) -> Result<DnsAnswer, LookupError> {
    let Some((addresses, lifetime)) = host.resolve(service).await else {
        return Err(LookupError::Query {
            name: Name::root(),
            source: Box::new(NetError::Timeout),
        });
    };
    let addresses = addresses.into_iter();
    Ok(DnsAnswer {
        addresses: addresses.map(|ip| SocketAddr::new(ip, port)).collect(),
        valid_until: tokio::time::Instant::now().into_std() + lifetime,
    })
}
