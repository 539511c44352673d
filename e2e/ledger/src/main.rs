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

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use futures::{StreamExt, stream};

use cluster::Programs;
use dns::NameServer;
use figures::Figures;
use rows::{LedgerRow, ROWS, run_row};

/// Breaks a part of a cluster, and counts in messages what viewers lose.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct LedgerArguments {
    /// The rows to run, by name. All, when none is named; those with two releases only with --other-node.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    rows: Vec<String>,
    /// How often each row runs. The table shows the worst of all.
    #[arg(long, default_value_t = 3)]
    times: usize,
    /// How many clusters run at the same time. All together use a part of one core.
    #[arg(long, default_value_t = 3)]
    at_once: usize,
    /// Threads that compute beside the clusters, as on a host that is too small.
    #[arg(long, default_value_t = 0, value_name = "THREADS")]
    busy: usize,
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
    match run(LedgerArguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: LedgerArguments) -> Result<()> {
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
    let dns = NameServer::start().await?;
    keep_busy(arguments.busy);
    let start = Instant::now();
    // Each row once, then each row again: runs of one row are far from each other.
    let runs = (1..=arguments.times).flat_map(|time| rows.iter().map(move |row| (*row, time)));
    let total = rows.len() * arguments.times;
    let finished = stream::iter(runs).map(|(row, time)| {
        let (programs, dns) = (&programs, &dns);
        async move { (row, run_again(row, programs, dns, time).await) }
    });
    let mut finished = finished
        .buffer_unordered(arguments.at_once.max(1))
        .enumerate();
    let mut worst: HashMap<&str, Figures> = HashMap::new();
    let mut failed = 0;
    while let Some((number, (row, figures))) = finished.next().await {
        let (elapsed, number) = (start.elapsed().as_secs(), number + 1);
        match figures {
            Ok(figures) => {
                println!("{elapsed:4}s  {number}/{total} {}: {figures}", row.name);
                let worst = worst.entry(row.name).or_default();
                *worst = worst.worse(figures);
            }
            Err(error) => {
                println!(
                    "{elapsed:4}s  {number}/{total} {}: FAILED: {error:#}",
                    row.name
                );
                failed += 1;
            }
        }
    }
    let lines: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((*row, *worst.get(row.name)?)))
        .collect();
    let table = table::render(&lines, arguments.times);
    println!("\n{table}");
    if failed > 0 {
        bail!("{failed} runs failed twice; the table is not written");
    }
    if arguments.write {
        table::write("README.md".as_ref(), &table)?;
    }
    Ok(())
}

/// Starts threads that take all CPU time that they get, until the process ends.
fn keep_busy(threads: usize) {
    for _ in 0..threads {
        std::thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
}

/// Runs a row. An error, such as a process that did not start in time, gets a second attempt.
async fn run_again(
    row: &LedgerRow,
    programs: &Programs,
    dns: &NameServer,
    time: usize,
) -> Result<Figures> {
    let folder = format!("{}-{time}", row.name);
    match run_row(row, programs, dns, &folder).await {
        Err(error) => {
            println!("       {}: again, after {error:#}", row.name);
            run_row(row, programs, dns, &format!("{folder}-again")).await
        }
        figures => figures,
    }
}

fn select(arguments: &LedgerArguments) -> Result<Vec<&'static LedgerRow>> {
    let can_run = |row: &&LedgerRow| !row.needs_other() || arguments.other_node.is_some();
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
