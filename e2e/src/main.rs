//! The command line of the proofs; `e2e/run` calls it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Proves LiveCluster from outside.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs scenarios on the Kubernetes cluster that KUBECONFIG names.
    Cluster(e2e::cluster::Options),
    /// Runs real encoders, players and a browser against the nodes of `livecluster local`.
    Interop(e2e::interop::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Cluster(options) => e2e::cluster::run(options).await,
        Command::Interop(arguments) => e2e::interop::run(arguments).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
