//! The nodes of a role. How many there are is not said here: only `/scale` says it.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use livecluster_api::LiveCluster;
use livecluster_api::names;
use media_config::Role;

use super::config_map::short_hash;
use super::{Image, SpecError, pod};

/// Seconds that a new node must be ready before an old one is asked to leave.
const MIN_READY_SECONDS: i32 = 5;
/// Seconds without progress after which a rollout counts as stuck.
const PROGRESS_DEADLINE_SECONDS: i32 = 600;
/// Old ReplicaSets that are kept for `kubectl rollout undo`.
const REVISIONS: i32 = 3;

/// The Deployment of a role.
///
/// A node is replaced only after its successor is ready: `maxUnavailable` is 0. The selector is frozen.
pub(super) fn deployment(
    cluster: &LiveCluster,
    role: Role,
    image: &Image,
    config_hash: &str,
) -> Result<Deployment, SpecError> {
    let template = pod::template(cluster, role, &image.name, config_hash)?;
    let mut annotations = BTreeMap::from([(
        names::TEMPLATE_HASH.to_owned(),
        short_hash(&serde_json::to_vec(&template)?),
    )]);
    if image.is_default {
        annotations.insert(names::DEFAULT_IMAGE.to_owned(), image.name.clone());
    }
    let mut metadata = names::metadata(cluster, names::deployment(cluster, role), Some(role));
    metadata.annotations = Some(annotations);
    Ok(Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: None,
            selector: names::label_selector(names::selector(cluster, role)),
            template,
            strategy: Some(strategy(role)),
            min_ready_seconds: Some(MIN_READY_SECONDS),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECONDS),
            revision_history_limit: Some(REVISIONS),
            paused: None,
        }),
        status: None,
    })
}

/// Origins one by one, as publishers have to move; edges a quarter at a time.
fn strategy(role: Role) -> DeploymentStrategy {
    let surge = match role {
        Role::Origin => IntOrString::Int(1),
        Role::Edge => IntOrString::String("25%".to_owned()),
    };
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(surge),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    }
}
