//! Origins against a DNS server of our own on loopback.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record};
use tokio::net::UdpSocket;

use super::*;

/// As in earnest, but ten times as fast.
const FAST: Pace = Pace {
    floor: Duration::from_millis(100),
    ceiling: Duration::from_secs(3),
};
const LIMIT: Duration = Duration::from_secs(8);

/// What the server answers: records, or an error code. A name that is not there is NXDOMAIN.
#[derive(Clone)]
enum Zone {
    Records(u32, Vec<RData>),
    Code(ResponseCode),
    Silent,
}

type Zones = Arc<Mutex<HashMap<String, Zone>>>;

struct DnsServer {
    zones: Zones,
    asked: watch::Receiver<Vec<String>>,
    port: u16,
}

impl DnsServer {
    async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let zones = Zones::default();
        let (log, asked) = watch::channel(Vec::new());
        tokio::spawn(serve(socket, Arc::clone(&zones), log));
        Self { zones, asked, port }
    }

    fn set(&self, name: &str, zone: Zone) {
        self.zones.lock().unwrap().insert(name.to_owned(), zone);
    }

    fn addresses(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let records = addresses
            .iter()
            .map(|ip| RData::from(ip.parse::<std::net::IpAddr>().unwrap()));
        self.set(name, Zone::Records(ttl, records.collect()));
    }

    fn names(&self) -> Names {
        let mut udp = ConnectionConfig::udp();
        udp.port = self.port;
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![udp]);
        let search = ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local"];
        let search = search.map(|name| Name::from_ascii(name).unwrap()).to_vec();
        let config = ResolverConfig::from_parts(None, search, vec![server]);
        let mut options = ResolverOpts::default();
        options.ndots = 5;
        options.attempts = 1;
        options.timeout = Duration::from_millis(200);
        Names::new(config, options).unwrap()
    }

    fn origins(&self, service: &str) -> Origins {
        let discovery = Discovery {
            service: Some(service.to_owned()),
            ..Discovery::default()
        };
        Origins::follow(sources(&discovery).unwrap(), Some(self.names()), FAST)
    }

    fn count(&self, name: &str) -> usize {
        self.asked
            .borrow()
            .iter()
            .filter(|one| *one == name)
            .count()
    }

    /// Waits until `name` has been asked for `times` times.
    async fn asked(&self, name: &str, times: usize) {
        let mut asked = self.asked.clone();
        let count = |all: &Vec<String>| all.iter().filter(|one| *one == name).count() >= times;
        timeout(LIMIT, asked.wait_for(count))
            .await
            .expect("asked in time")
            .unwrap();
    }
}

async fn serve(socket: UdpSocket, zones: Zones, log: watch::Sender<Vec<String>>) {
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
        let zone = zones.lock().unwrap().get(&name).cloned();
        match zone.unwrap_or(Zone::Code(ResponseCode::NXDomain)) {
            Zone::Records(ttl, records) => {
                let records = records
                    .into_iter()
                    .filter(|data| data.record_type() == query.query_type());
                message.add_answers(
                    records.map(|data| Record::from_rdata(query.name().clone(), ttl, data)),
                );
            }
            Zone::Code(code) => message.metadata.response_code = code,
            Zone::Silent => continue,
        }
        socket
            .send_to(&message.to_vec().unwrap(), peer)
            .await
            .unwrap();
    }
}

async fn until(origins: &Origins, expected: &[&str]) {
    let expected: Vec<SocketAddr> = expected.iter().map(|a| a.parse().unwrap()).collect();
    let mut set = origins.set.clone();
    let reached = timeout(LIMIT, set.wait_for(|set| **set == *expected)).await;
    assert!(
        reached.is_ok(),
        "expected {expected:?}, have {:?}",
        origins.current()
    );
}

const SERVICE: &str = "lc-origin-headless.ns.svc";
const FULL: &str = "lc-origin-headless.ns.svc.cluster.local";

#[tokio::test]
async fn all_addresses_of_a_headless_service_are_found_through_the_search_list() {
    let dns = DnsServer::start().await;
    dns.addresses(FULL, 30, &["10.0.0.2", "10.0.0.1", "fd00::1"]);
    let origins = dns.origins(SERVICE);
    until(
        &origins,
        &["10.0.0.1:9090", "10.0.0.2:9090", "[fd00::1]:9090"],
    )
    .await;
    assert_eq!(
        origins
            .ranked(&StreamKey::new(None, "live", "a").unwrap())
            .len(),
        3
    );
}

#[tokio::test]
async fn srv_records_bring_their_ports() {
    let dns = DnsServer::start().await;
    let target =
        |name: &str, port| RData::SRV(SRV::new(0, 100, port, Name::from_ascii(name).unwrap()));
    let records = vec![target("a.example.", 7001), target("b.example.", 7002)];
    dns.set(
        &format!("_internal._tcp.{FULL}"),
        Zone::Records(30, records),
    );
    dns.addresses(FULL, 30, &["10.9.9.9"]);
    dns.addresses("a.example", 30, &["10.0.0.1"]);
    dns.addresses("b.example", 30, &["10.0.0.2", "fd00::2"]);
    let origins = dns.origins(SERVICE);
    until(
        &origins,
        &["10.0.0.1:7001", "10.0.0.2:7002", "[fd00::2]:7002"],
    )
    .await;
}

#[tokio::test]
async fn an_answer_is_asked_for_again_when_its_ttl_is_over() {
    let dns = DnsServer::start().await;
    dns.addresses(FULL, 0, &["10.0.0.1"]);
    let origins = dns.origins(SERVICE);
    until(&origins, &["10.0.0.1:9090"]).await;
    dns.addresses(FULL, 0, &["10.0.0.1", "10.0.0.3"]);
    until(&origins, &["10.0.0.1:9090", "10.0.0.3:9090"]).await;
}

#[tokio::test]
async fn a_refresh_does_not_wait_for_the_ttl() {
    let dns = DnsServer::start().await;
    dns.addresses(FULL, 3600, &["10.0.0.1"]);
    let origins = dns.origins(SERVICE);
    until(&origins, &["10.0.0.1:9090"]).await;
    dns.addresses(FULL, 3600, &["10.0.0.2"]);
    let asked = Instant::now();
    origins.refresh();
    until(&origins, &["10.0.0.2:9090"]).await;
    assert!(asked.elapsed() < FAST.ceiling);
}

#[tokio::test]
async fn a_service_without_endpoints_has_no_origins() {
    let dns = DnsServer::start().await;
    dns.addresses(FULL, 0, &["10.0.0.1"]);
    let name = "lc-origin-headless";
    let origins = dns.origins(name);
    assert!(!origins.ever_known());
    until(&origins, &["10.0.0.1:9090"]).await;
    // CoreDNS answers NXDOMAIN for a headless Service without endpoints; the bare name goes to a server that fails.
    dns.set(FULL, Zone::Code(ResponseCode::NXDomain));
    dns.set(name, Zone::Code(ResponseCode::ServFail));
    until(&origins, &[]).await;
    assert!(origins.ever_known());
    dns.addresses(FULL, 0, &["10.0.0.2"]);
    origins.refresh();
    until(&origins, &["10.0.0.2:9090"]).await;
}

#[tokio::test]
async fn a_service_is_never_asked_for_outside_of_its_cluster() {
    let dns = DnsServer::start().await;
    let origins = dns.origins(SERVICE);
    // The first round, in which there is no such name, is over when the second begins.
    dns.asked(&format!("A {FULL}"), 2).await;
    dns.addresses(FULL, 30, &["10.0.0.1"]);
    until(&origins, &["10.0.0.1:9090"]).await;
    let outside = [
        format!("SRV _internal._tcp.{SERVICE}"),
        format!("A {SERVICE}"),
    ];
    assert_eq!(outside.map(|question| dns.count(&question)), [0, 0]);
}

#[tokio::test]
async fn an_error_keeps_the_last_known_origins() {
    let dns = DnsServer::start().await;
    dns.addresses(FULL, 0, &["10.0.0.1"]);
    let origins = dns.origins(SERVICE);
    until(&origins, &["10.0.0.1:9090"]).await;
    dns.set(FULL, Zone::Code(ResponseCode::ServFail));
    let asked = dns.count(&format!("A {FULL}"));
    for times in 1..=2 {
        origins.refresh();
        dns.asked(&format!("A {FULL}"), asked + times).await;
    }
    assert_eq!(origins.current().len(), 1);
    dns.addresses(FULL, 0, &["10.0.0.4"]);
    until(&origins, &["10.0.0.4:9090"]).await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_delays_nobody() {
    let dns = DnsServer::start().await;
    for name in [FULL.to_owned(), format!("_internal._tcp.{FULL}")] {
        dns.set(&name, Zone::Silent);
    }
    let origins = dns.origins(SERVICE);
    let asked = Instant::now();
    assert!(origins.known(Duration::from_millis(50)).await.is_empty());
    assert!(asked.elapsed() < Duration::from_secs(1));
    dns.addresses(FULL, 30, &["10.0.0.1"]);
    assert_eq!(origins.known(LIMIT).await.len(), 1);
}

#[tokio::test]
async fn names_in_the_list_are_resolved_beside_addresses() {
    let dns = DnsServer::start().await;
    dns.addresses("origin.example", 30, &["10.0.0.7"]);
    let addresses = [
        "127.0.0.1:9090",
        "[::1]:9091",
        "origin.example:9092",
        "localhost:9093",
    ];
    let addresses = addresses.map(str::to_owned).to_vec();
    let discovery = Discovery {
        addresses,
        ..Discovery::default()
    };
    let origins = Origins::follow(sources(&discovery).unwrap(), Some(dns.names()), FAST);
    let mut set = origins.set.clone();
    let all = timeout(LIMIT, set.wait_for(|set| set.len() >= 4)).await;
    let all = Arc::clone(&all.expect("resolved in time").unwrap());
    for expected in [
        "127.0.0.1:9090",
        "[::1]:9091",
        "10.0.0.7:9092",
        "127.0.0.1:9093",
    ] {
        assert!(
            all.contains(&expected.parse().unwrap()),
            "{expected} in {all:?}"
        );
    }
}

#[tokio::test]
async fn a_list_of_addresses_needs_no_name_server() {
    let addresses = vec!["127.0.0.1:9090".to_owned(), "127.0.0.1:9090".to_owned()];
    let origins = Origins::start(&Discovery {
        addresses,
        ..Discovery::default()
    })
    .unwrap();
    assert_eq!(
        *origins.current(),
        [SocketAddr::from((Ipv4Addr::LOCALHOST, 9090))]
    );
    assert!(
        !origins
            .current()
            .contains(&SocketAddr::from((Ipv6Addr::LOCALHOST, 9090)))
    );
}

#[test]
fn an_address_without_port_is_refused_by_name() {
    for address in [
        "origin",
        "origin:",
        ":9090",
        "http://origin:9090",
        "origin:99999",
        "fd00::1:9090",
    ] {
        let discovery = Discovery {
            addresses: vec![address.to_owned()],
            ..Discovery::default()
        };
        let error = sources(&discovery).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("origins.addresses: `{address}` is not HOST:PORT")
        );
    }
}
