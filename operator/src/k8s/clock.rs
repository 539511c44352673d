//! The time as Kubernetes objects have it.

use k8s_openapi::jiff::Timestamp;

/// Returns the time in whole seconds, as conditions have it.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
