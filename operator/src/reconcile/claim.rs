//! Which operator reconciles a cluster: of several whose namespaces overlap, exactly one.
//!
//! An operator claims a cluster in its status, by the name of its Lease. The claim is a compare-and-swap on the version that was
//! read, so of two operators one wins. It holds while the Lease is renewed, and shows that its operator watches the namespace
//! ([`super::owner_leases`]): an operator stops its own writes before its Lease expires, so they never overlap with those of the one
//! that takes over. An operator whose Lease may not be read is asked instead ([`super::takeover`]).

use std::collections::HashMap;

use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt};
use livecluster_api::{ClusterName, LiveCluster, OperatorName};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use super::own_writes::OwnWrites;
use super::owner_leases::{OwnerLeases, OwnerState};
use super::takeover::{Questions, TakeoverStep};
use crate::k8s::call_error::CallError;

/// The field manager of the claim: the rest of the status is applied under another name.
const CLAIM_FIELD_MANAGER: &str = "livecluster-operator-claim";
/// Field of the status: the operator that asks whether the one in `operator` still works.
const TAKEOVER: &str = "takeover";

/// What distinguishes an operator from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorIdentity {
    /// Its Lease.
    pub name: OperatorName,
    /// The class of the clusters that it reconciles; the empty one is that of clusters without `spec.operatorClass`.
    pub class: String,
}

/// The operator that a cluster belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// This operator's.
    Ours {
        /// The operator that had it until now, if it was another one.
        former: Option<OperatorName>,
    },
    /// Another operator's.
    Foreign {
        /// The other operator.
        owner: OperatorName,
        /// Whether it was another one, or none, at the last check.
        is_new: bool,
    },
    /// It is of another class.
    OtherClass,
}

/// The claims of one operator.
#[derive(Debug)]
pub(super) struct ClusterClaims {
    pub(super) identity: OperatorIdentity,
    leases: OwnerLeases,
    foreign: Mutex<HashMap<ClusterName, OperatorName>>,
    questions: Questions,
}

impl ClusterClaims {
    pub(super) fn new(identity: OperatorIdentity) -> Self {
        Self {
            identity,
            leases: OwnerLeases::default(),
            foreign: Mutex::default(),
            questions: Questions::default(),
        }
    }

    /// Claims a cluster that no living operator has, and notes the claim in `object`. Releases one whose class has become another.
    /// Answers an operator that asks whether this one still works.
    ///
    /// # Errors
    /// See [`CallError`]; a conflict when the cluster has changed since it was read.
    pub(super) async fn claim(
        &self,
        client: &Client,
        own_writes: &OwnWrites,
        object: &mut DynamicObject,
    ) -> Result<Claim, CallError> {
        let write = async |object: &mut DynamicObject, operator: Option<&OperatorName>| {
            write(client, own_writes, object, operator, None).await
        };
        let owner = operator(object, "operator");
        let class = object.data["spec"]["operatorClass"].as_str().unwrap_or("");
        if class != self.identity.class {
            if owner.is_some_and(|owner| owner == self.identity.name) {
                // The operator of that class would wait as long as this one's Lease is renewed.
                write(object, None).await?;
            }
            return Ok(Claim::OtherClass);
        }
        let name = ClusterName::of(object);
        if let Some(owner) = owner.clone() {
            if owner == self.identity.name {
                if operator(object, TAKEOVER).is_some() {
                    write(object, Some(&self.identity.name)).await?;
                }
                self.forget(&name);
                return Ok(Claim::Ours { former: None });
            }
            if self.is_held(client, own_writes, object, &owner).await? {
                let before = self.foreign.lock().insert(name, owner.clone());
                let is_new = before.as_ref() != Some(&owner);
                return Ok(Claim::Foreign { owner, is_new });
            }
        }
        self.forget(&name);
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(Claim::Ours { former: None });
        }
        write(object, Some(&self.identity.name)).await?;
        Ok(Claim::Ours { former: owner })
    }

    /// Drops the state of a cluster.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.foreign.lock().remove(cluster);
        self.questions.forget(cluster);
    }

    /// Returns whether another operator works and watches the namespace, as far as this one knows. Asks it when its Lease may not be
    /// read.
    async fn is_held(
        &self,
        client: &Client,
        own_writes: &OwnWrites,
        object: &mut DynamicObject,
        owner: &OperatorName,
    ) -> Result<bool, CallError> {
        let name = ClusterName::of(object);
        match self.leases.state(client, owner, &name.namespace).await? {
            OwnerState::Active => return Ok(true),
            OwnerState::Stopped => return Ok(false),
            OwnerState::Unknown => {}
        }
        let own = &self.identity.name;
        let is_open = operator(object, TAKEOVER).is_some_and(|asker| asker == *own);
        let step = self.questions.step(&name, owner, is_open, Instant::now());
        if step == TakeoverStep::Ask {
            let asked = write(client, own_writes, object, Some(owner), Some(own)).await;
            asked.inspect_err(|_| self.questions.forget(&name))?;
        }
        Ok(step != TakeoverStep::TakeOver)
    }

    /// Returns the clusters of other operators that have stopped, or do not watch their namespaces any more.
    pub(super) async fn abandoned(&self, client: &Client) -> Vec<ClusterName> {
        let foreign = self.foreign.lock().clone();
        let mut abandoned = Vec::new();
        for (cluster, owner) in foreign {
            if !self.leases.is_readable(&owner) {
                continue;
            }
            let state = self.leases.state(client, &owner, &cluster.namespace).await;
            match state {
                Ok(OwnerState::Stopped) => abandoned.push(cluster),
                Ok(OwnerState::Active | OwnerState::Unknown) => {}
                Err(error) => tracing::debug!(%owner, %error, "failed to read a Lease"),
            }
        }
        abandoned
    }
}

/// Returns an operator in a field of the status.
fn operator(object: &DynamicObject, field: &str) -> Option<OperatorName> {
    serde_json::from_value(object.data["status"][field].clone()).ok()
}

/// Writes the operator of a cluster, and the one that asks for it, into the status, and into `object`.
async fn write(
    client: &Client,
    own_writes: &OwnWrites,
    object: &mut DynamicObject,
    operator: Option<&OperatorName>,
    takeover: Option<&OperatorName>,
) -> Result<(), CallError> {
    let name = object.name_any();
    let namespace = object.namespace().unwrap_or_default();
    let resource = ApiResource::erase::<LiveCluster>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let status = json!({"operator": operator, (TAKEOVER): takeover});
    let patch = Patch::Merge(json!({
        // The API server answers 409 if another operator was faster.
        "metadata": {"resourceVersion": object.resource_version()},
        "status": status
    }));
    let params = PatchParams {
        field_manager: Some(CLAIM_FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let written = api
        .patch_status(&name, &params, &patch)
        .await
        .map_err(CallError::on("claim", "LiveCluster", &name))?;
    own_writes.insert(
        &ClusterName::of(object),
        &object.metadata,
        &written.metadata,
    );
    object.metadata.resource_version = written.metadata.resource_version;
    if !object.data["status"].is_object() {
        object.data["status"] = json!({});
    }
    for field in ["operator", TAKEOVER] {
        object.data["status"][field] = status[field].clone();
    }
    Ok(())
}

/// Returns the message about a cluster of another operator.
pub(super) fn message(owner: &OperatorName, own: &OperatorName) -> String {
    format!(
        "the operator {owner} reconciles this LiveCluster, and the operator {own} leaves it alone; give each its own \
         spec.operatorClass or watchNamespaces"
    )
}

/// Returns the message about a cluster that was another operator's until now.
pub(super) fn takeover_message(former: &OperatorName, own: &OperatorName) -> String {
    format!(
        "the operator {own} reconciles this LiveCluster now: the operator {former} has stopped, or watches other namespaces"
    )
}
