//! The nodes' configuration: one ConfigMap for each role, so that a role's file changes only when that role rolls.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::ConfigMap;
use livecluster_api::LiveCluster;
use livecluster_api::names;
use livecluster_api::node_config;
use media_config::Role;
use sha2::{Digest, Sha256};

use super::SpecError;

/// The file's name in the ConfigMap and in the Pod.
pub(super) const FILE: &str = "config.yaml";

/// The ConfigMap of one role, and the hash of what a running node does not take over by itself.
///
/// A node reads its file at its start and never again, so the hash is over the whole file. The file holds only what
/// differs from the node's defaults: a new setting that nobody uses restarts no node, and an older image does not
/// stumble over it.
pub(super) fn config_map(
    cluster: &LiveCluster,
    role: Role,
) -> Result<(ConfigMap, String), SpecError> {
    let file = media_config::render_changes(&node_config(cluster, role))?;
    let hash = short_hash(file.as_bytes());
    let config = ConfigMap {
        metadata: names::metadata(cluster, names::config_map(cluster, role), Some(role)),
        data: Some(BTreeMap::from([(FILE.to_owned(), file)])),
        ..ConfigMap::default()
    };
    Ok((config, hash))
}

/// The first 64 bits of a SHA-256, in hexadecimal: enough to tell two settings apart.
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
