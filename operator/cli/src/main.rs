//! The command line: `livecluster local FILE`, `livecluster crd`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Live streaming clusters on this machine, and their manifests.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the origins and edges of a LiveCluster manifest on this machine, without Kubernetes.
    Local(livecluster::local::Options),
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
        Command::Local(options) => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(livecluster::local::run(options))?)
        }
        Command::Crd => {
            print!("{}", livecluster_api::manifest()?);
            Ok(())
        }
    }
}
