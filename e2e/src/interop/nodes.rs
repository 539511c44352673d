//! Nodes started by `livecluster local`, on ports that are free.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::stage::Stage;
use crate::media::process::{Process, Signal};

/// A running `livecluster local`.
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
    fn is_free(&self) -> bool {
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        [self.rtmp, self.http, self.internal].into_iter().all(free)
    }

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
        let all = free_nodes(origins, edges)?;
        let mut command = Command::new(stage.tools.binaries.join("livecluster"));
        command
            .arg("local")
            .arg(&manifest)
            .args(options(&all, origins));
        let mut process = Process::start("nodes", &mut command, stage.folder())?;
        process.prints("Ready.", START).await?;
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

/// The options of `livecluster local` that put the nodes there.
fn options(nodes: &[Node], origins: usize) -> Vec<String> {
    let mut options = vec!["--listen".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
    let mut add =
        |name: &str, port: u16| options.extend([format!("--{name}-port"), port.to_string()]);
    if let Some(origin) = nodes.first() {
        add("rtmp", origin.rtmp);
        add("http", origin.http);
        add("internal", origin.internal);
    }
    if let Some(edge) = nodes.get(origins) {
        add("edge-rtmp", edge.rtmp);
        add("edge-http", edge.http);
    }
    options
}

/// Ports that nobody had a moment ago, in the order in which `livecluster local` counts them.
fn free_nodes(origins: usize, edges: usize) -> Result<Vec<Node>> {
    // Below the ports that the system gives to connections. Another run beside this one begins elsewhere.
    let first = 20_000 + (std::process::id() % 100) * 100;
    let blocks = (0..100).map(|block| 20_000 + (first - 20_000 + block * 100) % 10_000);
    for base in blocks.filter_map(|base| u16::try_from(base).ok()) {
        let origin = |number: u16| Node {
            name: format!("origin-{}", number + 1),
            rtmp: base + number * 100,
            http: base + number * 100 + 1,
            internal: base + 70 + number,
        };
        let edge = |number: u16| Node {
            name: format!("edge-{}", number + 1),
            rtmp: base + 10 + number,
            http: base + 40 + number,
            internal: base + 70 + u16::try_from(origins).unwrap_or_default() + number,
        };
        let count = |count: usize| u16::try_from(count).context("too many nodes");
        let all: Vec<Node> = (0..count(origins)?)
            .map(origin)
            .chain((0..count(edges)?).map(edge))
            .collect();
        if all.iter().all(Node::is_free) {
            return Ok(all);
        }
    }
    bail!("no free ports between 20000 and 30000")
}
