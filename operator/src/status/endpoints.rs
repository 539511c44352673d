//! The URLs of a cluster, derived from its Services.

use std::net::Ipv6Addr;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use kube::ResourceExt;
use livecluster_api::names::{self, role_name};
use livecluster_api::{Endpoint, Endpoints, LiveCluster, ServiceType};
use media_config::Role;

use crate::observe::observed::Observed;

/// Placeholder for the address of any node: listing nodes would need a permission for this alone.
const NODE_PLACEHOLDER: &str = "<node>";

/// Returns the URLs for encoders, origins first, and for viewers, edges first. External addresses are first within a
/// role.
pub(super) fn endpoints(cluster: &LiveCluster, observed: &Observed) -> Endpoints {
    let publish = [Role::Origin, Role::Edge]
        .into_iter()
        .flat_map(|role| urls(cluster, observed, role, &[UrlProtocol::Rtmp]))
        .collect();
    let play = [Role::Edge, Role::Origin]
        .into_iter()
        .flat_map(|role| {
            urls(
                cluster,
                observed,
                role,
                &[UrlProtocol::HttpFlv, UrlProtocol::Rtmp, UrlProtocol::Player],
            )
        })
        .collect();
    Endpoints { publish, play }
}

#[derive(Clone, Copy)]
enum UrlProtocol {
    Rtmp,
    HttpFlv,
    Player,
}

impl UrlProtocol {
    fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::HttpFlv => "http-flv",
            Self::Player => "player",
        }
    }

    fn url(self, address: &ServiceAddress) -> String {
        let ServiceAddress {
            host, rtmp, http, ..
        } = address;
        match self {
            Self::Rtmp => format!("rtmp://{host}:{rtmp}/live/{{stream}}"),
            Self::HttpFlv => format!("http://{host}:{http}/live/{{stream}}.flv"),
            Self::Player => format!("http://{host}:{http}/"),
        }
    }
}

/// A host with its two ports.
struct ServiceAddress {
    suffix: &'static str,
    host: String,
    rtmp: i32,
    http: i32,
}

fn urls(
    cluster: &LiveCluster,
    observed: &Observed,
    role: Role,
    protocols: &[UrlProtocol],
) -> Vec<Endpoint> {
    let Some(service) = observed
        .service(cluster, role)
        .filter(|_| cluster.spec.replicas(role) > 0)
    else {
        return Vec::new();
    };
    let mut endpoints = Vec::new();
    for address in addresses(cluster, service, role) {
        endpoints.extend(protocols.iter().map(|protocol| Endpoint {
            name: format!("{}-{}{}", role_name(role), protocol.name(), address.suffix),
            url: protocol.url(&address),
        }));
    }
    endpoints
}

fn addresses(cluster: &LiveCluster, service: &Service, role: Role) -> Vec<ServiceAddress> {
    let mut addresses = Vec::new();
    let mut add = |suffix, hosts: Vec<String>, ports: Option<(i32, i32)>| {
        let Some((rtmp, http)) = ports else { return };
        addresses.extend(hosts.into_iter().map(|host| ServiceAddress {
            suffix,
            host,
            rtmp,
            http,
        }));
    };
    let settings = &cluster.spec.pods(role).service;
    let hostname = settings.external_hostname.clone();
    match settings.kind {
        ServiceType::ClusterIp => {}
        ServiceType::NodePort => add(
            "",
            vec![hostname.unwrap_or_else(|| NODE_PLACEHOLDER.to_owned())],
            ports(service, |port| port.node_port),
        ),
        ServiceType::LoadBalancer => {
            let hosts = load_balancer_hosts(service);
            let hosts = match hostname {
                Some(hostname) if !hosts.is_empty() => vec![hostname],
                _ => hosts,
            };
            add("", hosts, ports(service, |port| Some(port.port)));
        }
    }
    let namespace = cluster.namespace().unwrap_or_default();
    let internal = format!("{}.{namespace}.svc", names::deployment(cluster, role));
    add(
        "-internal",
        vec![internal],
        ports(service, |port| Some(port.port)),
    );
    addresses
}

/// Returns the RTMP and the HTTP port, if the Service has both.
fn ports(service: &Service, number: impl Fn(&ServicePort) -> Option<i32>) -> Option<(i32, i32)> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    let find = |name: &str| {
        ports
            .iter()
            .find(|port| port.name.as_deref() == Some(name))
            .and_then(&number)
    };
    Some((find("rtmp")?, find("http")?))
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
        .filter_map(|entry| {
            let ip = entry.ip.map(|ip| match ip.parse::<Ipv6Addr>() {
                Ok(_) => format!("[{ip}]"),
                Err(_) => ip,
            });
            ip.or(entry.hostname)
        })
        .collect()
}
