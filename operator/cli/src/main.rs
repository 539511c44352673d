//! The command line: `livecluster local`, `livecluster check`, `livecluster crd`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use livecluster::{check, local, manifest};

/// Live streaming clusters without Kubernetes, and their manifests.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct LiveclusterArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the origins and edges of a LiveCluster on this computer, without Kubernetes
    Local(local::LocalOptions),
    /// Validates LiveCluster manifests as the API server does, without a Kubernetes cluster
    Check(check::CheckOptions),
    /// Prints the CustomResourceDefinition of LiveCluster
    Crd,
}

fn main() -> ExitCode {
    match execute(LiveclusterArguments::parse().command) {
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
            Ok(runtime.block_on(local::run(options))?)
        }
        Command::Check(options) => Ok(check::run(options)?),
        Command::Crd => Ok(print(manifest::DEFINITION)?),
    }
}

/// Writes to standard output. A reader that has read enough, such as `head`, is no failure.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
