//! The URLs of a cluster, derived from its Services and Pods.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use kube::ResourceExt;
use livecluster_api::names::{self, role_name};
use livecluster_api::{
    ClientPort, Endpoint, Endpoints, InClusterEndpoints, LiveCluster, ServiceType,
};
use media_config::Role;

use super::gateway_addresses::gateway_addresses;
use crate::observe::observed::Observed;
use crate::observe::pods::{is_ready, is_terminating};

/// Addresses of nodes in the URLs of a NodePort Service: a client needs one, and a second one when its node is down.
const MAX_NODES: usize = 3;

const PUBLISH: &[UrlProtocol] = &[UrlProtocol::Rtmp];
const PLAY: &[UrlProtocol] = &[UrlProtocol::HttpFlv, UrlProtocol::Rtmp, UrlProtocol::Player];

/// Returns the URLs for encoders, origins first, and for viewers, edges first.
pub(super) fn endpoints(cluster: &LiveCluster, observed: &Observed) -> Endpoints {
    let urls =
        |reach: EndpointScope, roles: [Role; 2], protocols: &[UrlProtocol]| -> Vec<Endpoint> {
            let urls = roles
                .into_iter()
                .flat_map(|role| urls(cluster, observed, role, reach, protocols));
            urls.collect()
        };
    let publishers = [Role::Origin, Role::Edge];
    let viewers = [Role::Edge, Role::Origin];
    let gateway_urls = |roles: [Role; 2], protocols: &[UrlProtocol]| -> Vec<Endpoint> {
        let urls = roles
            .into_iter()
            .flat_map(|role| gateway_urls(cluster, observed, role, protocols));
        urls.collect()
    };
    let mut publish = gateway_urls(publishers, PUBLISH);
    publish.extend(urls(EndpointScope::Public, publishers, PUBLISH));
    let mut play = gateway_urls(viewers, PLAY);
    play.extend(urls(EndpointScope::Public, viewers, PLAY));
    let in_cluster = InClusterEndpoints {
        publish: urls(EndpointScope::InCluster, publishers, PUBLISH),
        play: urls(EndpointScope::InCluster, viewers, PLAY),
    };
    let first = publish.first().or(in_cluster.publish.first());
    Endpoints {
        publish_url: first.map(|endpoint| endpoint.url.clone()),
        play,
        publish,
        in_cluster,
    }
}

/// Whether a role's load balancer has no address yet.
pub(super) fn awaits_load_balancer(cluster: &LiveCluster, observed: &Observed, role: Role) -> bool {
    cluster.spec.pods(role).service.kind == ServiceType::LoadBalancer
        && observed
            .service(cluster, role)
            .is_some_and(|service| load_balancer_hosts(service).is_empty())
}

#[derive(Clone, Copy)]
enum EndpointScope {
    Public,
    InCluster,
}

#[derive(Clone, Copy)]
enum UrlProtocol {
    Rtmp,
    HttpFlv,
    Player,
}

impl UrlProtocol {
    /// Returns the port, the name of the protocol on it, and the path of its URLs.
    fn on(self, encrypted: bool) -> (ClientPort, &'static str, &'static str) {
        use ClientPort::{Http, Https, Rtmp, Rtmps};
        match (self, encrypted) {
            (Self::Rtmp, false) => (Rtmp, "rtmp", "live/{stream}"),
            (Self::Rtmp, true) => (Rtmps, "rtmps", "live/{stream}"),
            (Self::HttpFlv, false) => (Http, "http-flv", "live/{stream}.flv"),
            (Self::HttpFlv, true) => (Https, "https-flv", "live/{stream}.flv"),
            (Self::Player, false) => (Http, "player", ""),
            (Self::Player, true) => (Https, "player-https", ""),
        }
    }
}

fn urls(
    cluster: &LiveCluster,
    observed: &Observed,
    role: Role,
    reach: EndpointScope,
    protocols: &[UrlProtocol],
) -> Vec<Endpoint> {
    let service = observed
        .service(cluster, role)
        .filter(|_| cluster.spec.replicas(role) > 0);
    let Some(service) = service else {
        return Vec::new();
    };
    let node_ports = match reach {
        EndpointScope::Public => cluster.spec.pods(role).service.kind == ServiceType::NodePort,
        EndpointScope::InCluster => false,
    };
    let number = |port: &ServicePort| {
        if node_ports {
            port.node_port
        } else {
            Some(port.port)
        }
    };
    let hosts = match reach {
        EndpointScope::Public => public_hosts(cluster, observed, service, role),
        EndpointScope::InCluster => {
            let namespace = cluster.namespace().unwrap_or_default();
            vec![format!(
                "{}.{namespace}.svc",
                names::deployment(cluster, role)
            )]
        }
    };
    let endpoint = |protocol: UrlProtocol, encrypted, host: &String| {
        let (port, name, path) = protocol.on(encrypted);
        let number = service_port(service, port).and_then(number)?;
        Some(Endpoint {
            name: format!("{}-{name}", role_name(role)),
            url: format!("{}://{host}:{number}/{path}", port.name()),
        })
    };
    let mut urls = Vec::new();
    for host in &hosts {
        // Those with TLS first.
        for encrypted in [true, false] {
            let of_host = protocols
                .iter()
                .filter_map(|protocol| endpoint(*protocol, encrypted, host));
            urls.extend(of_host);
        }
    }
    urls
}

/// Returns the URLs of the Gateways that accept the routes to the Pods of a role.
fn gateway_urls(
    cluster: &LiveCluster,
    observed: &Observed,
    role: Role,
    protocols: &[UrlProtocol],
) -> Vec<Endpoint> {
    if cluster.spec.replicas(role) == 0 {
        return Vec::new();
    }
    let addresses = gateway_addresses(cluster, &observed.gateways, role);
    let mut urls = Vec::new();
    // Those with TLS first.
    for encrypted in [true, false] {
        for protocol in protocols {
            let (port, name, path) = protocol.on(encrypted);
            let addresses = addresses.iter().filter(|address| address.port == port);
            urls.extend(addresses.map(|address| Endpoint {
                name: format!("gateway-{}-{name}", role_name(role)),
                url: format!(
                    "{}://{}:{}/{path}",
                    port.name(),
                    host(&address.host),
                    address.number
                ),
            }));
        }
    }
    urls
}

fn public_hosts(
    cluster: &LiveCluster,
    observed: &Observed,
    service: &Service,
    role: Role,
) -> Vec<String> {
    let settings = &cluster.spec.pods(role).service;
    let hostname = || settings.external_hostname.clone().map(|name| vec![name]);
    match settings.kind {
        ServiceType::ClusterIp => Vec::new(),
        ServiceType::NodePort => hostname().unwrap_or_else(|| node_hosts(observed, role)),
        ServiceType::LoadBalancer => {
            let hosts = load_balancer_hosts(service);
            match hostname() {
                Some(hostname) if !hosts.is_empty() => hostname,
                _ => hosts,
            }
        }
    }
}

/// Returns addresses of nodes with a ready Pod of the role. They serve the node ports with every traffic policy, and listing
/// the nodes would need a permission for this alone.
fn node_hosts(observed: &Observed, role: Role) -> Vec<String> {
    let pods = observed
        .pods(role)
        .filter(|pod| is_ready(pod) && !is_terminating(pod));
    let addresses: BTreeSet<&str> = pods.filter_map(node_address).collect();
    addresses.into_iter().take(MAX_NODES).map(host).collect()
}

fn node_address(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.host_ip.as_deref()
}

/// Returns a port of the Service, if it has it.
fn service_port(service: &Service, port: ClientPort) -> Option<&ServicePort> {
    let mut ports = service.spec.as_ref()?.ports.as_ref()?.iter();
    ports.find(|found| found.name.as_deref() == Some(port.name()))
}

fn load_balancer_hosts(service: &Service) -> Vec<String> {
    let ingress = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref())
        .and_then(|balancer| balancer.ingress.clone())
        .unwrap_or_default();
    ingress
        .into_iter()
        .filter_map(|entry| entry.ip.map(|ip| host(&ip)).or(entry.hostname))
        .collect()
}

/// Returns an IP address as a URL has it.
fn host(ip: &str) -> String {
    match ip.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{ip}]"),
        Err(_) => ip.to_owned(),
    }
}
