//! From a `LiveCluster` to the configuration of its nodes: the one function that pods and `livecluster local` share.

use kube::ResourceExt;
use media_config::{Discovery, DrainSettings, NodeConfig, Role};

use crate::{LiveCluster, names};

/// The configuration of every node of `role`.
///
/// Origins have the same `origins` as edges: every node pulls what it lacks from the others.
/// The name is left empty (the host's name, which is the Pod's), the ports are the node's own defaults.
pub fn node_config(cluster: &LiveCluster, role: Role) -> NodeConfig {
    let spec = &cluster.spec;
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
            timeout_seconds: spec.nodes(role).drain_timeout_seconds,
            ..DrainSettings::default()
        },
        log: spec.logs.clone(),
        ..NodeConfig::default()
    }
}

/// DNS name of the headless Service that lists every origin, without the cluster's domain: that one is not always `cluster.local`.
fn origins_host(cluster: &LiveCluster) -> String {
    let namespace = cluster.namespace().unwrap_or_else(|| "default".to_owned());
    format!("{}.{namespace}.svc", names::headless_service(cluster))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LiveClusterSpec;

    #[test]
    fn every_default_is_a_configuration_that_a_node_accepts() {
        let mut cluster = LiveCluster::new("demo", LiveClusterSpec::default());
        cluster.metadata.namespace = Some("live".to_owned());
        for role in [Role::Origin, Role::Edge] {
            let config = node_config(&cluster, role);
            let read = media_config::parse(&media_config::render(&config).unwrap()).unwrap();
            assert_eq!(read, config);
            assert_eq!(
                config.origins.service.as_deref(),
                Some("demo-origin-headless.live.svc")
            );
        }
    }

    #[test]
    fn a_node_drains_as_long_as_its_role_says() {
        let mut cluster = LiveCluster::new("demo", LiveClusterSpec::default());
        cluster.spec.origins.nodes.drain_timeout_seconds = 3600;
        assert_eq!(
            node_config(&cluster, Role::Origin).drain.timeout_seconds,
            3600
        );
        assert_eq!(node_config(&cluster, Role::Edge).drain.timeout_seconds, 300);
    }
}
