//! The benchmark: a media node beside the kernel's floor, and beside other servers. `e2e/bench/run` builds and starts it;
//! `e2e/bench/NOTES.md` says how it measures.
//!
//! Read in this order: [`steps`] (what is measured), [`server`] (the floor and the media node), [`crowd`] and [`viewer`] (the
//! load), [`check`] (what each viewer must receive), [`counters`] (what it has received), [`cores`] (CPU time and memory).

mod baseline;
mod check;
mod clip;
mod cores;
mod counters;
mod crowd;
mod encoder;
mod floor;
mod flv;
mod framing;
mod histogram;
mod memory_group;
mod parts;
mod plot;
mod report;
mod rtmp;
mod server;
mod steps;
mod tls;
mod viewer;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cores::Cores;
use crate::server::{PlayProtocol, Program};
use crate::steps::{Against, Bench, BenchPlan, BenchStep, Pressure};

/// Measures a media node beside the kernel's floor and beside other servers.
#[derive(Debug, Parser)]
#[command(
    name = "e2e/bench/run",
    max_term_width = 100,
    subcommand_negates_reqs = true
)]
struct BenchArguments {
    #[command(subcommand)]
    floor: Option<Floor>,
    /// The steps; all but `pressure` when none is named.
    #[arg(long, value_delimiter = ',')]
    steps: Vec<BenchStep>,
    /// The protocols of the steps cost and memory, when not those of the whole or the short form.
    #[arg(long, value_delimiter = ',')]
    protocols: Vec<PlayProtocol>,
    /// At most three minutes: costs and memory, as ratios to the floor.
    #[arg(long)]
    short: bool,
    /// Another server: NAME=PUBLISH_URL,PLAY_URL or NAME=PUBLISH_URL,PLAY_URL,PID, with {stream} in the URLs. Run it on the last core
    /// (taskset), as the media node runs. May be repeated.
    #[arg(long, value_parser = against)]
    against: Vec<Against>,
    /// Fails when a figure of these steps is more than 15 % above the one in this file, twice.
    #[arg(long)]
    compare: Option<PathBuf>,
    /// Writes the figures that are compared to this file.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Folder of bench.json and bench.svg.
    #[arg(long, default_value = "e2e/out/bench")]
    out: PathBuf,
    /// Streams of the step with many.
    #[arg(long, default_value_t = 200)]
    streams: usize,
    #[command(flatten)]
    pressure: Pressure,
    /// The media node's program.
    #[arg(long, required = true)]
    media_node: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Floor {
    /// Sends a stream to every viewer each so many milliseconds, with so many threads. The benchmark starts it.
    #[command(hide = true)]
    Floor { milliseconds: u64, threads: usize },
}

fn main() -> Result<()> {
    let arguments = BenchArguments::parse();
    if let Some(Floor::Floor {
        milliseconds,
        threads,
    }) = arguments.floor
    {
        return floor::serve(Duration::from_millis(milliseconds), threads);
    }
    allow_many_files()?;
    let mut plan = if arguments.short {
        BenchPlan::short(arguments.streams, arguments.pressure)
    } else {
        BenchPlan::full(arguments.streams, arguments.pressure)
    };
    if !arguments.protocols.is_empty() {
        plan.protocols = arguments.protocols;
    }
    let steps = match (arguments.steps.as_slice(), arguments.short) {
        ([], true) => vec![BenchStep::Cost, BenchStep::Memory],
        ([], false) => {
            let steps = BenchStep::value_variants().iter().copied();
            steps.filter(|step| *step != BenchStep::Pressure).collect()
        }
        (some, _) => some.to_vec(),
    };
    std::fs::create_dir_all(&arguments.out)?;
    let media_node = Program {
        file: arguments.media_node.context("--media-node")?,
        folder: arguments.out.clone(),
    };
    let mut bench = Bench::new(Cores::share()?, media_node, arguments.against, plan)?;
    for step in &steps {
        bench.run(*step)?;
    }
    bench.report.print();
    bench.report.write(&arguments.out)?;
    plot::write(&bench.report.rows, &arguments.out.join("bench.svg"))?;
    println!(
        "\n{0}/bench.json and {0}/bench.svg are written",
        arguments.out.display()
    );
    if let Some(file) = &arguments.write {
        baseline::write(&bench.report.compared, file)?;
    }
    match &arguments.compare {
        Some(file) => baseline::compare(&mut bench, &steps, file),
        None => Ok(()),
    }
}

/// Every viewer is an open file of this process and one of the server.
fn allow_many_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, all).context("allow more open files")
}

fn against(text: &str) -> Result<Against, String> {
    let expected = "expected NAME=PUBLISH_URL,PLAY_URL or NAME=PUBLISH_URL,PLAY_URL,PID";
    let (name, rest) = text.split_once('=').ok_or(expected)?;
    let (publish, play, process) = match rest.split(',').collect::<Vec<_>>()[..] {
        [publish, play] => (publish, play, None),
        [publish, play, process] => (publish, play, Some(process)),
        _ => return Err(expected.to_owned()),
    };
    if !publish.contains("{stream}") || !play.contains("{stream}") {
        return Err("expected {stream} in both URLs".to_owned());
    }
    Ok(Against {
        name: name.to_owned(),
        publish: publish.to_owned(),
        play: play.to_owned(),
        process: process.map(str::parse).transpose().map_err(|_| expected)?,
    })
}
