//! Status, reason and message of a condition, and the phrases that several conditions share.

use livecluster_api::names::role_name;
use media_config::Role;

use super::input::StatusInput;

/// Status, reason and message of a condition.
pub(super) struct ConditionStatus {
    pub(super) is_true: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl ConditionStatus {
    pub(super) fn new(is_true: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            is_true,
            reason,
            message: message.into(),
        }
    }
}

/// Returns one status for several: the first that is false, else the first one, with the messages of all.
pub(super) fn joined(statuses: Vec<ConditionStatus>) -> Option<ConditionStatus> {
    let first_false = statuses.iter().find(|status| !status.is_true);
    let first = first_false.or(statuses.first())?;
    let messages: Vec<_> = statuses.iter().map(|status| &*status.message).collect();
    Some(ConditionStatus::new(
        first.is_true,
        first.reason,
        messages.join("; "),
    ))
}

/// Returns the reason of the first reconcile error with the messages of all.
pub(super) fn failed(input: &StatusInput) -> Option<ConditionStatus> {
    let errors = input.errors.iter();
    let errors =
        errors.map(|error| ConditionStatus::new(false, error.reason.as_str(), &*error.message));
    joined(errors.collect())
}

/// Returns what the deletion of a cluster waits for.
pub(super) fn deleting_message(input: &StatusInput) -> String {
    match input.observed.pods.len() {
        0 => "the garbage collector deletes the objects of the LiveCluster".to_owned(),
        count => format!(
            "the garbage collector deletes the objects of the LiveCluster; Pods that still serve clients, at most for their \
             drain timeout: {count}"
        ),
    }
}

/// Returns the reason for too few available Pods of a role.
pub(super) fn unavailable_reason(role: Role) -> &'static str {
    match role {
        Role::Origin => "OriginsUnavailable",
        Role::Edge => "EdgesUnavailable",
    }
}

/// Returns "1 origin" or "2 edges".
pub(super) fn counted(count: u16, role: Role) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {}{plural}", role_name(role))
}
