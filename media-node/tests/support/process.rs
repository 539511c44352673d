//! A media node in a process of its own.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tokio::net::TcpStream;

use super::{eventually, request};

/// A media node in a process of its own, whose memory can be measured.
pub(crate) struct Process {
    child: Child,
    folder: tempfile::TempDir,
    pub(crate) rtmp: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Open where the configuration has `tls`.
    pub(crate) https: SocketAddr,
    pub(crate) internal: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl Process {
    /// Starts a media node with further limits, such as `, maxStreams: 9`.
    pub(crate) async fn start(limits: &str) -> Self {
        Self::start_with(limits, "").await
    }

    /// Starts a media node with further limits, and further lines of its configuration.
    pub(crate) async fn start_with(limits: &str, lines: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [rtmp, http, rtmps, https, internal, metrics] = std::array::from_fn(|_| free());
        let encrypted = match lines.contains("tls:") {
            true => format!(", rtmps: \"{rtmps}\", https: \"{https}\""),
            false => String::new(),
        };
        let stream = match lines.contains("stream:") {
            true => "",
            false => "stream: {playWaitSeconds: 5, continuitySeconds: 1}",
        };
        let config = folder.path().join("config.yaml");
        let mut file = std::fs::File::create(&config).expect("a file");
        writeln!(
            file,
            "listen: {{rtmp: \"{rtmp}\", http: \"{http}\"{encrypted}, internal: \"{internal}\", metrics: \"{metrics}\"}}\n\
             {stream}\n\
             # Attackers and viewers have one address here.\n\
             limits: {{maxNewConnectionsPerSecondPerAddress: 0{limits}}}\n\
             {lines}"
        )
        .expect("the configuration");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_media-node"))
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the media node starts");
        eventually("the media node", async || {
            TcpStream::connect(rtmp).await.is_ok()
        })
        .await;
        Self {
            child,
            folder,
            rtmp,
            http,
            https,
            internal,
            metrics,
        }
    }

    /// Bytes of resident memory.
    pub(crate) fn memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.expect("VmRSS").trim().trim_end_matches(" kB");
        kibibytes.parse::<u64>().expect("a number") << 10
    }

    /// Returns the value of a metric, `NAME{LABEL="VALUE"}`.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let metrics = request(self.metrics, "GET", "/metrics").await;
        let mut lines = metrics.text().lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.expect("the metric").parse().expect("a number")
    }

    /// Returns what it has logged.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log"));
        log.expect("a log")
    }

    /// Stops it, with its connections open, or lets it go on.
    pub(crate) fn hang(&self, is_hung: bool) {
        let signal = if is_hung { "-STOP" } else { "-CONT" };
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill").success());
    }

    /// Fails when it has ended or panicked.
    pub(crate) fn assert_healthy(&mut self) {
        let log = self.log();
        let ended = self.child.try_wait().expect("a process");
        assert!(ended.is_none(), "it ended with {ended:?}: {log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that is free, on a loopback address.
fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}
