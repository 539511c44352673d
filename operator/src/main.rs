//! The command line: `operator run`, `operator self-test`, `operator uninstall-check`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The operator of LiveCluster: live streaming clusters on Kubernetes.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct OperatorArguments {
    #[command(subcommand)]
    command: OperatorCommand,
}

#[derive(Debug, Subcommand)]
enum OperatorCommand {
    /// Runs the operator.
    Run(Box<operator::process::options::RunOptions>),
    /// Verifies that a running operator reconciles a LiveCluster without Pods.
    SelfTest(operator::self_test::SelfTestOptions),
    /// Fails while LiveClusters exist.
    UninstallCheck,
}

fn main() -> ExitCode {
    match execute(OperatorArguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: OperatorCommand) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match command {
        OperatorCommand::Run(options) => {
            Ok(runtime.block_on(operator::process::run::run(*options))?)
        }
        OperatorCommand::SelfTest(options) => {
            Ok(runtime.block_on(operator::self_test::run(options))?)
        }
        OperatorCommand::UninstallCheck => Ok(runtime.block_on(operator::uninstall_check::run())?),
    }
}
