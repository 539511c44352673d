//! A client is an open file, and most shells allow a process 1,024 of them, but let it raise that itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files beside the public ports' connections: logs, listeners, relays, the internal port.
const OTHERS: u64 = 1024;

/// Raises the limit of open files as far as the system lets it, and says so if that is too little for `connections`.
pub(crate) fn raise(connections: u32) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let needed = u64::from(connections) + OTHERS;
    if allowed.is_some_and(|allowed| allowed < needed) {
        warn!(
            needed,
            allowed, "fewer open files are allowed than limits.maxConnections needs"
        );
    }
}
