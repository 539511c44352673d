//! DNS as the system's own resolver would do it: search domains and `ndots`, SRV records, A and AAAA records.
//!
//! The search list is walked here and not by hickory, because hickory reports what the last name of the list gave: a
//! name server that does not answer for the right one would look like a Service without origins.

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

/// One question, one server: longer than any cluster's DNS needs, short enough to ask a second time soon.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// SRV targets that are looked up of one answer.
const MAX_TARGETS: usize = 256;

/// A resolver with the search list of the system.
pub(super) struct Names {
    resolver: TokioResolver,
    search: Vec<Name>,
    ndots: usize,
}

/// The resolver cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the system's resolver configuration cannot be used")]
pub(crate) struct NamesError(#[from] NetError);

/// A name could not be resolved. That it has no records is not an error.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    #[error("`{name}` is not a DNS name")]
    Name { name: String },
    #[error("{name}: {source}")]
    Query { name: Name, source: Box<NetError> },
}

/// What a name stands for.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) valid_until: Instant,
}

impl Answer {
    fn none() -> Self {
        Self {
            addresses: Vec::new(),
            valid_until: Instant::now(),
        }
    }
}

/// What one fully qualified name gave.
enum Found<T> {
    Records(T),
    /// The name is there and has no such records.
    Nothing,
    /// There is no such name.
    NoName,
}

impl Names {
    pub(super) fn from_system() -> Result<Self, NamesError> {
        let (config, options) = read_system_conf()?;
        Self::new(config, options)
    }

    pub(super) fn new(
        config: ResolverConfig,
        mut options: ResolverOpts,
    ) -> Result<Self, NamesError> {
        // When to ask again is decided above, by TTL. A second cache would only delay a refresh.
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

    /// The SRV records of the Service's port `internal` where there are any, else its addresses with `port`.
    pub(super) async fn service(&self, service: &str, port: u16) -> Result<Answer, LookupError> {
        let ports = format!("_internal._tcp.{service}");
        for name in self.candidates(&ports)? {
            // A server that knows no SRV is no reason to do without its A records.
            if let Ok(Found::Records(lookup)) = self.query(&name, RecordType::SRV).await {
                return self.targets(&lookup).await;
            }
        }
        self.addresses(service, port).await
    }

    /// The A and AAAA records of `name`, with `port`.
    pub(super) async fn addresses(&self, name: &str, port: u16) -> Result<Answer, LookupError> {
        let candidates = self.candidates(name)?;
        let searched = candidates.len() > 1;
        let mut missing = false;
        for (index, name) in candidates.iter().enumerate() {
            match self.hosts(name, port).await {
                Ok(Found::Records(answer)) => return Ok(answer),
                Ok(Found::Nothing) => return Ok(Answer::none()),
                Ok(Found::NoName) => missing = true,
                // The cluster has said that there is no such name. That the outside world, which is asked for the
                // bare name at the very end, cannot be reached from here changes nothing about it.
                Err(_) if missing && searched && index + 1 == candidates.len() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Answer::none())
    }

    /// The fully qualified names to try, in order. The bare name is not among them where it ends in `svc`, which is no
    /// top-level domain, and there is a search list.
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
        // A Service has no name outside of its cluster, and to ask there can take longer than its Pods take to come.
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

    async fn targets(&self, lookup: &Lookup) -> Result<Answer, LookupError> {
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
        let mut answer = Answer {
            addresses: Vec::new(),
            valid_until: lookup.valid_until(),
        };
        for host in join_all(hosts).await {
            if let Found::Records(host) = host? {
                answer.addresses.extend(host.addresses);
                answer.valid_until = answer.valid_until.min(host.valid_until);
            }
        }
        Ok(answer)
    }

    /// Both families. Only what both agree on counts as nothing: half an answer is no empty one.
    async fn hosts(&self, name: &Name, port: u16) -> Result<Found<Answer>, LookupError> {
        let (v4, v6) = join(
            self.query(name, RecordType::A),
            self.query(name, RecordType::AAAA),
        )
        .await;
        let mut found: Option<Answer> = None;
        for lookup in [&v4, &v6] {
            if let Ok(Found::Records(lookup)) = lookup {
                let addresses = addresses(lookup).map(|ip| SocketAddr::new(ip, port));
                let answer = found.get_or_insert_with(|| Answer {
                    addresses: Vec::new(),
                    valid_until: lookup.valid_until(),
                });
                answer.addresses.extend(addresses);
                answer.valid_until = answer.valid_until.min(lookup.valid_until());
            }
        }
        if let Some(answer) = found {
            return Ok(Found::Records(answer));
        }
        match (v4?, v6?) {
            (Found::NoName, Found::NoName) => Ok(Found::NoName),
            _ => Ok(Found::Nothing),
        }
    }

    async fn query(&self, name: &Name, kind: RecordType) -> Result<Found<Lookup>, LookupError> {
        match self.resolver.lookup(name.clone(), kind).await {
            Ok(lookup)
                if lookup
                    .answers()
                    .iter()
                    .any(|record| record.record_type() == kind) =>
            {
                Ok(Found::Records(lookup))
            }
            Ok(_) => Ok(Found::Nothing),
            Err(error) if error.is_nx_domain() => Ok(Found::NoName),
            Err(error) if error.is_no_records_found() => Ok(Found::Nothing),
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
