//! The Deployment of a role. It has no `replicas`: they are set through `/scale` only.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use livecluster_api::LiveCluster;
use livecluster_api::names;
use media_config::Role;

use super::config_map::short_hash;
use super::defaults::PodImage;
use super::pod;
use super::spec_error::SpecError;

/// Seconds that a new Pod must be ready before an old one is terminated.
const MIN_READY_SECONDS: i32 = 5;
/// Seconds without progress after which a rollout is stuck.
const PROGRESS_DEADLINE_SECONDS: i32 = 600;
/// Old ReplicaSets that are retained for `kubectl rollout undo`.
const REVISIONS: i32 = 3;

/// Returns the Deployment of a role.
///
/// The selector never changes: Kubernetes does not allow it.
pub(super) fn deployment(
    cluster: &LiveCluster,
    role: Role,
    image: &PodImage,
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
            strategy: Some(strategy(cluster, role)),
            min_ready_seconds: Some(MIN_READY_SECONDS),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECONDS),
            revision_history_limit: Some(REVISIONS),
            paused: None,
        }),
        status: None,
    })
}

fn strategy(cluster: &LiveCluster, role: Role) -> DeploymentStrategy {
    let update = &cluster.spec.pods(role).rolling_update;
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(update.max_surge(role).into()),
            max_unavailable: Some(update.max_unavailable().into()),
        }),
    }
}
