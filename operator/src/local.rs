//! `operator local`: the origins and edges of a manifest on this machine.

pub mod manifest;
mod schema;

use std::path::PathBuf;

/// What `operator local` is asked for.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The LiveCluster manifest.
    pub file: PathBuf,
}

/// Why the nodes do not run.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// There is no such part yet.
    #[error("operator local is not built yet")]
    Missing,
}

/// Starts the nodes and waits until they have drained after Ctrl-C.
///
/// # Errors
/// See [`LocalError`].
#[expect(
    clippy::unused_async,
    reason = "the nodes that this will start are asynchronous"
)]
pub async fn run(_options: Options) -> Result<(), LocalError> {
    Err(LocalError::Missing)
}
