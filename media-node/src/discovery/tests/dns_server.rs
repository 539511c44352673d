//! A DNS server on loopback.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record};
use media_config::Discovery;
use prometheus::IntCounter;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

use super::super::OriginSet;
use super::super::entry::{OriginEntry, QueryInterval};
use super::super::resolver::DnsResolver;

/// The intervals of production, but ten times as short.
pub(super) const FAST: QueryInterval = QueryInterval {
    min: Duration::from_millis(100),
    max: Duration::from_secs(3),
    max_unsettled: Duration::from_millis(300),
    settles: Duration::from_secs(3),
    search: Duration::from_millis(20),
    search_lasts: Duration::from_secs(3600),
    empty_lasts: Duration::ZERO,
};
/// Time that no step of these tests takes.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// The reply to the queries for one name. Names without one get NXDOMAIN.
#[derive(Clone)]
pub(super) enum DnsReply {
    /// Records with this TTL.
    Records(u32, Vec<RData>),
    Code(ResponseCode),
    /// No reply.
    Silent,
}

type DnsReplies = Arc<Mutex<HashMap<String, DnsReply>>>;

pub(super) struct DnsServer {
    replies: DnsReplies,
    /// Record type and name of each query.
    queries: watch::Receiver<Vec<String>>,
    port: u16,
    /// Time for one query. A busy host answers in it.
    pub(super) timeout: Duration,
    /// Lookups that failed.
    pub(super) failures: IntCounter,
}

impl DnsServer {
    pub(super) async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let replies = DnsReplies::default();
        let (log, queries) = watch::channel(Vec::new());
        tokio::spawn(serve(socket, Arc::clone(&replies), log));
        Self {
            replies,
            queries,
            port,
            timeout: LIMIT,
            failures: IntCounter::new("failures", "test").unwrap(),
        }
    }

    pub(super) fn set(&self, name: &str, reply: DnsReply) {
        self.replies.lock().unwrap().insert(name.to_owned(), reply);
    }

    pub(super) fn set_addresses(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let records = addresses
            .iter()
            .map(|ip| RData::from(ip.parse::<IpAddr>().unwrap()));
        self.set(name, DnsReply::Records(ttl, records.collect()));
    }

    pub(super) fn resolver(&self) -> DnsResolver {
        let mut udp = ConnectionConfig::udp();
        udp.port = self.port;
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![udp]);
        let search = ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local"];
        let search = search.map(|name| Name::from_ascii(name).unwrap()).to_vec();
        let config = ResolverConfig::from_parts(None, search, vec![server]);
        let mut options = ResolverOpts::default();
        options.ndots = 5;
        options.attempts = 1;
        options.timeout = self.timeout;
        DnsResolver::new(config, options).unwrap()
    }

    /// Returns the origins of a Service.
    pub(super) fn origins(&self, service: &str) -> OriginSet {
        self.origins_every(FAST, service)
    }

    /// Returns the origins of a Service, resolved at this interval.
    pub(super) fn origins_every(&self, interval: QueryInterval, service: &str) -> OriginSet {
        let discovery = Discovery {
            service: Some(service.to_owned()),
            ..Discovery::default()
        };
        let entries = OriginEntry::parse(&discovery).unwrap();
        let failures = self.failures.clone();
        OriginSet::follow(entries, Some(self.resolver()), interval, failures)
    }

    /// Returns how many queries there were, given as record type and name.
    pub(super) fn count(&self, query: &str) -> usize {
        count(&self.queries.borrow(), query)
    }

    /// Waits until there were this many queries.
    pub(super) async fn queried(&self, query: &str, times: usize) {
        let mut queries = self.queries.clone();
        let reached = queries.wait_for(|all| count(all, query) >= times);
        timeout(LIMIT, reached)
            .await
            .expect("queried in time")
            .unwrap();
    }
}

fn count(queries: &[String], query: &str) -> usize {
    queries.iter().filter(|one| *one == query).count()
}

async fn serve(socket: UdpSocket, replies: DnsReplies, log: watch::Sender<Vec<String>>) {
    let mut packet = [0; 2048];
    loop {
        let (length, peer) = socket.recv_from(&mut packet).await.unwrap();
        let mut message = Message::from_vec(&packet[..length])
            .unwrap()
            .into_response();
        let query = message.queries[0].clone();
        let name = query.name().to_ascii();
        let name = name.trim_end_matches('.').to_owned();
        log.send_modify(|all| all.push(format!("{} {name}", query.query_type())));
        let reply = replies.lock().unwrap().get(&name).cloned();
        match reply.unwrap_or(DnsReply::Code(ResponseCode::NXDomain)) {
            DnsReply::Records(ttl, records) => {
                let records = records
                    .into_iter()
                    .filter(|data| data.record_type() == query.query_type());
                message.add_answers(
                    records.map(|data| Record::from_rdata(query.name().clone(), ttl, data)),
                );
            }
            DnsReply::Code(code) => message.metadata.response_code = code,
            DnsReply::Silent => continue,
        }
        socket
            .send_to(&message.to_vec().unwrap(), peer)
            .await
            .unwrap();
    }
}
