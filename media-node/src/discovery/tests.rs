//! Origins behind a DNS server on loopback.

mod dns_server;

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData};

use super::*;
use dns_server::{DnsReply, DnsServer, FAST, LIMIT};

async fn until(origins: &OriginSet, expected: &[&str]) {
    let expected: Vec<SocketAddr> = expected.iter().map(|a| a.parse().unwrap()).collect();
    let mut set = origins.set.clone();
    let reached = timeout(LIMIT, set.wait_for(|set| **set == *expected)).await;
    assert!(
        reached.is_ok(),
        "expected {expected:?}, have {:?}",
        origins.current()
    );
}

/// Returns the origins of a name that has one address for an hour. They settle for this time after a change.
async fn one_origin_for_an_hour(settles: Duration) -> (DnsServer, OriginSet) {
    let dns = DnsServer::start().await;
    dns.set_addresses(FULL, 3600, &["10.0.0.1"]);
    let interval = QueryInterval {
        max: Duration::from_secs(3600),
        settles,
        ..FAST
    };
    let origins = dns.origins_every(interval, SERVICE);
    until(&origins, &["10.0.0.1:9090"]).await;
    (dns, origins)
}

const SERVICE: &str = "lc-origin-headless.ns.svc";
const FULL: &str = "lc-origin-headless.ns.svc.cluster.local";

#[tokio::test]
async fn headless_service_is_found_through_the_search_list() {
    let dns = DnsServer::start().await;
    dns.set_addresses(FULL, 30, &["10.0.0.2", "10.0.0.1", "fd00::1"]);
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
async fn srv_records_determine_the_ports() {
    let dns = DnsServer::start().await;
    let target =
        |name: &str, port| RData::SRV(SRV::new(0, 100, port, Name::from_ascii(name).unwrap()));
    let records = vec![target("a.example.", 7001), target("b.example.", 7002)];
    dns.set(
        &format!("_internal._tcp.{FULL}"),
        DnsReply::Records(30, records),
    );
    dns.set_addresses(FULL, 30, &["10.9.9.9"]);
    dns.set_addresses("a.example", 30, &["10.0.0.1"]);
    dns.set_addresses("b.example", 30, &["10.0.0.2", "fd00::2"]);
    let origins = dns.origins(SERVICE);
    until(
        &origins,
        &["10.0.0.1:7001", "10.0.0.2:7002", "[fd00::2]:7002"],
    )
    .await;
}

#[tokio::test]
async fn expired_answer_is_queried_again() {
    let dns = DnsServer::start().await;
    dns.set_addresses(FULL, 0, &["10.0.0.1"]);
    let origins = dns.origins(SERVICE);
    until(&origins, &["10.0.0.1:9090"]).await;
    dns.set_addresses(FULL, 0, &["10.0.0.1", "10.0.0.3"]);
    until(&origins, &["10.0.0.1:9090", "10.0.0.3:9090"]).await;
}

#[tokio::test]
async fn refresh_does_not_wait_for_the_ttl() {
    let (dns, origins) = one_origin_for_an_hour(Duration::ZERO).await;
    dns.set_addresses(FULL, 3600, &["10.0.0.2"]);
    origins.refresh();
    until(&origins, &["10.0.0.2:9090"]).await;
}

#[tokio::test]
async fn addresses_that_changed_are_resolved_again_long_before_the_ttl() {
    let (dns, origins) = one_origin_for_an_hour(Duration::from_secs(3600)).await;
    dns.set_addresses(FULL, 3600, &["10.0.0.1", "10.0.0.2"]);
    until(&origins, &["10.0.0.1:9090", "10.0.0.2:9090"]).await;
}

#[tokio::test]
async fn search_queries_until_there_is_another_address() {
    let dns = DnsServer::start().await;
    dns.set_addresses(FULL, 3600, &["10.0.0.1"]);
    let (min, max) = (Duration::from_secs(3600), Duration::from_secs(3600));
    let origins = dns.origins_every(QueryInterval { min, max, ..FAST }, SERVICE);
    until(&origins, &["10.0.0.1:9090"]).await;
    origins.search();
    let query = format!("A {FULL}");
    dns.queried(&query, dns.count(&query) + 3).await;
    dns.set_addresses(FULL, 3600, &["10.0.0.2"]);
    until(&origins, &["10.0.0.2:9090"]).await;
}

#[tokio::test]
async fn service_without_endpoints_has_no_origins() {
    let dns = DnsServer::start().await;
    dns.set_addresses(FULL, 0, &["10.0.0.1"]);
    let name = "lc-origin-headless";
    let origins = dns.origins(name);
    assert!(!origins.ever_known());
    until(&origins, &["10.0.0.1:9090"]).await;
    // CoreDNS replies NXDOMAIN for a headless Service without endpoints, and the server for the bare name fails.
    dns.set(FULL, DnsReply::Code(ResponseCode::NXDomain));
    dns.set(name, DnsReply::Code(ResponseCode::ServFail));
    until(&origins, &[]).await;
    assert!(origins.ever_known());
    dns.set_addresses(FULL, 0, &["10.0.0.2"]);
    origins.refresh();
    until(&origins, &["10.0.0.2:9090"]).await;
}

#[tokio::test]
async fn answer_without_addresses_keeps_the_known_origins_for_a_while() {
    let dns = DnsServer::start().await;
    dns.set_addresses(FULL, 0, &["10.0.0.1"]);
    let empty_lasts = Duration::from_secs(3600);
    let origins = dns.origins_every(
        QueryInterval {
            empty_lasts,
            ..FAST
        },
        SERVICE,
    );
    until(&origins, &["10.0.0.1:9090"]).await;
    dns.set(FULL, DnsReply::Code(ResponseCode::NXDomain));
    let query = format!("A {FULL}");
    // The answer to the first of these queries was used before the last one.
    dns.queried(&query, dns.count(&query) + 3).await;
    assert_eq!(origins.current().len(), 1);
    dns.set_addresses(FULL, 0, &["10.0.0.2"]);
    until(&origins, &["10.0.0.2:9090"]).await;
}

#[tokio::test]
async fn service_is_never_queried_outside_of_its_cluster() {
    let dns = DnsServer::start().await;
    let origins = dns.origins(SERVICE);
    // The first round of queries, in which the name does not exist, ends before the second starts.
    dns.queried(&format!("A {FULL}"), 2).await;
    dns.set_addresses(FULL, 30, &["10.0.0.1"]);
    until(&origins, &["10.0.0.1:9090"]).await;
    let outside = [
        format!("SRV _internal._tcp.{SERVICE}"),
        format!("A {SERVICE}"),
    ];
    assert_eq!(outside.map(|query| dns.count(&query)), [0, 0]);
}

#[tokio::test]
async fn error_keeps_the_last_known_origins() {
    let dns = DnsServer::start().await;
    dns.set_addresses(FULL, 0, &["10.0.0.1"]);
    let origins = dns.origins(SERVICE);
    until(&origins, &["10.0.0.1:9090"]).await;
    assert_eq!(dns.failures.get(), 0);
    dns.set(FULL, DnsReply::Code(ResponseCode::ServFail));
    let before = dns.count(&format!("A {FULL}"));
    for times in 1..=2 {
        origins.refresh();
        dns.queried(&format!("A {FULL}"), before + times).await;
    }
    assert_eq!(origins.current().len(), 1);
    let counted = async {
        while dns.failures.get() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, counted).await.expect("a counted failure");
    dns.set_addresses(FULL, 0, &["10.0.0.4"]);
    until(&origins, &["10.0.0.4:9090"]).await;
}

#[tokio::test]
async fn silent_server_does_not_block_readers() {
    let mut dns = DnsServer::start().await;
    dns.timeout = Duration::from_millis(200);
    for name in [FULL.to_owned(), format!("_internal._tcp.{FULL}")] {
        dns.set(&name, DnsReply::Silent);
    }
    let origins = dns.origins(SERVICE);
    let known = timeout(LIMIT, origins.known(Duration::from_millis(50)));
    assert!(known.await.expect("a result in time").is_empty());
    dns.set_addresses(FULL, 30, &["10.0.0.1"]);
    assert_eq!(origins.known(LIMIT).await.len(), 1);
}

#[tokio::test]
async fn list_may_mix_names_and_addresses() {
    let dns = DnsServer::start().await;
    dns.set_addresses("origin.example", 30, &["10.0.0.7"]);
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
    let origins = OriginSet::follow(
        OriginEntry::parse(&discovery).unwrap(),
        Some(dns.resolver()),
        FAST,
        dns.failures.clone(),
    );
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
async fn list_of_addresses_needs_no_name_server() {
    let addresses = vec!["127.0.0.1:9090".to_owned(), "127.0.0.1:9090".to_owned()];
    let discovery = Discovery {
        addresses,
        ..Discovery::default()
    };
    let failures = IntCounter::new("failures", "test").unwrap();
    let origins = OriginSet::start(&discovery, failures).unwrap();
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
fn invalid_address_is_named_in_the_error() {
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
        let error = OriginEntry::parse(&discovery).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("origins.addresses: `{address}` is not HOST:PORT")
        );
    }
}
