//! What media nodes log while a seed is replayed, with the simulated time and the address of each one.

use std::fmt;

use tracing::level_filters::LevelFilter;
use tracing::subscriber::with_default;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::host::simulated::current;

/// Prints the log lines of this level and of those above it while `run` runs.
pub(super) fn with_log<T>(level: LevelFilter, run: impl FnOnce() -> T) -> T {
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_timer(HostTime);
    with_default(log.finish(), run)
}

/// The time and the address of the host that logs.
struct HostTime;

impl FormatTime for HostTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let Some(host) = current() else {
            return Ok(());
        };
        let now = host.network.now().as_secs_f64();
        write!(writer, "{now:9.3}s  {}", host.address)
    }
}
