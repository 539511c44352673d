//! Live settings: log level, limits and metrics of streams, in one mutable ConfigMap for all Pods. The kubelet updates its file
//! under a running Pod, and the media node reads it again. A change of them is no rollout.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, EnvVar, Volume, VolumeMount};
use livecluster_api::names;
use livecluster_api::node_config;
use livecluster_api::{ClusterName, LiveCluster};
use media_config::Role;

use super::mounts;
use super::spec_error::SpecError;

/// Mount path of the file.
const DIRECTORY: &str = "/etc/media-node-live";
/// The file's name in the ConfigMap and in the Pod.
const FILE: &str = "live.yaml";

/// Returns the ConfigMap with the live settings. They are the same for both roles.
pub(super) fn config_map(cluster: &LiveCluster) -> Result<ConfigMap, SpecError> {
    let config = node_config(&ClusterName::of(cluster), &cluster.spec, Role::Origin);
    let file = media_config::render_live_changes(&config.live_settings())?;
    Ok(ConfigMap {
        metadata: names::metadata(cluster, names::live_config_map(cluster), None),
        data: Some(BTreeMap::from([(FILE.to_owned(), file)])),
        ..ConfigMap::default()
    })
}

/// Returns the volume of a Pod with the file.
pub(super) fn volume(cluster: &LiveCluster) -> Volume {
    mounts::config_map(names::LIVE_VOLUME, names::live_config_map(cluster))
}

/// Returns where the media node's container has the file: a folder, as the kubelet does not update a single file.
pub(super) fn volume_mount() -> VolumeMount {
    mounts::read_only(names::LIVE_VOLUME, DIRECTORY)
}

/// Returns the variable with the path of the file. An older image ignores a variable, and would not start with an option that
/// it does not know.
pub(super) fn environment() -> EnvVar {
    EnvVar {
        name: "MEDIA_NODE_LIVE_CONFIG".to_owned(),
        value: Some(format!("{DIRECTORY}/{FILE}")),
        value_from: None,
    }
}
