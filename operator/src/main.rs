//! The command line: `operator run`, `operator local FILE`, `operator crd`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Live streaming clusters: on Kubernetes, or on this machine.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the LiveClusters of a Kubernetes cluster.
    Run(operator::run::Options),
    /// Starts the origins and edges of a LiveCluster manifest on this machine, without Kubernetes.
    Local(operator::local::Options),
    /// Proves that an operator is at work, by what it does to a LiveCluster without nodes.
    Check(operator::check::Options),
    /// Prints the CustomResourceDefinition of LiveCluster.
    Crd,
}

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(options) => Ok(runtime()?.block_on(operator::run::run(options))?),
        Command::Local(options) => Ok(runtime()?.block_on(operator::local::run(options))?),
        Command::Check(options) => Ok(runtime()?.block_on(operator::check::run(options))?),
        Command::Crd => {
            print!("{}", operator::crd::manifest()?);
            Ok(())
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}
