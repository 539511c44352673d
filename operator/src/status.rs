//! What the operator says about a cluster: a pure function of what there is.

mod conditions;
mod endpoints;
pub mod reconcile_error;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use livecluster_api::names;
use livecluster_api::{LiveCluster, LiveClusterStatus, RoleStatus, StreamsStatus};
use media_config::Role;

use crate::observe::observed::Observed;
use crate::reconcile::rollout::Hold;
use crate::status::reconcile_error::Problem;

/// What a status is made of.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The image that the nodes are to have; unknown while the spec is invalid.
    pub image: Option<String>,
    /// What there is.
    pub observed: Observed,
    /// What went wrong.
    pub problems: Vec<Problem>,
    /// The roles that keep their template for now.
    pub holds: Vec<(Role, Hold)>,
    /// What the spec names and is not there.
    pub references: References,
    /// What the nodes say.
    pub streams: Option<StreamsStatus>,
}

/// Whether what the spec names is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// What is not there.
    pub missing: Vec<MissingReference>,
    /// Whether Secrets were left out, as the operator may not read them.
    pub secrets_unchecked: bool,
}

/// Something that the spec names and that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingReference {
    /// What it would be.
    pub kind: ReferenceKind,
    /// Its name.
    pub name: String,
    /// The field that names it.
    pub field: String,
}

/// What a spec may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceKind {
    /// A Secret with the credentials of a registry.
    Secret,
    /// A ServiceAccount for the nodes.
    ServiceAccount,
}

impl ReferenceKind {
    /// As Kubernetes calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ServiceAccount => "ServiceAccount",
        }
    }

    /// The reason of a condition when it is missing.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Secret => "SecretNotFound",
            Self::ServiceAccount => "ServiceAccountNotFound",
        }
    }
}

/// The status of a cluster. It equals `cluster.status` when there is nothing new to say: `now` only becomes the
/// `lastTransitionTime` of conditions that flip.
pub fn status(cluster: &LiveCluster, facts: &Facts, now: &Time) -> LiveClusterStatus {
    let old = cluster.status.as_ref();
    LiveClusterStatus {
        observed_generation: cluster.metadata.generation,
        image: facts
            .image
            .clone()
            .or_else(|| old.and_then(|old| old.image.clone())),
        origins: role_status(cluster, &facts.observed, Role::Origin),
        edges: role_status(cluster, &facts.observed, Role::Edge),
        // An operator that has just started has not asked the nodes yet.
        streams: facts
            .streams
            .clone()
            .or_else(|| old.and_then(|old| old.streams.clone())),
        endpoints: endpoints::endpoints(cluster, &facts.observed),
        conditions: conditions::conditions(cluster, facts, now),
    }
}

fn role_status(cluster: &LiveCluster, observed: &Observed, role: Role) -> RoleStatus {
    let nodes = observed.nodes(cluster, role);
    RoleStatus {
        replicas: nodes.replicas,
        ready_replicas: nodes.ready,
        updated_replicas: nodes.updated,
        terminating_replicas: nodes.terminating,
        selector: Some(names::selector_text(&names::selector(cluster, role))),
    }
}

#[cfg(test)]
mod tests;
