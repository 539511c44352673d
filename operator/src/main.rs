//! The command line: `operator run`, `operator self-test`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The operator of LiveCluster: live streaming clusters on Kubernetes.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the LiveClusters of a Kubernetes cluster.
    Run(operator::process::run::Options),
    /// Proves that an operator is at work, by what it does to a LiveCluster without Pods.
    SelfTest(operator::self_test::Options),
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match command {
        Command::Run(options) => Ok(runtime.block_on(operator::process::run::run(options))?),
        Command::SelfTest(options) => Ok(runtime.block_on(operator::self_test::run(options))?),
    }
}
