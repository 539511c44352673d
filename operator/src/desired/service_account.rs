//! The ServiceAccount of the Pods: it has no permissions, and its only token is for other Pods of the cluster.

use k8s_openapi::api::core::v1::ServiceAccount;
use livecluster_api::LiveCluster;
use livecluster_api::names;
use media_config::Role;

/// Returns the ServiceAccount of the Pods, unless the spec names one for both roles.
pub(super) fn service_account(cluster: &LiveCluster) -> Option<ServiceAccount> {
    let is_ours = |role| cluster.spec.pods(role).service_account_name.is_none();
    if !is_ours(Role::Origin) && !is_ours(Role::Edge) {
        return None;
    }
    Some(ServiceAccount {
        metadata: names::metadata(cluster, names::service_account(cluster), None),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}
