//! Nodes started by `operator local`, on ports that are free.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::stage::Stage;
use crate::media::process::{Process, Signal};

/// A running `operator local`.
#[derive(Debug)]
pub struct Nodes {
    /// The process that all nodes are in.
    pub process: Process,
    /// Origins first, then edges.
    pub all: Vec<Node>,
}

/// One of the nodes.
#[derive(Clone, Debug)]
pub struct Node {
    /// `origin-1`, `edge-2`.
    pub name: String,
    rtmp: u16,
    http: u16,
    internal: u16,
}

impl Node {
    /// Where to publish and play: `rtmp://127.0.0.1:1935/live/livestream`.
    pub fn rtmp(&self, stream: &str) -> String {
        format!("rtmp://127.0.0.1:{}/{stream}", self.rtmp)
    }

    /// Where to play: `http://127.0.0.1:8080/live/livestream.flv`.
    pub fn http(&self, stream: &str) -> String {
        format!("http://127.0.0.1:{}/{stream}.flv", self.http)
    }

    /// The player page.
    pub fn page(&self) -> String {
        format!("http://127.0.0.1:{}/", self.http)
    }

    /// Something on the internal port: `/metrics`.
    pub fn internal(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.internal)
    }

    /// `127.0.0.1:1935`
    pub fn rtmp_address(&self) -> (Ipv4Addr, u16) {
        (Ipv4Addr::LOCALHOST, self.rtmp)
    }

    /// `127.0.0.1:8080`
    pub fn http_address(&self) -> (Ipv4Addr, u16) {
        (Ipv4Addr::LOCALHOST, self.http)
    }
}

/// Nodes are up within this time.
const START: Duration = Duration::from_secs(20);

impl Nodes {
    /// Starts nodes; `stream` are settings of the manifest's `spec.stream`, as YAML's flow mapping without its braces.
    pub async fn start(stage: &Stage, origins: usize, edges: usize, stream: &str) -> Result<Self> {
        let manifest = stage.folder().join("cluster.yaml");
        let text = format!(
            "apiVersion: livecluster.dev/v1alpha1\nkind: LiveCluster\nmetadata: {{name: interop}}\nspec:\n  \
             origins: {{replicas: {origins}}}\n  edges: {{replicas: {edges}}}\n  stream: {{{stream}}}\n"
        );
        std::fs::write(&manifest, text).context("write the manifest")?;
        let ports = free_ports(3 * (origins + edges))?;
        let names = (1..=origins).map(|number| format!("origin-{number}"));
        let names = names.chain((1..=edges).map(|number| format!("edge-{number}")));
        let all: Vec<Node> = names
            .zip(ports.chunks_exact(3))
            .map(|(name, ports)| Node {
                name,
                rtmp: ports[0],
                http: ports[1],
                internal: ports[2],
            })
            .collect();
        let mut command = Command::new(stage.tools.binaries.join("operator"));
        command.arg("local").arg(&manifest);
        let mut process = Process::start("nodes", &mut command, stage.folder())?;
        process.prints("ready", START).await?;
        Ok(Self { process, all })
    }

    /// The first origin.
    pub fn origin(&self) -> &Node {
        &self.all[0]
    }

    /// Stops them as Ctrl-C does; they have to end well.
    pub async fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::Interrupt)?;
        self.process.success(Duration::from_secs(30)).await
    }
}

/// Ports that nobody had a moment ago.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port");
    // All are held until the last is found, so that none is found twice.
    let listeners: Vec<TcpListener> = (0..count).map(bind).collect::<Result<_>>()?;
    listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}
