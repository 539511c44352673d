//! Limit of open files. Each client is an open file, and most systems start a process with a soft limit of 1,024, which the
//! process may raise up to the hard limit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Open files besides the connections of the public ports: logs, listeners, relays, the internal port.
const OTHER_FILES: u64 = 1024;

/// Raises the soft limit to the hard limit, and warns when that is less than `connections` need.
pub(super) fn raise(connections: u32) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let needed = u64::from(connections) + OTHER_FILES;
    if allowed.is_some_and(|allowed| allowed < needed) {
        warn!(
            needed,
            allowed, "the limit of open files is too low for limits.maxConnections"
        );
    }
}
