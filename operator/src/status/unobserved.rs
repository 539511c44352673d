//! The status of a cluster whose objects the operator fails to read: what was observed before, and the failure. A pure function.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use livecluster_api::conditions::{DEGRADED, PROGRESSING, READY};
use livecluster_api::{LiveCluster, LiveClusterStatus};

use super::condition_status::ConditionStatus;
use super::conditions::set_condition;
use super::progress::RECONCILE_FAILED;

/// Returns the former status with the failure in `Degraded` and `Progressing`, and in `Ready` if that was never known: the Pods go on
/// without the operator.
pub(crate) fn unobserved_status(
    cluster: &LiveCluster,
    failure: &str,
    now: &Time,
) -> LiveClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    let is_known = status.conditions.iter().any(|it| it.type_ == READY);
    let kinds = [
        (!is_known).then_some((READY, false)),
        Some((DEGRADED, true)),
        Some((PROGRESSING, false)),
    ];
    for (kind, is_true) in kinds.into_iter().flatten() {
        let new = ConditionStatus::new(is_true, RECONCILE_FAILED, failure);
        let conditions = &mut status.conditions;
        set_condition(conditions, status.observed_generation, kind, new, now);
    }
    status
}
