//! Which operator reconciles a cluster: of several whose namespaces overlap, exactly one.
//!
//! An operator claims a cluster in its status, by the name of its Lease. The claim is a compare-and-swap on the version that was
//! read, so of two operators one wins. It holds while the Lease is renewed: an operator stops its own writes before its Lease
//! expires, so the one that takes over never meets them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt};
use livecluster_api::{ClusterName, LiveCluster, OperatorName};
use serde_json::json;
use tokio::time::Instant;

use crate::k8s::call_error::CallError;

/// The field manager of the claim: the rest of the status is applied under another name.
const CLAIM_FIELD_MANAGER: &str = "livecluster-operator-claim";
/// Time for which the Lease of another operator must be unchanged before its clusters are taken over: twice its duration.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(30);
/// Time between two reads of a Lease: many clusters may have the same owner.
const READ_INTERVAL: Duration = Duration::from_secs(5);

/// What distinguishes an operator from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorIdentity {
    /// Its Lease.
    pub name: OperatorName,
    /// The class of the clusters that it reconciles; the empty one is that of clusters without `spec.operatorClass`.
    pub class: String,
}

/// Whose cluster it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// This operator's.
    Ours,
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
    leases: Mutex<HashMap<OperatorName, OwnerLease>>,
    foreign: Mutex<HashMap<ClusterName, OperatorName>>,
}

/// The Lease of another operator.
#[derive(Clone, Debug)]
struct OwnerLease {
    spec: Option<LeaseSpec>,
    /// Since when it is unchanged.
    since: Instant,
    read: Instant,
}

impl ClusterClaims {
    pub(super) fn new(identity: OperatorIdentity) -> Self {
        Self {
            identity,
            leases: Mutex::default(),
            foreign: Mutex::default(),
        }
    }

    /// Claims a cluster that no living operator has, and notes the claim in `object`.
    ///
    /// # Errors
    /// See [`CallError`]; a conflict when the cluster has changed since it was read.
    pub(super) async fn claim(
        &self,
        client: &Client,
        object: &mut DynamicObject,
    ) -> Result<Claim, CallError> {
        let class = object.data["spec"]["operatorClass"].as_str().unwrap_or("");
        if class != self.identity.class {
            return Ok(Claim::OtherClass);
        }
        let name = ClusterName::of(object);
        let owner =
            serde_json::from_value::<OperatorName>(object.data["status"]["operator"].clone());
        if let Ok(owner) = owner {
            if owner == self.identity.name {
                self.forget(&name);
                return Ok(Claim::Ours);
            }
            if !self.is_expired(client, &owner).await? {
                let before = lock(&self.foreign).insert(name, owner.clone());
                let is_new = before.as_ref() != Some(&owner);
                return Ok(Claim::Foreign { owner, is_new });
            }
            tracing::warn!(cluster = %name, %owner, "taking over: the owner's lease has expired");
        }
        if object.metadata.deletion_timestamp.is_none() {
            self.write(client, object).await?;
        }
        self.forget(&name);
        Ok(Claim::Ours)
    }

    /// Drops the state of a cluster.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        lock(&self.foreign).remove(cluster);
    }

    async fn write(&self, client: &Client, object: &mut DynamicObject) -> Result<(), CallError> {
        let name = object.name_any();
        let namespace = object.namespace().unwrap_or_default();
        let resource = ApiResource::erase::<LiveCluster>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
        let operator = json!(self.identity.name);
        let patch = Patch::Merge(json!({
            // The API server answers 409 if another operator was faster.
            "metadata": {"resourceVersion": object.resource_version(), "uid": object.uid()},
            "status": {"operator": operator}
        }));
        let params = PatchParams {
            field_manager: Some(CLAIM_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        api.patch_status(&name, &params, &patch)
            .await
            .map_err(CallError::on("claim", "LiveCluster", &name))?;
        if !object.data["status"].is_object() {
            object.data["status"] = json!({});
        }
        object.data["status"]["operator"] = operator;
        Ok(())
    }

    /// Returns whether the Lease of another operator has not changed for long. One that may not be read counts as renewed.
    async fn is_expired(&self, client: &Client, owner: &OperatorName) -> Result<bool, CallError> {
        let now = Instant::now();
        let known = lock(&self.leases).get(owner).cloned();
        let is_recent = |lease: &OwnerLease| now.duration_since(lease.read) < READ_INTERVAL;
        let observed = match known {
            Some(lease) if is_recent(&lease) => lease,
            known => {
                let Some(spec) = read_lease(client, owner).await? else {
                    return Ok(false);
                };
                let unchanged = known.filter(|known| known.spec == spec);
                let since = unchanged.map_or(now, |known| known.since);
                let read = OwnerLease {
                    spec,
                    since,
                    read: now,
                };
                lock(&self.leases).insert(owner.clone(), read.clone());
                read
            }
        };
        Ok(now.duration_since(observed.since) >= TAKEOVER_LIMIT)
    }
}

/// Returns the spec of a Lease, if the Lease exists and may be read.
async fn read_lease(
    client: &Client,
    owner: &OperatorName,
) -> Result<Option<Option<LeaseSpec>>, CallError> {
    let api: Api<Lease> = Api::namespaced(client.clone(), &owner.namespace);
    let lease = api.get_opt(&owner.lease).await;
    match lease.map_err(CallError::on("get", "Lease", &owner.lease)) {
        Ok(lease) => Ok(Some(lease.and_then(|lease| lease.spec))),
        Err(error) if error.status().is_some_and(|status| status.is_forbidden()) => Ok(None),
        Err(error) => Err(error),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the message about a cluster of another operator.
pub(super) fn message(owner: &OperatorName, own: &OperatorName) -> String {
    format!(
        "the operator {owner} reconciles this LiveCluster, and the operator {own} leaves it alone; give each its own \
         spec.operatorClass or watchNamespaces"
    )
}
