//! The Pods that may be unavailable during voluntary disruptions.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use livecluster_api::LiveCluster;
use livecluster_api::names;
use media_config::Role;

/// Returns the PodDisruptionBudget of a role, unless it is disabled.
///
/// `maxUnavailable`, never `minAvailable`: a single Pod must not block the drain of its node. For the same reason, a Pod
/// that is not ready may always be evicted.
pub(super) fn disruption_budget(cluster: &LiveCluster, role: Role) -> Option<PodDisruptionBudget> {
    let settings = &cluster.spec.pods(role).pod_disruption_budget;
    settings.enabled.then(|| PodDisruptionBudget {
        metadata: names::metadata(cluster, names::deployment(cluster, role), Some(role)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(settings.max_unavailable.into())),
            selector: Some(names::label_selector(names::selector(cluster, role))),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
