//! Applies the objects of a cluster: ownership guard, server-side apply, `/scale`.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::{DynamicObject, Status};
use kube::{Api, Client, ResourceExt};
use livecluster_api::LiveCluster;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::apply_cache::{ApplyCache, ChildState};
use super::ownership::{FIELD_MANAGER, Ownership, ownership};
use super::service_ports::{with_node_ports, without_colliding_ports};
use crate::desired::child::{Child, ChildKind};
use crate::k8s::call_error::CallError;
use crate::k8s::refusals::refused_by;
use crate::observe::live_object::LiveObject;
use crate::status::input::{Reason, ReconcileError};

/// The field manager of `spec.replicas`, which is set through `/scale` only, and of the metadata by which edges retire.
pub(super) const SCALE_FIELD_MANAGER: &str = "livecluster-operator-scale";

/// Time after which a reconciliation is given up and retried. Several operators rely on it ([`super::takeover`]).
pub(super) const RECONCILIATION_LIMIT: Duration = Duration::from_secs(60);

/// A reconciliation that ends early and is retried.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The namespace is being deleted.
    #[error("the namespace is being deleted")]
    NamespaceTerminating,
    /// It took too long.
    #[error("the reconciliation is not completed within {} seconds", RECONCILIATION_LIMIT.as_secs())]
    TimedOut,
}

impl ApplyError {
    /// Returns whether the API server has answered about one object, such as that its webhook fails. One that is overloaded gets no
    /// further request.
    pub(super) fn is_about_one_object(&self) -> bool {
        const OVERLOADED: [u16; 3] = [429, 503, 504];
        match self {
            Self::Call(call) => call
                .status()
                .is_some_and(|status| !OVERLOADED.contains(&status.code)),
            Self::NamespaceTerminating | Self::TimedOut => false,
        }
    }
}

/// The result of an apply.
#[derive(Debug)]
pub enum Applied {
    /// The object matches the document already, or was restored often lately; no request was sent.
    Unchanged,
    /// The object after the request.
    Changed(Box<DynamicObject>),
    /// The object belongs to another owner or a deleted cluster, or the API server rejects the document.
    Rejected(ReconcileError),
}

/// Applies the objects of one cluster.
pub struct Applier<'a> {
    /// The leader's client.
    pub client: &'a Client,
    /// The documents that were applied before.
    pub cache: &'a ApplyCache,
    /// The cluster.
    pub cluster: &'a LiveCluster,
}

impl Applier<'_> {
    /// Applies `child`. No request is sent when the object matches it already.
    ///
    /// # Guarantees
    /// An object with another owner is never changed; fields of other managers in our objects stay.
    ///
    /// # Errors
    /// See [`ApplyError`]. A permanent rejection is [`Applied::Rejected`].
    pub async fn apply(
        &self,
        child: &Child,
        live: Option<&LiveObject>,
    ) -> Result<Applied, ApplyError> {
        let api = api(self.client, self.cluster, child.kind);
        let name = child.name();
        // An object that is not in the list does not exist, or lacks our labels.
        let found = match live {
            Some(live) => Some(live.object.clone()),
            None => {
                let kind = child.kind.resource().kind;
                api.get_opt(name)
                    .await
                    .map_err(CallError::on("get", &kind, name))?
            }
        };
        if let Some(object) = &found {
            match ownership(object, self.cluster) {
                Ownership::Ours => {}
                Ownership::LeftOver => return Ok(Applied::Rejected(left_over(child, object))),
                Ownership::Foreign(owner) => {
                    return Ok(Applied::Rejected(conflict(child, owner.as_deref())));
                }
            }
        }
        let (found, now) = (found.as_ref(), Instant::now());
        let state = self.cache.state(self.cluster, child, found, now);
        if matches!(state, ChildState::Unchanged | ChildState::EditedRepeatedly) {
            return Ok(Applied::Unchanged);
        }
        let mut applied = send(&api, child, &child.document).await;
        if is_invalid(&applied)
            && let Some(live) = found
            && let Some(patch) = without_colliding_ports(live, &child.document)
        {
            self.remove_ports(&api, child, patch).await?;
            applied = send(&api, child, &with_node_ports(live, &child.document)).await;
            if is_invalid(&applied) {
                // Another Service has taken a node port meanwhile.
                applied = send(&api, child, &child.document).await;
            }
        }
        let kind = child.kind.resource().kind;
        match applied {
            Ok(object) => {
                tracing::info!(kind, name, "applied");
                if state == ChildState::Edited {
                    self.cache.note_restored(self.cluster, child, found, now);
                }
                self.cache.insert(self.cluster, child, &object);
                Ok(Applied::Changed(Box::new(object)))
            }
            Err(error) => Ok(Applied::Rejected(rejection(
                error,
                &format!("{kind} {name}"),
            )?)),
        }
    }

    /// Removes the ports of a Service that keep ours from being applied.
    async fn remove_ports(
        &self,
        api: &Api<DynamicObject>,
        child: &Child,
        patch: Value,
    ) -> Result<(), CallError> {
        let name = child.name();
        let params = PatchParams {
            field_manager: Some(SCALE_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        api.patch(name, &params, &Patch::Strategic(patch))
            .await
            .map_err(CallError::on("patch", "Service", name))?;
        tracing::info!(name, "ports that were changed by hand are removed");
        Ok(())
    }

    /// Sets the replicas of a Deployment. The operator sets them in no other way.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn scale(&self, name: &str, replicas: i32) -> Result<(), CallError> {
        let params = PatchParams {
            field_manager: Some(SCALE_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        api(self.client, self.cluster, ChildKind::Deployment)
            .patch_scale(name, &params, &patch)
            .await
            .map_err(CallError::on("scale", "Deployment", name))?;
        tracing::info!(name, replicas, "scaled");
        Ok(())
    }
}

fn is_invalid(applied: &Result<DynamicObject, CallError>) -> bool {
    let error = applied.as_ref().err();
    error.is_some_and(|error| error.status().is_some_and(Status::is_invalid))
}

async fn send(
    api: &Api<DynamicObject>,
    child: &Child,
    document: &Value,
) -> Result<DynamicObject, CallError> {
    let kind = child.kind.resource().kind;
    let name = child.name();
    let params = PatchParams::apply(FIELD_MANAGER)
        .force()
        .validation_strict();
    api.patch(name, &params, &Patch::Apply(document))
        .await
        .map_err(CallError::on("apply", &kind, name))
}

/// Returns the API of a kind in the cluster's namespace.
pub(super) fn api(client: &Client, cluster: &LiveCluster, kind: ChildKind) -> Api<DynamicObject> {
    let namespace = cluster.namespace().unwrap_or_default();
    Api::namespaced_with(client.clone(), &namespace, &kind.resource())
}

fn conflict(child: &Child, owner: Option<&str>) -> ReconcileError {
    let (kind, name) = (child.kind.resource().kind, child.name());
    let owner = owner.map_or_else(
        || "no LiveCluster owns it".to_owned(),
        |owner| format!("{owner} owns it"),
    );
    ReconcileError {
        reason: Reason::NameConflict,
        message: format!("{kind} {name} already exists and {owner}; it is not changed"),
    }
}

/// Returns the error for an object that the garbage collector has not yet deleted.
fn left_over(child: &Child, object: &DynamicObject) -> ReconcileError {
    let (kind, name) = (child.kind.resource().kind, child.name());
    let mut message =
        format!("{kind} {name} of a deleted LiveCluster with the same name still exists");
    if let Some(finalizer) = object.finalizers().first() {
        message = format!("{message}; its finalizer {finalizer} keeps it");
    }
    ReconcileError {
        reason: Reason::LeftOver,
        message,
    }
}

/// Returns a permanent rejection by the API server. Any other error stays one.
fn rejection(error: CallError, object: &str) -> Result<ReconcileError, ApplyError> {
    let Some(status) = error.status() else {
        return Err(error.into());
    };
    if error.is_namespace_terminating() {
        return Err(ApplyError::NamespaceTerminating);
    }
    let reason = if let Some(reason) = refused_by(&status.message) {
        Reason::Refused(reason)
    } else if status.is_forbidden() {
        Reason::Forbidden
    } else if status.is_invalid() || status.code == 400 {
        Reason::InvalidSpec
    } else {
        return Err(error.into());
    };
    Ok(ReconcileError {
        reason,
        message: format!("{object}: {}", status.message),
    })
}
