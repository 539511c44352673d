//! Deletes the objects that a cluster no longer needs.

use std::collections::BTreeSet;

use kube::api::{DeleteParams, Preconditions};
use kube::core::Status;
use kube::{Client, ResourceExt};
use livecluster_api::LiveCluster;

use super::apply::api;
use crate::desired::Desired;
use crate::desired::child::ChildKind;
use crate::k8s::call_error::CallError;
use crate::observe::live_object::{LiveObject, is_controlled_by};

/// Deletes the objects of `cluster` that are not desired. The ConfigMaps that are `mounted` stay until their last Pod is gone.
///
/// # Guarantees
/// An object is deleted only if the cluster is its controller, and only the very object that was observed: its UID is a
/// precondition.
///
/// # Errors
/// See [`CallError`]. A missing permission is an error, too: without one it would stay unnoticed.
pub(super) async fn prune(
    client: &Client,
    cluster: &LiveCluster,
    desired: &Desired,
    live: &[LiveObject],
    mounted: &BTreeSet<String>,
) -> Result<(), CallError> {
    for found in live {
        let name = found.object.name_any();
        let is_mounted = found.kind == ChildKind::ConfigMap && mounted.contains(&name);
        if found.kind.is_kept()
            || is_mounted
            || desired.contains(found.kind, &name)
            || found.object.metadata.deletion_timestamp.is_some()
            || !is_controlled_by(&found.object, cluster)
        {
            continue;
        }
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: found.object.uid(),
            resource_version: None,
        });
        let kind = found.kind.resource().kind;
        let deleted = api(client, cluster, found.kind)
            .delete(&name, &params)
            .await
            .map_err(CallError::on("delete", &kind, &name));
        match deleted {
            Ok(_) => tracing::info!(kind, name, "pruned"),
            // The object is deleted already, or another object has its name by now.
            Err(error) if has(&error, Status::is_not_found) => {}
            Err(error) if has(&error, Status::is_conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn has(error: &CallError, status: impl Fn(&Status) -> bool) -> bool {
    error.status().is_some_and(status)
}
