//! The Leases of other operators, which show whether one still works, and which namespaces it watches.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, Client, ResourceExt};
use livecluster_api::OperatorName;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::k8s::call_error::CallError;

/// Time for which the Lease of another operator must be unchanged before its clusters are taken over. An operator stops its writes
/// 10 seconds after its last renewal, and another replica of it acquires the Lease within 21: that one goes on with the clusters.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(25);
/// Time for which a Lease that was renewed need not be read again: many clusters may have the same owner. It is shorter than the time
/// between two checks of all owners, each of which is to read it.
const READ_INTERVAL: Duration = Duration::from_secs(4);

/// Annotation of an operator's Lease: the namespaces that the operator watches, separated by commas; all when empty.
pub const WATCHED_NAMESPACES: &str = "livecluster.dev/watched-namespaces";

/// What is known about the operator that has claimed a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// It works, and watches the namespace.
    Active,
    /// It does not.
    Stopped,
    /// Its Lease may not be read.
    Unknown,
}

/// The Leases that were read.
#[derive(Debug, Default)]
pub(super) struct OwnerLeases {
    leases: Mutex<HashMap<OperatorName, OwnerLease>>,
}

/// The Lease of another operator.
#[derive(Clone, Debug)]
struct OwnerLease {
    spec: Option<LeaseSpec>,
    /// Its annotation [`WATCHED_NAMESPACES`].
    watched: Option<String>,
    /// Since when it is unchanged.
    since: Instant,
    read: Instant,
}

impl OwnerLeases {
    /// Returns the state of an operator for the clusters of a namespace. That it has stopped is seen in its Lease as it is now.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(super) async fn state(
        &self,
        client: &Client,
        owner: &OperatorName,
        namespace: &str,
    ) -> Result<OwnerState, CallError> {
        let known = self.leases.lock().get(owner).cloned();
        let is_recent = |lease: &OwnerLease| lease.read.elapsed() < READ_INTERVAL;
        if known.is_some_and(|lease| is_recent(&lease) && lease.is_active(namespace)) {
            return Ok(OwnerState::Active);
        }
        let now = Instant::now();
        let Some(lease) = read(client, owner).await? else {
            return Ok(OwnerState::Unknown);
        };
        Ok(if self.insert(owner, lease, now).is_active(namespace) {
            OwnerState::Active
        } else {
            OwnerState::Stopped
        })
    }

    /// Returns whether the Lease of an operator may be read, as far as is known.
    pub(super) fn is_readable(&self, owner: &OperatorName) -> bool {
        self.leases.lock().contains_key(owner)
    }

    fn insert(&self, owner: &OperatorName, lease: Lease, now: Instant) -> OwnerLease {
        let mut leases = self.leases.lock();
        let unchanged = leases.get(owner).filter(|known| known.spec == lease.spec);
        let observed = OwnerLease {
            since: unchanged.map_or(now, |known| known.since),
            watched: lease.annotations().get(WATCHED_NAMESPACES).cloned(),
            spec: lease.spec,
            read: now,
        };
        leases.insert(owner.clone(), observed.clone());
        observed
    }
}

impl OwnerLease {
    fn is_active(&self, namespace: &str) -> bool {
        self.since.elapsed() < TAKEOVER_LIMIT && self.watches(namespace)
    }

    fn watches(&self, namespace: &str) -> bool {
        let watched = self.watched.as_deref().unwrap_or_default();
        watched.is_empty() || watched.split(',').any(|watched| watched == namespace)
    }
}

/// Returns a Lease if it may be read. One that does not exist is empty.
async fn read(client: &Client, owner: &OperatorName) -> Result<Option<Lease>, CallError> {
    let api: Api<Lease> = Api::namespaced(client.clone(), &owner.namespace);
    let lease = api.get_opt(&owner.lease).await;
    match lease.map_err(CallError::on("get", "Lease", &owner.lease)) {
        Ok(lease) => Ok(Some(lease.unwrap_or_default())),
        Err(error) if error.status().is_some_and(|status| status.is_forbidden()) => Ok(None),
        Err(error) => Err(error),
    }
}
