//! From a LiveCluster to the configuration of its media nodes: the one function that Pods and `livecluster local` share.

use std::path::Path;

use media_config::{Discovery, DrainSettings, Listen, NodeConfig, Role};

use crate::cluster_name::ClusterName;
use crate::mount::MOUNT_DIRECTORY;
use crate::spec::LiveClusterSpec;

/// Returns the configuration of every media node of `role`.
///
/// Origins have the same `origins` as edges: each pulls the streams that it lacks from the others.
/// The name is empty, so that a node takes its host's name, which is the Pod's; the ports are the node's own defaults.
pub fn node_config(cluster: &ClusterName, spec: &LiveClusterSpec, role: Role) -> NodeConfig {
    let (tls, slate) = (spec.tls.as_ref(), spec.slate.as_ref());
    NodeConfig {
        role,
        origins: Discovery {
            service: Some(origins_host(cluster)),
            ..Discovery::default()
        },
        vhosts: spec.vhosts.clone(),
        stream: spec.stream.clone(),
        limits: spec.limits.clone(),
        drain: DrainSettings {
            timeout_seconds: spec.pods(role).drain_timeout_seconds,
            ..DrainSettings::default()
        },
        log: spec.logs.clone(),
        slate: slate.map(|slate| slate.file(Path::new(MOUNT_DIRECTORY))),
        metrics: spec.metrics.clone(),
        http: spec.http.settings(Path::new(MOUNT_DIRECTORY)),
        auth: spec.auth.settings(Path::new(MOUNT_DIRECTORY)),
        proxies: spec.proxies.clone(),
        tls: tls.map(|tls| tls.settings(Path::new(MOUNT_DIRECTORY))),
        listen: match tls {
            Some(tls) if tls.required => Listen {
                rtmp: None,
                http: None,
                ..Listen::default()
            },
            _ => Listen::default(),
        },
        ..NodeConfig::default()
    }
}

/// Returns the DNS name of the headless Service, without the domain of the Kubernetes cluster: it is not always
/// `cluster.local`.
fn origins_host(cluster: &ClusterName) -> String {
    let namespace = match cluster.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    };
    format!("{}.{namespace}.svc", cluster.headless_service())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TlsSpec;

    #[test]
    fn every_default_is_a_configuration_that_a_media_node_accepts() {
        let name = ClusterName::new("live", "demo");
        for role in [Role::Origin, Role::Edge] {
            let config = node_config(&name, &LiveClusterSpec::default(), role);
            let read = media_config::parse(&media_config::render(&config).unwrap()).unwrap();
            assert_eq!(read, config);
            assert_eq!(
                config.origins.service.as_deref(),
                Some("demo-origin-headless.live.svc")
            );
        }
    }

    #[test]
    fn required_tls_closes_the_ports_without_it() {
        let name = ClusterName::new("live", "demo");
        let mut spec = LiveClusterSpec::default();
        for required in [false, true] {
            spec.tls = Some(TlsSpec {
                secret_name: "certificate".to_owned(),
                required,
            });
            let config = node_config(&name, &spec, Role::Edge);
            let read = media_config::parse(&media_config::render_changes(&config).unwrap());
            assert_eq!(read.unwrap(), config);
            assert_eq!(config.listen.rtmp.is_none(), required);
            assert_eq!(config.listen.http.is_none(), required);
            assert_eq!(
                config.tls.unwrap().certificate,
                Path::new("/etc/media-node-mounts/tls/tls.crt")
            );
        }
    }

    #[test]
    fn media_node_drains_as_long_as_its_role_says() {
        let name = ClusterName::new("live", "demo");
        let mut spec = LiveClusterSpec::default();
        spec.origins.pods.drain_timeout_seconds = 3600;
        let drain = |role| node_config(&name, &spec, role).drain.timeout_seconds;
        assert_eq!(drain(Role::Origin), 3600);
        assert_eq!(drain(Role::Edge), 300);
    }
}
