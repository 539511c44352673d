//! The roles of Pods: origin and edge.

use media_config::Role;

/// The roles in the order in which they roll: edges read what origins write, so a new release reaches them first.
pub const ROLES: [Role; 2] = [Role::Edge, Role::Origin];

/// Returns the role as it stands in names, labels and messages.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Origin => "origin",
        Role::Edge => "edge",
    }
}
