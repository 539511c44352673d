//! Whose object it is: a cluster's own objects are changed, others never are.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::DynamicObject;
use kube::{Resource, ResourceExt};
use livecluster_api::LiveCluster;

use crate::observe::live_object::is_controlled_by;

/// The field manager of everything that the operator applies. It never changes: under another name, fields that are no
/// longer applied would stay.
pub(super) const FIELD_MANAGER: &str = "livecluster-operator";

/// The owner of an object, from the view of a cluster.
pub(super) enum Ownership {
    /// The cluster.
    Ours,
    /// A deleted cluster of the same name.
    LeftOver,
    /// Another object, if any.
    Foreign(Option<String>),
}

/// Returns the owner of `object` from the view of `cluster`.
pub(super) fn ownership(object: &DynamicObject, cluster: &LiveCluster) -> Ownership {
    if is_controlled_by(object, cluster) {
        return Ownership::Ours;
    }
    let Some(owner) = controller(object) else {
        // Orphaned on purpose (`kubectl delete --cascade=orphan`) or by hand: ours if we applied it.
        return if is_applied_by_us(object) {
            Ownership::Ours
        } else {
            Ownership::Foreign(None)
        };
    };
    let is_namesake = owner.kind == LiveCluster::kind(&())
        && owner.name == cluster.name_any()
        && owner.api_version.starts_with("livecluster.dev/");
    if is_namesake {
        Ownership::LeftOver
    } else {
        Ownership::Foreign(Some(format!("{} {}", owner.kind, owner.name)))
    }
}

fn controller(object: &DynamicObject) -> Option<&OwnerReference> {
    object
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true))
}

/// Returns the client that changed the spec of an object last, besides the operator.
pub(super) fn editor(object: &DynamicObject) -> Option<String> {
    let entries = object.managed_fields().iter();
    let others = entries.filter(|entry| {
        let manager = entry.manager.as_deref().unwrap_or_default();
        entry.subresource.is_none() && !manager.starts_with(FIELD_MANAGER)
    });
    let last = others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    last.manager.clone()
}

fn is_applied_by_us(object: &DynamicObject) -> bool {
    object.managed_fields().iter().any(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
    })
}
