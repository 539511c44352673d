//! A media node in a process of its own.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{eventually, request};

/// Any free port. One that is chosen here could be taken before the media node opens it.
const ANY: &str = "\"127.0.0.1:0\"";

/// In the line that a media node logs when all of its ports are open.
const SERVING: &str = "serving";

/// A media node in a process of its own, whose memory can be measured.
pub(crate) struct Process {
    child: Child,
    folder: tempfile::TempDir,
    pub(crate) rtmp: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Open where the configuration has `tls`.
    pub(crate) https: Option<SocketAddr>,
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
        let encrypted = if lines.contains("tls:") {
            format!(", rtmps: {ANY}, https: {ANY}")
        } else {
            String::new()
        };
        let stream = if lines.contains("stream:") {
            ""
        } else {
            "stream: {playWaitSeconds: 60, continuitySeconds: 1}"
        };
        let config = folder.path().join("config.yaml");
        let mut file = std::fs::File::create(&config).expect("a file");
        writeln!(
            file,
            "listen: {{rtmp: {ANY}, http: {ANY}{encrypted}, internal: {ANY}, metrics: {ANY}}}\n\
             {stream}\n\
             # Attackers and viewers have one address here.\n\
             limits: {{maxNewConnectionsPerSecondPerAddress: 0{limits}}}\n\
             {lines}"
        )
        .expect("the configuration");
        let log_path = folder.path().join("log");
        let log = std::fs::File::create(&log_path).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_media-node"))
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the media node starts");
        let read_log = || std::fs::read_to_string(&log_path).expect("a log");
        eventually("the media node", async || read_log().contains(SERVING)).await;
        let log = read_log();
        let address = |port| address_of(port, &log).expect("the port is open");
        Self {
            rtmp: address("rtmp"),
            http: address("http"),
            https: address_of("https", &log),
            internal: address("internal"),
            metrics: address("metrics"),
            child,
            folder,
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

    /// The time that its threads have run.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("the process runs");
        // Behind the program's name in parentheses: the 14th and 15th field of all, in hundredths of a second.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let fields = fields.split_whitespace().skip(11).take(2);
        let ticks = fields.map(|ticks| ticks.parse::<u64>().expect("a number"));
        Duration::from_millis(10 * ticks.sum::<u64>())
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
        self.signal(if is_hung { "-STOP" } else { "-CONT" });
    }

    /// Sends it a signal, such as `-HUP`.
    pub(crate) fn signal(&self, signal: &str) {
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
        if std::thread::panicking() {
            // It may say why the test fails.
            eprintln!("log of {}:\n{}", self.internal, self.log());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns the address of a port, from the line that a media node logs when all of them are open, as text or as JSON.
fn address_of(port: &str, log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains(SERVING))?;
    let names = [format!(" {port}="), format!("\"{port}\":\"")];
    let mut found = names.iter().filter_map(|name| line.split_once(name));
    let mut words = found.next()?.1.split([' ', '"']);
    words.find(|word| !word.is_empty())?.parse().ok()
}
