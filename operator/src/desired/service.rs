//! The addresses of the Pods: a Service for each role, and a headless one by which media nodes discover the origins.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use livecluster_api::names;
use livecluster_api::{ClientPort, LiveCluster, ServiceSettings, ServiceType};
use media_config::Role;

/// Returns the Service of a role. It routes to ready Pods only, and to edges that do not retire.
pub(super) fn service(cluster: &LiveCluster, role: Role) -> Service {
    let settings = &cluster.spec.pods(role).service;
    let mut metadata = names::metadata(cluster, names::deployment(cluster, role), Some(role));
    let mut labels = settings.labels.clone();
    labels.extend(metadata.labels.take().unwrap_or_default());
    metadata.labels = Some(labels);
    metadata.annotations = (!settings.annotations.is_empty()).then(|| settings.annotations.clone());
    Service {
        metadata,
        spec: Some(spec(cluster, role, settings)),
        ..Service::default()
    }
}

fn spec(cluster: &LiveCluster, role: Role, settings: &ServiceSettings) -> ServiceSpec {
    let node_ports = settings.node_ports.clone().unwrap_or_default();
    let ports = cluster.spec.client_ports().into_iter();
    let service_port = |client_port: ClientPort| {
        let number = client_port.service_port(&settings.ports);
        port(
            client_port.name(),
            number,
            client_port.node_port(&node_ports),
        )
    };
    let is_public = settings.kind != ServiceType::ClusterIp;
    let ranges = &settings.load_balancer_source_ranges;
    ServiceSpec {
        type_: Some(settings.kind.as_str().to_owned()),
        selector: Some(names::service_selector(cluster, role)),
        ports: Some(ports.map(service_port).collect()),
        external_traffic_policy: is_public
            .then(|| settings.external_traffic_policy.as_str().to_owned()),
        load_balancer_class: settings.load_balancer_class.clone(),
        load_balancer_source_ranges: (!ranges.is_empty()).then(|| ranges.clone()),
        ..ServiceSpec::default()
    }
}

/// Returns the Service whose DNS name lists every origin Pod, draining ones included: their publishers are still
/// connected, and a media node that needs one of their streams must find it. The SRV record `_internal._tcp` of the name
/// has the internal ports.
pub(super) fn headless(cluster: &LiveCluster) -> Service {
    Service {
        metadata: names::metadata(
            cluster,
            names::headless_service(cluster),
            Some(Role::Origin),
        ),
        spec: Some(ServiceSpec {
            type_: Some(ServiceType::ClusterIp.as_str().to_owned()),
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(names::selector(cluster, Role::Origin)),
            ports: Some(vec![port("internal", 9090, None)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn port(name: &str, port: u16, node_port: Option<u16>) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: port.into(),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        node_port: node_port.map(i32::from),
        ..ServicePort::default()
    }
}
