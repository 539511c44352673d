//! The configuration of the media nodes: one immutable ConfigMap for each role and content. A Pod keeps its own while others
//! roll, and a container that restarts meanwhile reads the file that it had before. The settings that change under running Pods
//! are in a ConfigMap of their own ([`live_settings`](super::live_settings)).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::ConfigMap;
use livecluster_api::names;
use livecluster_api::node_config;
use livecluster_api::{ClusterName, LiveCluster};
use media_config::{LiveSettings, Role};
use sha2::{Digest, Sha256};

use super::defaults::Defaults;
use super::identity;
use super::spec_error::SpecError;

/// The file's name in the ConfigMap and in the Pod.
pub(super) const FILE: &str = "config.yaml";

/// Returns the ConfigMap of a role, and the hash of its content.
///
/// A media node reads this file only at its start, so the hash covers all of it. The file contains only what differs
/// from the defaults: a new setting that is not used restarts no Pod, and an older image accepts the file.
pub(super) fn config_map(
    cluster: &LiveCluster,
    defaults: &Defaults,
    role: Role,
) -> Result<(ConfigMap, String), SpecError> {
    let mut config = node_config(&ClusterName::of(cluster), &cluster.spec, role);
    config.identity = identity::settings(cluster, defaults);
    config.set_live_settings(LiveSettings::default());
    let file = media_config::render_changes(&config)?;
    let hash = short_hash(file.as_bytes());
    let config = ConfigMap {
        immutable: Some(true),
        metadata: names::metadata(cluster, names::config_map(cluster, role, &hash), Some(role)),
        data: Some(BTreeMap::from([(FILE.to_owned(), file)])),
        ..ConfigMap::default()
    };
    Ok((config, hash))
}

/// Returns the first 64 bits of a SHA-256 in hexadecimal: enough to distinguish two configurations.
pub(super) fn short_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .take(8)
        .fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
