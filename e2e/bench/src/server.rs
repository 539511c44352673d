//! Servers under test: the floor, a media node, and any other by its URLs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::cores::{CoreSet, Cores};
use crate::memory_group::MemoryGroup;
use crate::tls;

/// In which a server starts, the one that valgrind runs as well.
const START: Duration = Duration::from_secs(60);

/// How often messages are collected into one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interval {
    Milliseconds(u64),
    EveryMessage,
    /// What the server chooses by itself.
    Default,
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Milliseconds(milliseconds) => write!(f, "{milliseconds} ms"),
            Self::EveryMessage => f.write_str("every message"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Interval {
    /// Settings of a media node's `stream`.
    pub(crate) fn settings(self) -> String {
        match self {
            Self::Milliseconds(it) => {
                format!("pulseMinMilliseconds: {it}, pulseMaxMilliseconds: {it}")
            }
            Self::EveryMessage => "pulseMaxMilliseconds: 0".to_owned(),
            Self::Default => String::new(),
        }
    }
}

/// A way to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PlayProtocol {
    Flv,
    Https,
    #[value(name = "websocket")]
    WebSocket,
    Rtmp,
}

impl std::fmt::Display for PlayProtocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Flv => "HTTP-FLV",
            Self::Https => "HTTPS-FLV",
            Self::WebSocket => "WebSocket",
            Self::Rtmp => "RTMP",
        })
    }
}

/// The program of a media node.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) file: PathBuf,
    /// Where the configuration and the log of the newest one are.
    pub(crate) folder: PathBuf,
}

impl Program {
    /// Where the counts of the newest counted one are.
    fn counts(&self) -> PathBuf {
        self.folder.join("instructions.cachegrind")
    }
}

/// Where a media node runs.
#[derive(Clone, Copy, Debug)]
struct Layout {
    on: CoreSet,
    workers: usize,
}

impl Layout {
    const SERVER: Self = Self {
        on: CoreSet::Server,
        workers: 1,
    };

    fn on_all_cores(workers: usize) -> Self {
        Self {
            on: CoreSet::All,
            workers,
        }
    }
}

/// A process under test. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    rtmp: SocketAddr,
    http: SocketAddr,
    https: SocketAddr,
    internal: SocketAddr,
    metrics: SocketAddr,
}

impl Server {
    /// Starts the floor with one thread.
    pub(crate) fn floor(cores: &Cores, interval: Interval) -> Result<Self> {
        Self::start_floor(cores, Layout::SERVER, interval)
    }

    /// Starts the floor with so many threads on all cores, those of the load as well.
    pub(crate) fn floor_on_all_cores(
        cores: &Cores,
        interval: Interval,
        threads: usize,
    ) -> Result<Self> {
        Self::start_floor(cores, Layout::on_all_cores(threads), interval)
    }

    fn start_floor(cores: &Cores, layout: Layout, interval: Interval) -> Result<Self> {
        let milliseconds = match interval {
            Interval::Milliseconds(milliseconds) => milliseconds,
            _ => 0,
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor", &milliseconds.to_string()]);
        command.arg(layout.workers.to_string());
        let mut child = cores.spawn(layout.on, command.stdout(Stdio::piped()))?;
        let mut port = String::new();
        let output = child.stdout.take().context("the floor's output")?;
        BufReader::new(output).read_line(&mut port)?;
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, port.trim().parse()?));
        Ok(Self {
            child,
            rtmp: http,
            http,
            https: http,
            internal: http,
            metrics: http,
        })
    }

    /// Starts a media node with one worker.
    pub(crate) fn media_node(cores: &Cores, program: &Program, interval: Interval) -> Result<Self> {
        Self::with_stream_settings(cores, program, &interval.settings())
    }

    /// Starts a media node with one worker and these settings of streams.
    pub(crate) fn with_stream_settings(
        cores: &Cores,
        program: &Program,
        settings: &str,
    ) -> Result<Self> {
        let settings = format!("stream: {{{settings}}}\n");
        Self::start_program(cores, Layout::SERVER, program, &settings)
    }

    /// Starts a media node with its defaults in a control group, with the environment of its image.
    pub(crate) fn in_group(cores: &Cores, program: &Program, group: &MemoryGroup) -> Result<Self> {
        let mut command = group.command(&program.file);
        command.env("MIMALLOC_PURGE_DELAY", "1");
        Self::start(cores, Layout::SERVER, program, "", command)
    }

    /// Starts a media node with one worker that sends every message immediately. Valgrind counts its instructions, and makes it about fifty
    /// times slower.
    pub(crate) fn counted(cores: &Cores, program: &Program) -> Result<Self> {
        let settings = format!("stream: {{{}}}\n", Interval::EveryMessage.settings());
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--tool=cachegrind", "--cache-sim=no"]);
        // Otherwise its threads hand a token over by a pipe, and those writes would be counted.
        command.arg("--fair-sched=yes");
        command.arg(format!(
            "--cachegrind-out-file={}",
            program.counts().display()
        ));
        command.arg(&program.file);
        Self::start(cores, Layout::SERVER, program, &settings, command)
    }

    /// Ends a counted media node. Returns the instructions that it has executed, without those of the kernel.
    pub(crate) fn stop_counting(mut self, program: &Program) -> Result<u64> {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::TERM).context("stop the media node")?;
        self.child.wait()?;
        let counts = program.counts();
        let text = std::fs::read_to_string(&counts);
        let text = text.with_context(|| format!("read {}", counts.display()))?;
        let summary = text.lines().find_map(|line| line.strip_prefix("summary:"));
        let summary = summary.with_context(|| format!("{} has no summary", counts.display()))?;
        summary.trim().parse().context("the number of instructions")
    }

    /// Starts an edge of a media node, with one worker on these cores.
    pub(crate) fn edge(
        cores: &Cores,
        on: CoreSet,
        program: &Program,
        origin: &Self,
    ) -> Result<Self> {
        let origin = origin.internal;
        let settings = format!("role: edge\norigins: {{addresses: [\"{origin}\"]}}\n");
        let layout = Layout { on, workers: 1 };
        Self::start_program(cores, layout, program, &settings)
    }

    /// Starts a media node with so many workers on all cores, those of the load as well.
    pub(crate) fn on_all_cores(
        cores: &Cores,
        program: &Program,
        interval: Interval,
        workers: usize,
    ) -> Result<Self> {
        let settings = format!("stream: {{{}}}\n", interval.settings());
        let layout = Layout::on_all_cores(workers);
        Self::start_program(cores, layout, program, &settings)
    }

    fn start_program(
        cores: &Cores,
        layout: Layout,
        program: &Program,
        settings: &str,
    ) -> Result<Self> {
        let command = Command::new(&program.file);
        Self::start(cores, layout, program, settings, command)
    }

    fn start(
        cores: &Cores,
        layout: Layout,
        program: &Program,
        settings: &str,
        mut command: Command,
    ) -> Result<Self> {
        let [rtmp, rtmps, http, https, internal, metrics] = free_ports()?;
        let name = if settings.starts_with("role") {
            "edge"
        } else {
            "origin"
        };
        let config = program.folder.join(format!("{name}.yaml"));
        let tls = tls::settings(&program.folder)?;
        let workers = layout.workers;
        let text = format!(
            "workers: {workers}\n\
             listen: {{rtmp: \"{rtmp}\", rtmps: \"{rtmps}\", http: \"{http}\", https: \"{https}\", internal: \"{internal}\", metrics: \"{metrics}\"}}\n\
             {tls}\
             limits: {{maxConnections: 1000000, maxConnectionsPerAddress: 0, maxStreamsPerAddress: 0, maxNewConnectionsPerSecondPerAddress: 0, maxStreams: 100000}}\n\
             {settings}"
        );
        std::fs::write(&config, text)?;
        let log = program.folder.join(format!("{name}.log"));
        command.arg("--config").arg(&config);
        command.stderr(std::fs::File::create(&log)?);
        let child = cores.spawn(layout.on, command.stdin(Stdio::null()))?;
        let mut server = Self {
            child,
            rtmp,
            http,
            https,
            internal,
            metrics,
        };
        let deadline = Instant::now() + START;
        while TcpStream::connect(http).is_err() {
            let running = server.assert_running();
            running.with_context(|| format!("its log is {}", log.display()))?;
            ensure!(Instant::now() < deadline, "the media node does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// The id of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it has ended.
    pub(crate) fn assert_running(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the media node ended: {ended:?}");
        Ok(())
    }

    /// Returns the values of metrics without labels.
    pub(crate) fn metrics<const N: usize>(&self, names: [&str; N]) -> Result<[f64; N]> {
        let mut socket = TcpStream::connect(self.metrics)?;
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.metrics
        );
        socket.write_all(request.as_bytes())?;
        let mut response = String::new();
        socket.read_to_string(&mut response)?;
        let value = |name: &str| {
            let mut lines = response.lines();
            lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        let mut values = [0.0; N];
        for (slot, name) in values.iter_mut().zip(names) {
            *slot = value(name).with_context(|| format!("no metric {name}"))?;
        }
        Ok(values)
    }

    /// Where a stream is published.
    pub(crate) fn publish_url(&self, stream: &str) -> String {
        format!("rtmp://{}/live/{stream}", self.rtmp)
    }

    /// Where a stream plays.
    pub(crate) fn play_url(&self, protocol: PlayProtocol, stream: &str) -> String {
        match protocol {
            PlayProtocol::Flv => format!("http://{}/live/{stream}.flv", self.http),
            PlayProtocol::Https => format!("https://{}/live/{stream}.flv", self.https),
            PlayProtocol::WebSocket => format!("ws://{}/live/{stream}.flv", self.http),
            PlayProtocol::Rtmp => self.publish_url(stream),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns ports that are free, below those that the system gives to connections and beside those of `e2e`. No two calls return the same.
fn free_ports<const N: usize>() -> Result<[SocketAddr; N]> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut ports = Vec::new();
    for _ in 0..2_000 {
        // Another run on this host starts at another one.
        let above = (std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed)) % 2_000;
        let port = SocketAddr::from((Ipv4Addr::LOCALHOST, 30_000 + u16::try_from(above)?));
        if TcpListener::bind(port).is_ok() {
            ports.push(port);
        }
        if ports.len() == N {
            break;
        }
    }
    let found = ports.try_into().ok();
    found.context("no free ports between 30000 and 32000")
}
