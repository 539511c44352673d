//! The command line of the scenarios; `e2e/run` calls it.

use std::process::ExitCode;

use clap::Parser;

/// Proves LiveCluster from outside.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    options: e2e::Options,
}

#[tokio::main]
async fn main() -> ExitCode {
    match e2e::run(Arguments::parse().options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
