//! An object as it exists in the API.

use kube::ResourceExt;
use kube::core::DynamicObject;
use livecluster_api::LiveCluster;

use crate::desired::child::ChildKind;

/// An object as it exists in the API.
#[derive(Clone, Debug)]
pub struct LiveObject {
    /// The object's kind.
    pub kind: ChildKind,
    /// The object.
    pub object: DynamicObject,
}

/// Returns whether `cluster` is the controller of the object.
pub fn is_controlled_by(object: &DynamicObject, cluster: &LiveCluster) -> bool {
    object
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && Some(&owner.uid) == cluster.uid().as_ref())
}
