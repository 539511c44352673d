//! Instances of media nodes that `livecluster local` runs, on free ports.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::certificate::CertificateFiles;
use crate::process::{Process, finish};
use crate::stage::Stage;

/// A running `livecluster local` with one origin and two edges.
#[derive(Debug)]
pub struct Instances {
    process: Process,
    program: PathBuf,
    /// Keeps their block of ports from other programs that look for one.
    _block: TcpListener,
    /// `origin-1`, `edge-1`, `edge-2`.
    pub all: [Instance; 3],
}

/// One instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// `origin-1`, `edge-2`.
    pub name: &'static str,
    rtmp: u16,
    http: u16,
    rtmps: u16,
    https: u16,
    internal: u16,
}

impl Instance {
    fn is_free(&self) -> bool {
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        // The metrics port is 100 above the internal one.
        let metrics = self.internal + 100;
        let ports = [
            self.rtmp,
            self.http,
            self.rtmps,
            self.https,
            self.internal,
            metrics,
        ];
        ports.into_iter().all(free)
    }

    /// Where to publish and play: `rtmp://127.0.0.1:1935/live/livestream`.
    pub fn rtmp(&self, stream: &str) -> String {
        format!("rtmp://127.0.0.1:{}/{stream}", self.rtmp)
    }

    /// Where to play: `http://127.0.0.1:8080/live/livestream.flv`.
    pub fn http(&self, stream: &str) -> String {
        format!("{}{stream}.flv", self.page())
    }

    /// Where to publish and play by TLS: `rtmps://127.0.0.1:1936/live/livestream`.
    pub fn rtmps(&self, stream: &str) -> String {
        format!("rtmps://127.0.0.1:{}/{stream}", self.rtmps)
    }

    /// Where to play by TLS: `https://127.0.0.1:8443/live/livestream.flv`.
    pub fn https(&self, stream: &str) -> String {
        format!("{}{stream}.flv", self.https_page())
    }

    /// The player page by TLS.
    pub fn https_page(&self) -> String {
        format!("https://127.0.0.1:{}/", self.https)
    }

    /// The player page.
    pub fn page(&self) -> String {
        format!("http://127.0.0.1:{}/", self.http)
    }
}

impl Instances {
    /// Starts one origin and two edges. `stream` are settings of `spec.stream`, as a YAML flow mapping without its braces.
    pub async fn start(stage: &Stage, stream: &str) -> Result<Self> {
        Self::start_with(stage, stream, None).await
    }

    /// Starts them with ports with TLS as well.
    pub async fn start_with_tls(
        stage: &Stage,
        stream: &str,
        certificate: &CertificateFiles,
    ) -> Result<Self> {
        Self::start_with(stage, stream, Some(certificate)).await
    }

    async fn start_with(
        stage: &Stage,
        stream: &str,
        certificate: Option<&CertificateFiles>,
    ) -> Result<Self> {
        let manifest = stage.folder().join("cluster.yaml");
        let text = format!(
            "apiVersion: livecluster.dev/v1alpha1\nkind: LiveCluster\nmetadata: {{name: interop}}\nspec:\n  \
             origins: {{replicas: 1}}\n  edges: {{replicas: 2}}\n  stream: {{{stream}}}\n"
        );
        std::fs::write(&manifest, text).context("write the manifest")?;
        let (block, all) = free_ports()?;
        let [origin, edge, _] = &all;
        let program = stage.tools.binaries.join("livecluster");
        let mut command = Command::new(&program);
        command.arg("local").arg(&manifest);
        command.args(["--listen", "127.0.0.1"]);
        for (option, port) in [
            ("--rtmp-port", origin.rtmp),
            ("--http-port", origin.http),
            ("--internal-port", origin.internal),
            ("--edge-rtmp-port", edge.rtmp),
            ("--edge-http-port", edge.http),
            ("--rtmps-port", origin.rtmps),
            ("--https-port", origin.https),
            ("--edge-rtmps-port", edge.rtmps),
            ("--edge-https-port", edge.https),
        ] {
            command.args([option, &port.to_string()]);
        }
        if let Some(CertificateFiles { certificate, key }) = certificate {
            command.arg("--tls").arg(certificate).arg(key);
        }
        let mut process = Process::start("instances", &mut command, stage.folder())?;
        process.prints("Ready.", Duration::from_secs(60)).await?;
        Ok(Self {
            process,
            program,
            _block: block,
            all,
        })
    }

    /// The origin.
    pub fn origin(&self) -> &Instance {
        &self.all[0]
    }

    /// Stops an instance without a drain, as a crash does.
    pub async fn kill(&self, instance: &Instance) -> Result<()> {
        self.control(&["stop", instance.name, "--now"]).await
    }

    /// Starts an instance again.
    pub async fn start_again(&self, instance: &Instance) -> Result<()> {
        self.control(&["start", instance.name]).await
    }

    async fn control(&self, command: &[&str]) -> Result<()> {
        let mut program = Command::new(&self.program);
        program.arg("local").args(command);
        program.args(["--rtmp-port", &self.origin().rtmp.to_string()]);
        finish(&mut program, "").await?.success().map(drop)
    }

    /// Stops them as Ctrl-C does, and fails unless they ran until now and end well.
    pub async fn stop(mut self) -> Result<()> {
        let output = self.process.output();
        let last = self.process.last_output();
        ensure!(self.process.is_running(), "the instances ended{last}");
        ensure!(!output.contains("panicked"), "an instance panicked{last}");
        self.process.interrupt()?;
        self.process.success(Duration::from_secs(30)).await
    }
}

/// Returns instances on ports that are free, in the order in which `livecluster local` counts them, and what keeps these ports from other
/// callers: its own port, which is the last one of a block, is open in one program at a time.
fn free_ports() -> Result<(TcpListener, [Instance; 3])> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..100 {
        // Below the ports that the system gives to connections. Another run on this host starts at another one.
        let block = (std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed)) % 50;
        let base = u16::try_from(20_000 + block * 200)?;
        let Ok(block) = TcpListener::bind((Ipv4Addr::LOCALHOST, base + 199)) else {
            continue;
        };
        let instance = |name, [rtmp, http, rtmps, https, internal]: [u16; 5]| Instance {
            name,
            rtmp: base + rtmp,
            http: base + http,
            rtmps: base + rtmps,
            https: base + https,
            internal: base + internal,
        };
        let all = [
            instance("origin-1", [0, 1, 2, 3, 70]),
            instance("edge-1", [10, 40, 20, 50, 71]),
            instance("edge-2", [11, 41, 21, 51, 72]),
        ];
        if all.iter().all(Instance::is_free) {
            return Ok((block, all));
        }
    }
    bail!("no free ports between 20000 and 30000")
}
