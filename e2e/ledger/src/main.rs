//! The ledger of failures: what viewers lose when a part of a cluster fails, counted in messages. `e2e/ledger/run` is the command.
//!
//! A [`rows`] entry breaks something in a [`cluster`] of processes, each in a [`network`] of its own, whose origins have a name in
//! [`dns`]. An [`audience`] watches by each protocol on each edge. The [`figures`] of all of it make a [`table`].

mod audience;
mod cluster;
mod dns;
mod figures;
mod network;
mod rows;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;

use cluster::Programs;
use figures::Figures;
use rows::{ROWS, Row, run_row};

/// Breaks a part of a cluster, and counts in messages what viewers lose.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Arguments {
    /// The rows to run, by name. All, when none is named; those with two releases only with --other-node.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    rows: Vec<String>,
    /// How often each row runs. The table shows the worst of all.
    #[arg(long, default_value_t = 3)]
    times: usize,
    /// Put the table into README.md.
    #[arg(long)]
    write: bool,
    /// Print all rows.
    #[arg(long)]
    list: bool,
    /// The media node.
    #[arg(long, default_value = "target/release/media-node")]
    media_node: PathBuf,
    /// The media node of another release, for the rows where both run together.
    #[arg(long, value_name = "FILE")]
    other_node: Option<PathBuf>,
    /// Folder of the logs.
    #[arg(long, default_value = "e2e/out/ledger")]
    out: PathBuf,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    if arguments.list {
        for row in ROWS {
            println!("{:18} {}", row.name, row.event);
        }
        return Ok(());
    }
    let rows = select(&arguments)?;
    let programs = Programs {
        media_node: arguments.media_node.clone(),
        other_node: arguments.other_node.clone(),
        out: arguments.out.clone(),
    };
    network::create_bridge().await?;
    let dns = dns::NameServer::start().await?;
    let start = Instant::now();
    let mut lines = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let mut worst = Figures::default();
        for time in 1..=arguments.times {
            let figures = run_row(row, &programs, &dns).await;
            let figures = figures.with_context(|| format!("row {}", row.name))?;
            println!(
                "{:4}s  {}/{} {} ({time}/{}): {figures}",
                start.elapsed().as_secs(),
                number + 1,
                rows.len(),
                row.name,
                arguments.times
            );
            worst = worst.worse(figures);
        }
        lines.push((*row, worst));
    }
    let table = table::render(&lines, arguments.times);
    println!("\n{table}");
    if arguments.write {
        table::write("README.md".as_ref(), &table)?;
    }
    Ok(())
}

fn select(arguments: &Arguments) -> Result<Vec<&'static Row>> {
    let can_run = |row: &&Row| !row.needs_other || arguments.other_node.is_some();
    if arguments.rows.is_empty() {
        return Ok(ROWS.iter().filter(can_run).collect());
    }
    let mut selected = Vec::new();
    for name in &arguments.rows {
        let row = ROWS.iter().find(|row| row.name == name);
        let row = row.with_context(|| format!("no row {name}; --list names them"))?;
        if !can_run(&row) {
            bail!("row {name} needs --other-node FILE");
        }
        selected.push(row);
    }
    Ok(selected)
}
