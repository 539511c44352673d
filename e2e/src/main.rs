//! The command line of the scenarios; `e2e/run` calls it.

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Proves LiveCluster from outside.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct ScenarioArguments {
    #[command(flatten)]
    options: e2e::Options,
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = tokio::select! {
        ended = e2e::run(ScenarioArguments::parse().options) => ended,
        // The end of the runtime drops what scenarios have started, which ends it.
        stopped = stopped() => stopped,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Waits until SIGINT or SIGTERM, which is an error.
async fn stopped() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    anyhow::bail!("stopped by a signal")
}
