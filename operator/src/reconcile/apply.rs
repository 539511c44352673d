//! From documents to objects: ownership guard, server-side apply, `/scale`, prune.

use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::{DynamicObject, Status};
use kube::{Api, Client, Resource, ResourceExt};
use livecluster_api::LiveCluster;
use serde_json::json;

use crate::desired::{Child, Desired, Kind};
use crate::k8s::client::{CallError, Calls, MANAGER, SCALE_MANAGER};
use crate::reconcile::apply_cache::Memory;
use crate::status::reconcile_error::{Cause, Problem};

/// An object as it is in the API.
#[derive(Clone, Debug)]
pub struct Live {
    /// What it is.
    pub kind: Kind,
    /// The object.
    pub object: DynamicObject,
}

/// Why a pass ends before its time.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A call failed in a way that may be different next time.
    #[error(transparent)]
    Call(#[from] CallError),
    /// An object belongs to a cluster of the same name that is gone: the garbage collector is about to take it.
    #[error("{kind:?} {name} is left over from a deleted cluster of the same name")]
    LeftOver {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// The namespace goes away, and everything with it.
    #[error("the namespace is being deleted")]
    NamespaceEnds,
}

/// What became of a document.
#[derive(Debug)]
pub enum Applied {
    /// The object is as it should be already; nothing was sent.
    Unchanged,
    /// It was sent; this is the object now.
    Written(Box<DynamicObject>),
    /// It cannot be: the spec or somebody else is in the way.
    Refused(Problem),
}

/// Whether an object may be touched.
enum Ownership {
    /// It is this cluster's.
    Ours,
    /// It is a deleted cluster's of the same name.
    LeftOver,
    /// It is somebody else's.
    Foreign(String),
}

/// Applies the documents of one cluster.
pub struct Applier<'a> {
    /// The way to the API.
    pub client: &'a Client,
    /// Limits and counts calls.
    pub calls: &'a Calls,
    /// What was applied before.
    pub memory: &'a Memory,
    /// The cluster.
    pub cluster: &'a LiveCluster,
}

impl Applier<'_> {
    /// Makes an object what `child` says. Nothing is sent when it is so already.
    ///
    /// # Guarantees
    /// An object of somebody else is never touched; fields of others in our objects stay.
    ///
    /// # Errors
    /// See [`ApplyError`]; what the API refuses for good is [`Applied::Refused`].
    pub async fn apply(&self, child: &Child, live: Option<&Live>) -> Result<Applied, ApplyError> {
        let api = self.api(child.kind);
        let name = child.name();
        // Not among the cluster's objects: it does not exist, or has not our labels.
        let found = match live {
            Some(live) => Some(live.object.clone()),
            None => {
                let kind = child.kind.resource().kind;
                self.calls
                    .call("get", &kind, name, api.get_opt(name))
                    .await?
            }
        };
        if let Some(object) = &found {
            match self.ownership(object) {
                Ownership::Ours => {}
                Ownership::LeftOver => {
                    return Err(ApplyError::LeftOver {
                        kind: child.kind,
                        name: name.to_owned(),
                    });
                }
                Ownership::Foreign(owner) => {
                    return Ok(Applied::Refused(conflict(child, &owner)));
                }
            }
            if self.memory.is_as_applied(self.cluster, child, object) {
                return Ok(Applied::Unchanged);
            }
        }
        self.send(&api, child).await
    }

    async fn send(&self, api: &Api<DynamicObject>, child: &Child) -> Result<Applied, ApplyError> {
        let kind = child.kind.resource().kind;
        let name = child.name();
        let params = PatchParams::apply(MANAGER).force().validation_strict();
        let patch = Patch::Apply(&child.document);
        let answer = self
            .calls
            .call("apply", &kind, name, api.patch(name, &params, &patch))
            .await;
        match answer {
            Ok(object) => {
                tracing::info!(kind, name, "applied");
                self.memory.applied(self.cluster, child, &object);
                Ok(Applied::Written(Box::new(object)))
            }
            Err(error) => Ok(Applied::Refused(refusal(error, &format!("{kind} {name}"))?)),
        }
    }

    /// Sets how many Pods a Deployment has: the only way in which the operator ever does.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub async fn scale(&self, name: &str, replicas: i32) -> Result<Scale, ApplyError> {
        let api = self.api(Kind::Deployment);
        let params = PatchParams {
            field_manager: Some(SCALE_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let call = api.patch_scale(name, &params, &patch);
        let scale = self.calls.call("scale", "Deployment", name, call).await?;
        tracing::info!(name, replicas, "scaled");
        Ok(scale)
    }

    /// Deletes objects that this cluster owns and no longer wants.
    ///
    /// # Guarantees
    /// Only what has this cluster as its controller, and only the very object that was looked at: the UID is a
    /// precondition.
    ///
    /// # Errors
    /// See [`ApplyError`]. What the operator may not delete is an error too: silence would hide the missing permission.
    pub async fn prune(&self, desired: &Desired, live: &[Live]) -> Result<(), ApplyError> {
        for found in live {
            let name = found.object.name_any();
            let is_wanted = desired.contains(found.kind, &name);
            if is_wanted
                || found.object.metadata.deletion_timestamp.is_some()
                || !self.is_owner(&found.object)
            {
                continue;
            }
            let params = DeleteParams::background().preconditions(Preconditions {
                uid: found.object.uid(),
                resource_version: None,
            });
            let kind = found.kind.resource().kind;
            let api = self.api(found.kind);
            let call = api.delete(&name, &params);
            match self.calls.call("delete", &kind, &name, call).await {
                Ok(_) => tracing::info!(kind, name, "deleted what is no longer wanted"),
                // Gone already, or another object has its name by now.
                Err(error) if is(&error, Status::is_not_found) => {}
                Err(error) if is(&error, Status::is_conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let namespace = self.cluster.namespace().unwrap_or_default();
        Api::namespaced_with(self.client.clone(), &namespace, &kind.resource())
    }

    fn is_owner(&self, object: &DynamicObject) -> bool {
        controller(object).is_some_and(|owner| Some(&owner.uid) == self.cluster.uid().as_ref())
    }

    fn ownership(&self, object: &DynamicObject) -> Ownership {
        let Some(owner) = controller(object) else {
            // Orphaned on purpose (`kubectl delete --cascade=orphan`) or by hand: ours if we applied it.
            return if is_applied_by_us(object) {
                Ownership::Ours
            } else {
                Ownership::Foreign("no LiveCluster".to_owned())
            };
        };
        if Some(&owner.uid) == self.cluster.uid().as_ref() {
            return Ownership::Ours;
        }
        let is_namesake =
            owner.kind == LiveCluster::kind(&()) && owner.name == self.cluster.name_any();
        if is_namesake && owner.api_version.starts_with("livecluster.dev/") {
            return Ownership::LeftOver;
        }
        Ownership::Foreign(format!("{} {}", owner.kind, owner.name))
    }
}

fn controller(object: &DynamicObject) -> Option<&OwnerReference> {
    object
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true))
}

fn is_applied_by_us(object: &DynamicObject) -> bool {
    object.managed_fields().iter().any(|entry| {
        entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some("Apply")
    })
}

fn conflict(child: &Child, owner: &str) -> Problem {
    let (kind, name) = (child.kind.resource().kind, child.name());
    Problem {
        cause: Cause::NameConflict,
        message: format!("{kind} {name} exists already and belongs to {owner}; it is left alone"),
    }
}

/// What the API refuses for good, as a problem; anything else stays an error.
fn refusal(error: CallError, what: &str) -> Result<Problem, ApplyError> {
    let Some(status) = error.status() else {
        return Err(error.into());
    };
    if error.is_namespace_end() {
        return Err(ApplyError::NamespaceEnds);
    }
    let cause = if status.is_forbidden() {
        Cause::Forbidden
    } else if status.is_invalid() || status.code == 400 {
        Cause::InvalidSpec
    } else {
        return Err(error.into());
    };
    Ok(Problem {
        cause,
        message: format!("{what}: {}", status.message),
    })
}

fn is(error: &CallError, test: impl Fn(&Status) -> bool) -> bool {
    error.status().is_some_and(test)
}
