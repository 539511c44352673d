//! The input of a status.

use std::collections::HashMap;

use k8s_openapi::jiff::Timestamp;
use livecluster_api::{AutoscalingStatus, LiveCluster, StreamsStatus};
use media_config::Role;

use crate::observe::observed::Observed;
use crate::observe::references::References;
use crate::scale::autoscaler::ScalingState;
use crate::scale::events::EventReport;

/// The input of a status.
#[derive(Clone, Debug, Default)]
pub struct StatusInput {
    /// The image that the Pods should run; unknown while the spec is invalid.
    pub image: Option<String>,
    /// Whether the cluster is being deleted. It exists until its objects are deleted, if the deletion is a foreground one.
    pub is_deleting: bool,
    /// The observed state.
    pub observed: Observed,
    /// The autoscaling of the edges.
    pub autoscaling: Option<AutoscalingReport>,
    /// The errors of the reconciliation.
    pub errors: Vec<ReconcileError>,
    /// Messages about the objects that other clients change again and again.
    pub edited: Vec<String>,
    /// Why reconciliations fail repeatedly. They are retried.
    pub failure: Option<String>,
    /// The roles whose rollout is on hold.
    pub holds: Vec<(Role, RolloutHold)>,
    /// The references of the spec that cannot be resolved.
    pub references: References,
    /// The streams that the Pods report.
    pub streams: Option<StreamsStatus>,
    /// The viewers of Pods that drain, by the UID of the Pod; `None` before the first scrape.
    pub viewers: Option<HashMap<String, i64>>,
}

impl StatusInput {
    /// Returns the generation of the spec that the status is about: not one that could not be carried out.
    pub(super) fn observed_generation(&self, cluster: &LiveCluster) -> Option<i64> {
        let old = cluster.status.as_ref();
        match self.failure {
            Some(_) => old.and_then(|old| old.observed_generation),
            None => cluster.metadata.generation,
        }
    }

    /// Returns the wanted number of Pods of a role.
    pub fn wanted(&self, cluster: &LiveCluster, role: Role) -> u16 {
        match (role, &self.autoscaling) {
            (Role::Edge, Some(report)) => report.status.desired_replicas,
            _ => cluster.spec.replicas(role),
        }
    }
}

/// The autoscaling of the edges.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoscalingReport {
    /// The wanted edges.
    pub status: AutoscalingStatus,
    /// Whether their number follows the load.
    pub state: ScalingState,
    /// The announced event that matters most.
    pub event: Option<EventReport>,
}

/// Why a role keeps its current Pod template for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutHold {
    /// More Pods are terminating than are wanted: another rollout would add a further generation of them.
    Draining {
        /// Terminating Pods within their grace period.
        terminating: i32,
        /// When few enough of them are left, at the latest.
        until: Timestamp,
    },
    /// The operator has changed, and other clusters roll first.
    Queued,
}

/// An error that keeps a cluster from matching its spec until the spec or something outside of the cluster changes. It is
/// shown as a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconcileError {
    /// The reason for the condition.
    pub reason: Reason,
    /// The details.
    pub message: String,
}

/// The reasons of reconcile errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The spec cannot be turned into objects, or the API server rejects one of them.
    InvalidSpec,
    /// An object with a name that the cluster needs has another owner.
    NameConflict,
    /// An object of a deleted cluster of the same name still exists.
    LeftOver,
    /// The operator lacks a permission.
    Forbidden,
    /// A quota, a webhook or a policy refuses an object, with this reason.
    Refused(&'static str),
}

impl Reason {
    /// Returns the reason of the condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::NameConflict => "NameConflict",
            Self::LeftOver => "LeftOver",
            Self::Forbidden => "Forbidden",
            Self::Refused(reason) => reason,
        }
    }
}
