//! The roles of Pods: origin and edge.

use media_config::Role;

/// The roles in the order in which their objects are applied. They roll out independently.
pub const ROLES: [Role; 2] = [Role::Edge, Role::Origin];

/// Returns the role as it stands in names, labels and messages.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Origin => "origin",
        Role::Edge => "edge",
    }
}
