//! What a media node takes from its host besides memory and files: connections, threads, the wall clock, random numbers and
//! DNS.
//!
//! Here, and nowhere else, a build for unit tests can replace the host by a simulated one ([`simulated`]), so that the failure
//! explorer runs whole clusters in one thread and in a time that it controls. Any other build has the types of tokio.

mod kernel;
pub(crate) mod net;
#[cfg(test)]
pub(crate) mod simulated;

use std::hash::{BuildHasher, Hash, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::Span;

/// Returns the time since 1970 by the host's clock, which may differ from those of other hosts.
pub(crate) fn wall_clock() -> Duration {
    #[cfg(test)]
    if let Some(host) = simulated::current() {
        return host.wall_clock();
    }
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Runs what waits for files or threads, on a thread for that, in the span of the caller. Returns `None` after a panic, which that thread
/// has printed. A simulated host has no other thread: its tasks would go on earlier or later, as the computer is busy.
pub(crate) async fn run_blocking<T: Send + 'static>(
    blocking: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    #[cfg(test)]
    if simulated::current().is_some() {
        return Some(blocking());
    }
    let span = Span::current();
    #[expect(clippy::disallowed_methods, reason = "the only place")]
    let running = tokio::task::spawn_blocking(move || span.in_scope(blocking));
    running.await.ok()
}

/// Returns a random number. The seed of the standard library's hash maps comes from the system's random numbers.
pub(crate) fn random(salt: impl Hash) -> u64 {
    #[cfg(test)]
    if let Some(host) = simulated::current() {
        return host.random();
    }
    RandomState::new().hash_one(salt)
}
