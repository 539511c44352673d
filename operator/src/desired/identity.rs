//! Node identity: each Pod has a ServiceAccount token whose audience is its LiveCluster, and the API server's public keys to
//! verify those of others. The kubelet renews both under a running Pod. No Pod has a right in the API.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapProjection, KeyToPath, ProjectedVolumeSource,
    ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use kube::ResourceExt;
use livecluster_api::names::{self, ROLES};
use livecluster_api::{ClusterName, LiveCluster};
use media_config::{IdentitySettings, Role, ServiceAccountSettings};

use super::defaults::Defaults;
use super::mounts;

/// Name of the volume.
const VOLUME: &str = "identity";
/// Mount path of the token and the keys.
const DIRECTORY: &str = "/etc/media-node-identity";
/// File of the Pod's token.
const TOKEN: &str = "token";
/// File of the keys, and their key in the ConfigMap.
pub const KEYS: &str = "jwks.json";
/// Seconds for which a token is valid. It is renewed after 80 % of them.
pub const TOKEN_SECONDS: i64 = 3600;

/// Returns the ConfigMap with the API server's public keys. It belongs to no rollout: keys change under running Pods.
pub(super) fn config_map(cluster: &LiveCluster, keys: &str) -> ConfigMap {
    ConfigMap {
        metadata: names::metadata(cluster, names::identity(cluster), None),
        data: Some(BTreeMap::from([(KEYS.to_owned(), keys.to_owned())])),
        ..ConfigMap::default()
    }
}

/// Returns the volume of a Pod with its token and the keys.
pub(super) fn volume(cluster: &LiveCluster) -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some(audience(&ClusterName::of(cluster))),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: TOKEN.to_owned(),
    };
    let keys = ConfigMapProjection {
        name: names::identity(cluster),
        items: Some(vec![KeyToPath {
            key: KEYS.to_owned(),
            path: KEYS.to_owned(),
            mode: None,
        }]),
        optional: None,
    };
    Volume {
        name: VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: None,
            sources: Some(vec![
                VolumeProjection {
                    service_account_token: Some(token),
                    ..VolumeProjection::default()
                },
                VolumeProjection {
                    config_map: Some(keys),
                    ..VolumeProjection::default()
                },
            ]),
        }),
        ..Volume::default()
    }
}

/// Returns where the media node's container has them.
pub(super) fn volume_mount() -> VolumeMount {
    mounts::read_only(VOLUME, DIRECTORY)
}

/// Returns what a media node needs to know about its own token and those of others.
pub(super) fn settings(cluster: &LiveCluster, defaults: &Defaults) -> IdentitySettings {
    let namespace = cluster.namespace().unwrap_or_default();
    let subject = |role| subject(&namespace, &service_account(cluster, role));
    let mut nodes: Vec<String> = ROLES.into_iter().map(subject).collect();
    nodes.dedup();
    let operator = defaults
        .operator_namespace
        .as_deref()
        .zip(defaults.operator_account.as_deref());
    IdentitySettings {
        service_account: Some(ServiceAccountSettings {
            token_file: Path::new(DIRECTORY).join(TOKEN),
            jwks_file: Path::new(DIRECTORY).join(KEYS),
            audience: audience(&ClusterName::of(cluster)),
            nodes,
            operators: operator
                .map(|(namespace, name)| self::subject(namespace, name))
                .into_iter()
                .collect(),
        }),
        ..IdentitySettings::default()
    }
}

/// Returns the name of the ServiceAccount of a role's Pods.
pub(super) fn service_account(cluster: &LiveCluster, role: Role) -> String {
    let own = &cluster.spec.pods(role).service_account_name;
    own.clone()
        .unwrap_or_else(|| names::service_account(cluster))
}

/// Returns the audience of tokens for the media nodes of one LiveCluster.
pub fn audience(cluster: &ClusterName) -> String {
    format!("livecluster.dev/{cluster}")
}

fn subject(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}
