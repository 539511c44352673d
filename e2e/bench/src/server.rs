//! Servers under test: the floor, a media node, and any other by its URLs.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cores::Cores;

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
    fn settings(self) -> String {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Flv,
    WebSocket,
    Rtmp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Flv => "HTTP-FLV",
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

/// A process on the server's core. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    rtmp: SocketAddr,
    http: SocketAddr,
    internal: SocketAddr,
}

impl Server {
    /// Starts the floor.
    pub(crate) fn floor(cores: &Cores, interval: Interval) -> Result<Self> {
        let milliseconds = match interval {
            Interval::Milliseconds(milliseconds) => milliseconds,
            _ => 0,
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor", &milliseconds.to_string()]);
        let mut child = cores.spawn_server(command.stdout(Stdio::piped()))?;
        let mut port = String::new();
        let output = child.stdout.take().context("the floor's output")?;
        BufReader::new(output).read_line(&mut port)?;
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, port.trim().parse()?));
        Ok(Self {
            child,
            rtmp: http,
            http,
            internal: http,
        })
    }

    /// Starts a media node with one worker.
    pub(crate) fn media_node(cores: &Cores, program: &Program, interval: Interval) -> Result<Self> {
        let settings = format!("stream: {{{}}}\n", interval.settings());
        Self::start(cores, program, &settings)
    }

    /// Starts an edge of a media node.
    pub(crate) fn edge(cores: &Cores, program: &Program, origin: &Self) -> Result<Self> {
        let origin = origin.internal;
        let settings = format!("role: edge\norigins: {{addresses: [\"{origin}\"]}}\n");
        Self::start(cores, program, &settings)
    }

    fn start(cores: &Cores, program: &Program, settings: &str) -> Result<Self> {
        let [rtmp, http, internal] = free_ports()?;
        let name = if settings.starts_with("role") {
            "edge"
        } else {
            "origin"
        };
        let config = program.folder.join(format!("{name}.yaml"));
        let text = format!(
            "workers: 1\nlisten: {{rtmp: \"{rtmp}\", http: \"{http}\", internal: \"{internal}\"}}\n\
             limits: {{maxConnections: 1000000, maxConnectionsPerAddress: 0, maxNewConnectionsPerSecondPerAddress: 0, maxStreams: 100000}}\n\
             {settings}"
        );
        std::fs::write(&config, text)?;
        let log = std::fs::File::create(program.folder.join(format!("{name}.log")))?;
        let mut command = Command::new(&program.file);
        command.arg("--config").arg(&config).stderr(log);
        let child = cores.spawn_server(command.stdin(Stdio::null()))?;
        let mut server = Self {
            child,
            rtmp,
            http,
            internal,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(http).is_err() {
            let ended = server.child.try_wait()?;
            ensure!(ended.is_none(), "the media node ended: {ended:?}");
            ensure!(Instant::now() < deadline, "the media node does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// The id of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Where a stream is published.
    pub(crate) fn publish_url(&self, stream: &str) -> String {
        format!("rtmp://{}/live/{stream}", self.rtmp)
    }

    /// Where a stream plays.
    pub(crate) fn play_url(&self, protocol: Protocol, stream: &str) -> String {
        match protocol {
            Protocol::Flv => format!("http://{}/live/{stream}.flv", self.http),
            Protocol::WebSocket => format!("ws://{}/live/{stream}.flv", self.http),
            Protocol::Rtmp => self.publish_url(stream),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_ports() -> Result<[SocketAddr; 3]> {
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    }
    let addresses: Result<Vec<_>, _> = listeners.iter().map(TcpListener::local_addr).collect();
    addresses?.try_into().ok().context("three ports")
}
