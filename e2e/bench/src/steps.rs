//! The steps of the benchmark, and what they share.

mod cost;
mod edge;
mod instructions;
mod joins;
mod latency;
mod memory;
mod most;
mod pressure;
mod relays;
mod slow;
mod streams;
mod subject;
mod workers;

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use tokio::runtime::{Builder, Runtime};

pub(crate) use self::pressure::Pressure;
use crate::clip::Sizes;
use crate::cores::Cores;
use crate::crowd::{Behaviour, Crowd};
use crate::encoder::{LoadEncoder, Pace};
use crate::histogram::Histogram;
use crate::report::{Report, Row};
use crate::server::{Interval, PlayProtocol, Program, Server};

/// The name of our rows.
pub(crate) const MEDIA_NODE: &str = "media node";
pub(crate) const FLOOR: &str = "floor";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchStep {
    /// CPU time of a viewer at each interval and protocol, beside the floor.
    Cost,
    /// Memory of a viewer.
    Memory,
    /// Instructions and writes of a media node for each frame and viewer, counted by valgrind: the same on every computer.
    Instructions,
    /// Time from an encoder to a viewer, alone and among others, and to the first frame.
    Latency,
    /// Viewers that join while many watch: their first frame, and what the others notice.
    Joins,
    /// CPU time and memory of many streams with two viewers each.
    Streams,
    /// As many viewers as one core serves in time.
    Most,
    /// Viewers that read nothing: their memory, and what the others notice.
    Slow,
    /// Latency and first frame through an edge.
    Edge,
    /// CPU time and memory of an origin with many edges.
    Relays,
    /// CPU time of a viewer with one worker and with two, on the same cores.
    Workers,
    /// Streams and viewers beyond the memory of a container. Only by its name, because it needs root.
    Pressure,
}

impl std::fmt::Display for BenchStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", PossibleValue::get_name))
    }
}

/// Another server, by its URLs.
#[derive(Clone, Debug)]
pub(crate) struct Against {
    pub(crate) name: String,
    pub(crate) publish: String,
    pub(crate) play: String,
    pub(crate) process: Option<u32>,
}

impl Against {
    fn publish_url(&self, stream: &str) -> String {
        self.publish.replace("{stream}", stream)
    }

    fn play_url(&self, stream: &str) -> String {
        self.play.replace("{stream}", stream)
    }

    /// The scheme of its play URL.
    fn protocol(&self) -> &str {
        self.play.split(':').next().unwrap_or_default()
    }
}

/// How long and how much to measure.
#[derive(Clone, Debug)]
pub(crate) struct BenchPlan {
    pub(crate) intervals: Vec<Interval>,
    pub(crate) protocols: Vec<PlayProtocol>,
    pub(crate) viewers: usize,
    /// Viewers of the steps that need many.
    pub(crate) many_viewers: usize,
    /// How many viewers watch while latency is measured.
    pub(crate) audiences: Vec<usize>,
    /// Streams of the step with many.
    pub(crate) streams: usize,
    /// Edges of one origin.
    pub(crate) edges: usize,
    /// How often each cost is measured; the median counts.
    pub(crate) turns: usize,
    pub(crate) window: Duration,
    pub(crate) pressure: Pressure,
}

impl BenchPlan {
    pub(crate) fn full(streams: usize, pressure: Pressure) -> Self {
        Self {
            intervals: vec![
                Interval::Milliseconds(350),
                Interval::Milliseconds(100),
                Interval::Milliseconds(40),
                Interval::EveryMessage,
                Interval::Default,
            ],
            protocols: vec![
                PlayProtocol::Flv,
                PlayProtocol::Https,
                PlayProtocol::WebSocket,
                PlayProtocol::Rtmp,
            ],
            viewers: 500,
            many_viewers: 10_000,
            audiences: vec![500, 5_000],
            streams,
            edges: 100,
            turns: 3,
            window: Duration::from_secs(6),
            pressure,
        }
    }

    /// What three minutes allow.
    pub(crate) fn short(streams: usize, pressure: Pressure) -> Self {
        Self {
            intervals: vec![
                Interval::Milliseconds(350),
                Interval::Milliseconds(100),
                Interval::EveryMessage,
            ],
            protocols: vec![PlayProtocol::Flv, PlayProtocol::Rtmp],
            many_viewers: 4_000,
            turns: 5,
            window: Duration::from_millis(1500),
            ..Self::full(streams, pressure)
        }
    }
}

/// The benchmark.
pub(crate) struct Bench {
    pub(crate) cores: Cores,
    pub(crate) media_node: Program,
    pub(crate) against: Vec<Against>,
    pub(crate) plan: BenchPlan,
    pub(crate) report: Report,
    /// Runs most viewers.
    crowds: Runtime,
    /// Runs encoders, and viewers whose latency is measured: in a thread of their own, so that they do not wait for the crowd's.
    probes: Runtime,
}

impl Bench {
    pub(crate) fn new(
        cores: Cores,
        media_node: Program,
        against: Vec<Against>,
        plan: BenchPlan,
    ) -> Result<Self> {
        let threads = |count| {
            Builder::new_multi_thread()
                .worker_threads(count)
                .enable_all()
                .build()
        };
        Ok(Self {
            crowds: threads(cores.of_load())?,
            probes: threads(1)?,
            cores,
            media_node,
            against,
            plan,
            report: Report::new(),
        })
    }

    pub(crate) fn run(&mut self, step: BenchStep) -> Result<()> {
        match step {
            BenchStep::Cost => self.cost(),
            BenchStep::Memory => self.memory(),
            BenchStep::Instructions => self.instructions(),
            BenchStep::Latency => self.latency(),
            BenchStep::Joins => self.joins(),
            BenchStep::Streams => self.streams(),
            BenchStep::Most => self.most(),
            BenchStep::Slow => self.slow(),
            BenchStep::Edge => self.edge(),
            BenchStep::Relays => self.relays(),
            BenchStep::Workers => self.workers(),
            BenchStep::Pressure => self.pressure(),
        }
    }

    fn media_node(&self, interval: Interval) -> Result<Server> {
        Server::media_node(&self.cores, &self.media_node, interval)
    }

    fn encoder(&self, url: &str, sizes: Sizes) -> Result<LoadEncoder> {
        LoadEncoder::start(self.probes.handle(), url, sizes, Pace::Clip)
    }

    /// Starts viewers of one URL and waits until all of them watch.
    fn crowd(&self, url: &str, viewers: usize) -> Result<Crowd> {
        let urls = std::iter::repeat_n(url.to_owned(), viewers);
        let crowd = Crowd::start(self.crowds.handle(), urls, Behaviour::default());
        crowd.wait_until_all_watch()?;
        Ok(crowd)
    }

    /// Starts viewers whose latency is measured, and waits until all of them watch.
    fn probes(&self, url: &str, viewers: usize) -> Result<Crowd> {
        let urls = std::iter::repeat_n(url.to_owned(), viewers);
        let behaviour = Behaviour {
            measures_latency: true,
            ..Behaviour::default()
        };
        let probes = Crowd::start(self.probes.handle(), urls, behaviour);
        probes.wait_until_all_watch()?;
        Ok(probes)
    }

    /// Lets probes watch for a while. Returns the latency of their frames.
    fn latency_of(&self, probes: &Crowd, span: Duration) -> Result<Histogram> {
        drop(probes.take_latency());
        std::thread::sleep(span);
        probes.assert_faultless()?;
        Ok(probes.take_latency())
    }

    /// Connects viewers one after another. Returns the time to their first frame.
    fn first_frames(&self, url: &str, count: usize) -> Result<Histogram> {
        let mut all = Histogram::default();
        for _ in 0..count {
            all.record(self.probes(url, 1)?.first_frame().max());
        }
        Ok(all)
    }

    /// Adds a row with the median and the 99th percentile of durations.
    fn add_durations(
        &mut self,
        [step, server, what, setting]: [&str; 4],
        viewers: usize,
        durations: &Histogram,
    ) {
        let milliseconds = |share| durations.quantile(share).as_secs_f64() * 1000.0;
        self.report.add(Row {
            step: step.to_owned(),
            server: server.to_owned(),
            protocol: what.to_owned(),
            setting: setting.to_owned(),
            viewers,
            figures: vec![
                ("median ms", milliseconds(0.5)),
                ("p99 ms", milliseconds(0.99)),
                ("max ms", durations.max().as_secs_f64() * 1000.0),
            ],
        });
    }
}

/// Returns the middle one of an odd number of values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
