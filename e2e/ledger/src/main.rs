//! The ledger of failures: what viewers lose when a part of a cluster fails, counted in messages. `e2e/ledger/run` is the command.
//!
//! A [`rows`] entry breaks something in a [`cluster`] of processes, each in a [`network`] of its own, with [`delay`]s or without, whose
//! origins have a name in [`dns`]. A [`kubernetes`] row breaks something in a Kubernetes cluster. Each row has a [`stream`], which an [`audience`] watches by
//! each protocol on each edge. The [`figures`] of all of it are [`results`], and make a [`table`], unless the [`order`] is broken. The [`lateness`] of the ledger itself is
//! printed beside them.

mod audience;
mod cluster;
mod delay;
mod dns;
mod figures;
mod kubernetes;
mod lateness;
mod network;
mod order;
mod results;
mod rows;
mod stream;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use futures::StreamExt;

use cluster::Programs;
use dns::NameServer;
use kubernetes::{KUBERNETES_ROWS, KubernetesCluster, KubernetesRow};
use lateness::Lateness;
use results::{Results, TableRow};
use rows::{LedgerRow, run_row};
use table::TablePart;

/// Breaks a part of a cluster, and counts in messages what viewers lose.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct LedgerArguments {
    /// The rows to run, by name. When none is named: those of the table in README.md. Those with two releases run only with --other-node.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    rows: Vec<String>,
    /// All rows with processes, or on a Kubernetes cluster.
    #[arg(long, conflicts_with = "rows")]
    all: bool,
    /// So many rows in which two or three failures happen together, at random.
    #[arg(long, value_name = "ROWS", conflicts_with_all = ["rows", "all", "write"])]
    random: Option<u64>,
    /// The number that the first of the random rows follows from, the next one from the next number.
    #[arg(long, default_value_t = 1, requires = "random")]
    seed: u64,
    /// How often each row runs. The table shows the worst of all.
    #[arg(long, default_value_t = 3)]
    times: usize,
    /// The rows on a Kubernetes cluster, instead of those with processes.
    #[arg(long)]
    kubernetes: bool,
    /// How many clusters of processes run at the same time. All together use a part of one core.
    #[arg(long, default_value_t = 4)]
    at_once: usize,
    /// Threads that compute beside the clusters, as on a host that is too small.
    #[arg(long, default_value_t = 0, value_name = "THREADS")]
    busy: usize,
    /// Put the table into README.md: of the rows that it shows.
    #[arg(long, conflicts_with = "rows")]
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

impl LedgerArguments {
    /// Returns whether a row may run: those that README.md does not show only when they are named, or with all.
    fn runs(&self, is_shown: bool) -> bool {
        is_shown || self.all || !self.rows.is_empty()
    }
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
        list();
        return Ok(());
    }
    let (part, results) = if arguments.kubernetes {
        (TablePart::Kubernetes, run_kubernetes(&arguments).await?)
    } else {
        (TablePart::Processes, run_processes(&arguments).await?)
    };
    println!(
        "\n{}",
        table::render(&results.lines(|_| true), arguments.times)
    );
    results.complete()?;
    if arguments.write {
        let table = table::render(&results.lines(|row| row.is_shown), arguments.times);
        table::write("README.md".as_ref(), part, &table)?;
    }
    Ok(())
}

fn list() {
    println!("with processes; those with * are in README.md:");
    for row in rows::all() {
        let mark = if row.is_shown { '*' } else { ' ' };
        println!("{:20} {mark} {}", row.name, row.event);
    }
    println!("with --kubernetes:");
    for row in KUBERNETES_ROWS {
        let mark = if row.is_shown { '*' } else { ' ' };
        println!("{:20} {mark} {}", row.name, row.event);
    }
}

async fn run_processes(arguments: &LedgerArguments) -> Result<Results> {
    let random = 0..arguments.random.unwrap_or(0);
    let random: Vec<LedgerRow> = random
        .map(|number| LedgerRow::random(arguments.seed.wrapping_add(number)))
        .collect();
    let mut rows = if random.is_empty() {
        let is_run = |row: &&LedgerRow| arguments.runs(row.is_shown);
        select(rows::all().filter(is_run), |row| &row.name, &arguments.rows)?
    } else {
        random.iter().collect()
    };
    if arguments.other_node.is_none() {
        rows.retain(|row| !row.needs_other());
    }
    let programs = Programs {
        media_node: arguments.media_node.clone(),
        other_node: arguments.other_node.clone(),
        out: arguments.out.clone(),
    };
    network::create_bridge().await?;
    let dns = NameServer::start().await?;
    let lateness = Lateness::start();
    keep_busy(arguments.busy);
    let table = rows.iter().map(|row| TableRow {
        name: row.name.to_string(),
        event: row.event.to_string(),
        is_shown: row.is_shown,
    });
    let mut results = Results::expect(table.collect(), arguments.times);
    // Each row once, then each row again: runs of one row are far from each other.
    let runs = (1..=arguments.times).flat_map(|time| rows.iter().map(move |row| (*row, time)));
    let finished = futures::stream::iter(runs).map(|(row, time)| {
        let (programs, dns, lateness) = (&programs, &dns, &lateness);
        async move {
            let start = Instant::now();
            let figures = run_row(row, programs, dns, &format!("{}-{time}", row.name)).await;
            (&row.name, figures, lateness.since(start))
        }
    });
    let mut finished = finished.buffer_unordered(arguments.at_once.max(1));
    while let Some((name, figures, late)) = finished.next().await {
        results.add(name, figures, late);
    }
    Ok(results)
}

async fn run_kubernetes(arguments: &LedgerArguments) -> Result<Results> {
    let is_run = |row: &&KubernetesRow| arguments.runs(row.is_shown);
    let rows = KUBERNETES_ROWS.iter().filter(is_run);
    let rows = select(rows, |row| row.name, &arguments.rows)?;
    let cluster = KubernetesCluster::prepare(&arguments.out).await?;
    let lateness = Lateness::start();
    let table = rows.iter().map(|row| TableRow {
        name: row.name.to_owned(),
        event: row.event.to_owned(),
        is_shown: row.is_shown,
    });
    let mut results = Results::expect(table.collect(), arguments.times);
    for _ in 0..arguments.times {
        for row in &rows {
            let start = Instant::now();
            let figures = cluster.run_row(row).await;
            results.add(row.name, figures, lateness.since(start));
        }
    }
    Ok(results)
}

/// Starts threads that take all CPU time that they get, until the process ends. Media nodes have their priority, and the ledger a higher one.
fn keep_busy(threads: usize) {
    for _ in 0..threads {
        std::thread::spawn(|| {
            // Of this thread only. It cannot fail, as it becomes lower.
            let _niceness = rustix::process::nice(LOWER_PRIORITY);
            loop {
                std::hint::spin_loop();
            }
        });
    }
}

/// How much nicer than the ledger all else is that computes. Encoders, viewers and the network are not on the host that is too small.
const LOWER_PRIORITY: i32 = 10;

/// Returns the rows of these names, or all of them.
fn select<R: 'static>(
    all: impl Iterator<Item = &'static R>,
    name_of: fn(&R) -> &str,
    names: &[String],
) -> Result<Vec<&'static R>> {
    let all: Vec<&'static R> = all.collect();
    if names.is_empty() {
        return Ok(all);
    }
    let selected = names.iter().map(|name| {
        let row = all.iter().copied().find(|row| name_of(row) == name);
        row.with_context(|| format!("no row {name}; --list names them"))
    });
    selected.collect()
}
