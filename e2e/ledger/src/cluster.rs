//! A cluster of media nodes: processes in networks of their own.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::certificate::CertificateFiles;
use e2e::cluster::Reach;
use e2e::process::{self, Process};
use e2e::wait::eventually;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::audience::EdgeReach;
use super::dns::{NameServer, ServiceName};
use super::network::{IpVersion, NodeNetwork};

/// The programs of a run, and where their logs go.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) media_node: PathBuf,
    pub(crate) other_node: Option<PathBuf>,
    pub(crate) out: PathBuf,
}

/// Which release a media node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeRelease {
    This,
    Other,
}

/// What a cluster is like at first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClusterSetup {
    /// How many origins it has. Their numbers come before those of the edges.
    pub(crate) origins: usize,
    pub(crate) origin_release: NodeRelease,
    pub(crate) edge_release: NodeRelease,
    /// `stream.duplicatePublish` of all media nodes.
    pub(crate) duplicate_publish: &'static str,
    /// `limits` of all media nodes.
    pub(crate) limits: &'static str,
    /// `drain.timeoutSeconds` of all media nodes.
    pub(crate) drain_seconds: u32,
    pub(crate) ip: IpVersion,
}

/// Two origins of this release, which let an encoder take over from another one.
pub(crate) const TWO_ORIGINS: ClusterSetup = ClusterSetup {
    origins: 2,
    origin_release: NodeRelease::This,
    edge_release: NodeRelease::This,
    duplicate_publish: "takeover",
    limits: "{}",
    drain_seconds: 5,
    ip: IpVersion::V4,
};

/// Each has viewers.
pub(crate) const EDGES: usize = 3;

/// A running cluster of origins and three edges.
pub(crate) struct ProcessCluster {
    setup: ClusterSetup,
    programs: Programs,
    certificate: CertificateFiles,
    folder: PathBuf,
    token: String,
    dns: ServiceName,
    nodes: Vec<MediaNode>,
}

struct MediaNode {
    name: String,
    network: NodeNetwork,
    release: NodeRelease,
    process: Option<Process>,
}

impl ProcessCluster {
    /// Starts a cluster. Its name is that of the folder of its logs.
    pub(crate) async fn start(
        name: &str,
        programs: &Programs,
        dns: &NameServer,
        setup: ClusterSetup,
    ) -> Result<Self> {
        let folder = programs.out.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).context("empty the row's folder")?;
        }
        std::fs::create_dir_all(&folder).context("create the row's folder")?;
        std::fs::write(
            folder.join("secret"),
            "the secret of a cluster that no other one reaches\n",
        )?;
        let mut cluster = Self {
            setup,
            certificate: make_certificate(&folder).await?,
            programs: programs.clone(),
            token: String::new(),
            dns: dns.add(name),
            nodes: Vec::new(),
            folder,
        };
        for number in 0..setup.origins + EDGES {
            let (name, release) = match number.checked_sub(setup.origins) {
                None => (format!("origin-{}", number + 1), setup.origin_release),
                Some(edge) => (format!("edge-{}", edge + 1), setup.edge_release),
            };
            cluster.nodes.push(MediaNode {
                name,
                network: new_network(setup.ip).await?,
                release,
                process: None,
            });
        }
        cluster.publish_name();
        for number in cluster.all() {
            cluster.run(number, cluster.release(number))?;
        }
        for number in cluster.all() {
            cluster.ready(number).await?;
        }
        let mut command = tokio::process::Command::new(&programs.media_node);
        command
            .args(["--api-token", "--config"])
            .arg(cluster.config(0)?);
        let token = process::finish(&mut command, "").await?.success()?;
        token.trim().clone_into(&mut cluster.token);
        Ok(cluster)
    }

    /// Replaces the certificate of all media nodes.
    pub(crate) async fn replace_certificate(&self) -> Result<()> {
        make_certificate(&self.folder).await.map(drop)
    }

    /// Ends all processes and removes their networks.
    pub(crate) async fn end(mut self) -> Result<()> {
        for node in self.nodes.drain(..) {
            if let Some(mut process) = node.process {
                process.signal(Signal::KILL)?;
                process.exit(Duration::from_secs(5)).await?;
            }
            node.network.remove().await?;
        }
        Ok(())
    }

    /// Returns the numbers of all media nodes.
    pub(crate) fn all(&self) -> Range<usize> {
        0..self.nodes.len()
    }

    /// Returns the numbers of the origins.
    pub(crate) fn origins(&self) -> Range<usize> {
        0..self.setup.origins
    }

    /// Returns the numbers of the edges.
    pub(crate) fn edges(&self) -> Range<usize> {
        self.setup.origins..self.nodes.len()
    }

    /// Returns where to publish and play.
    pub(crate) fn reach(&self, node: usize) -> Reach {
        let port = |port| SocketAddr::new(self.address(node), port).to_string();
        Reach {
            rtmp: port(1935),
            http: port(8080),
            rtmps: Some(port(1936)),
            https: Some(port(8443)),
        }
    }

    /// Returns where clients reach the edges. Those of one that is lost go to the next one, as those of a load balancer.
    pub(crate) fn reach_edges(&self) -> Vec<EdgeReach> {
        let edges: Vec<Reach> = self.edges().map(|edge| self.reach(edge)).collect();
        let each = edges.iter().enumerate().map(|(number, edge)| {
            let next = edges.iter().cycle().skip(number + 1).take(edges.len());
            EdgeReach {
                edge: edge.clone(),
                next: next.cloned().collect(),
            }
        });
        each.collect()
    }

    /// Returns the folder of its logs.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn network(&self, node: usize) -> &NodeNetwork {
        &self.nodes[node].network
    }

    /// Returns the release that a media node has.
    pub(crate) fn release(&self, node: usize) -> NodeRelease {
        self.nodes[node].release
    }

    pub(crate) fn dns(&self) -> &ServiceName {
        &self.dns
    }

    pub(crate) fn address(&self, node: usize) -> IpAddr {
        self.nodes[node].network.address
    }

    /// Gives the addresses of the origins to the name server.
    pub(crate) fn publish_name(&self) {
        let origins = self.origins().map(|origin| self.address(origin));
        self.dns.set_origins(origins.collect());
    }

    /// Writes the configuration of a media node.
    fn config(&self, number: usize) -> Result<PathBuf> {
        let name = &self.nodes[number].name;
        let is_origin = self.origins().contains(&number);
        let role = if is_origin { "origin" } else { "edge" };
        let absolute = |file: &Path| anyhow::Ok(std::path::absolute(file)?.display().to_string());
        let text = format!(
            "name: {name}\nrole: {role}\nworkers: 1\norigins: {{service: {}}}\n\
             identity: {{secretFile: {}}}\ntls: {{certificate: {}, key: {}}}\n\
             stream: {{duplicatePublish: {}}}\nlimits: {}\ndrain: {{acceptSeconds: 1, timeoutSeconds: {}}}\n",
            self.dns.name,
            absolute(&self.folder.join("secret"))?,
            absolute(&self.certificate.certificate)?,
            absolute(&self.certificate.key)?,
            self.setup.duplicate_publish,
            self.setup.limits,
            self.setup.drain_seconds,
        );
        let file = self.folder.join(format!("{name}.yaml"));
        std::fs::write(&file, text).context("write a configuration")?;
        Ok(file)
    }

    /// Starts the process of a media node.
    fn run(&mut self, number: usize, release: NodeRelease) -> Result<()> {
        let program: &Path = match release {
            NodeRelease::This => &self.programs.media_node,
            NodeRelease::Other => self
                .programs
                .other_node
                .as_deref()
                .context("--other-node")?,
        };
        let config = self.config(number)?;
        let node = &mut self.nodes[number];
        let starts = STARTS.fetch_add(1, Ordering::Relaxed);
        let mut command = node.network.command(program);
        command.arg("--config").arg(config);
        let log = format!("{}-{starts}", node.name);
        node.release = release;
        node.process = Some(Process::start(&log, &mut command, &self.folder)?);
        Ok(())
    }

    /// Waits until a media node can serve.
    pub(crate) async fn ready(&self, number: usize) -> Result<()> {
        let expected = format!("{} is ready", self.nodes[number].name);
        eventually(&expected, Duration::from_secs(10), || async {
            self.get(number, "/readyz").await.map(drop)
        })
        .await
    }

    pub(crate) fn runs(&mut self, number: usize) -> bool {
        let process = self.nodes[number].process.as_mut();
        process.is_some_and(Process::is_running)
    }

    /// Starts a process again if it has ended.
    pub(crate) fn start_again(&mut self, number: usize) -> Result<()> {
        if self.runs(number) {
            return Ok(());
        }
        self.run(number, self.release(number))
    }

    /// Ends a process and starts it again. Waits until it is ready.
    pub(crate) async fn restart(&mut self, number: usize, release: NodeRelease) -> Result<()> {
        self.nodes[number].process = None;
        self.run(number, release)?;
        self.ready(number).await
    }

    /// Drains a media node and waits for its end.
    pub(crate) async fn drain(&mut self, number: usize) -> Result<()> {
        self.signal(number, Signal::TERM)?;
        self.drained(number).await
    }

    /// Waits for the end of a media node that drains.
    pub(crate) async fn drained(&mut self, number: usize) -> Result<()> {
        let limit = Duration::from_secs(15 + u64::from(self.setup.drain_seconds));
        let process = self.nodes[number].process.as_mut().context("it runs")?;
        process.success(limit).await
    }

    /// Kills a process.
    pub(crate) async fn kill(&mut self, number: usize) -> Result<()> {
        self.signal(number, Signal::KILL)?;
        let process = self.nodes[number].process.as_mut().context("it runs")?;
        process.exit(Duration::from_secs(5)).await?;
        self.nodes[number].process = None;
        Ok(())
    }

    /// Replaces a media node by one with another address.
    pub(crate) async fn replace(&mut self, number: usize) -> Result<()> {
        self.renumber(number).await?;
        self.publish_name();
        self.restart(number, self.release(number)).await
    }

    /// Replaces a media node by one with an address that the name server does not have yet.
    pub(crate) async fn replace_unnamed(&mut self, number: usize) -> Result<()> {
        self.renumber(number).await?;
        self.restart(number, self.release(number)).await
    }

    async fn renumber(&mut self, number: usize) -> Result<()> {
        let network = new_network(self.setup.ip).await?;
        let before = std::mem::replace(&mut self.nodes[number].network, network);
        before.remove().await
    }

    pub(crate) fn signal(&self, number: usize, signal: Signal) -> Result<()> {
        let process = self.nodes[number].process.as_ref().context("it runs")?;
        process.signal(signal)
    }

    /// Returns the origin that a stream is forwarded to.
    pub(crate) async fn carrier(&self, stream: &str) -> Result<usize> {
        eventually(
            "an origin carries the stream",
            Duration::from_secs(10),
            || async {
                for number in self.origins() {
                    let Ok(streams) = self.get(number, "/api/v1/streams").await else {
                        continue;
                    };
                    let streams: serde_json::Value = serde_json::from_str(&streams)?;
                    let carries = streams.as_array().into_iter().flatten().any(|it| {
                        let name = it["name"].as_str();
                        let source = it["publication"]["source"].as_str();
                        source == Some("forwarded")
                            && name.is_some_and(|name| stream.ends_with(name))
                    });
                    if carries {
                        return Ok(number);
                    }
                }
                bail!("no origin has {stream}")
            },
        )
        .await
    }

    async fn get(&self, number: usize, path: &str) -> Result<String> {
        let address = SocketAddr::new(self.address(number), 9090);
        let mut socket = TcpStream::connect(address).await?;
        let token = &self.token;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        socket.read_to_string(&mut response).await?;
        match response.split_once("\r\n\r\n") {
            Some((header, body)) if header.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
            _ => bail!("{path} of {address}: {response:?}"),
        }
    }
}

/// Makes a certificate. Viewers do not check which address it is for.
async fn make_certificate(folder: &Path) -> Result<CertificateFiles> {
    CertificateFiles::make(folder, "certificate", &IpVersion::V4.own().to_string()).await
}

async fn new_network(ip: IpVersion) -> Result<NodeNetwork> {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    NodeNetwork::create(NEXT.fetch_add(1, Ordering::Relaxed), ip).await
}

/// Each start of a process has a log of its own.
static STARTS: AtomicU16 = AtomicU16::new(1);
