//! `livecluster local` as its users meet it: the program, its sockets, its signals, its exit codes.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Limit of every wait. Nothing here takes this long, also on a host that runs other builds and tests.
const DEADLINE: Duration = Duration::from_secs(60);
const MANIFEST: &str =
    "apiVersion: livecluster.dev/v1alpha1\nkind: LiveCluster\nmetadata: {name: test}\n";

/// A running `livecluster local`; killed when dropped.
struct Local {
    child: Child,
    ports: Ports,
    /// Where its control socket is.
    runtime: tempfile::TempDir,
}

struct Ports {
    /// Keeps the block of ports from other runs that look for one: it listens on the last port of it.
    _block: TcpListener,
    rtmp: u16,
    http: u16,
    edge_rtmp: u16,
    edge_http: u16,
    internal: u16,
}

impl Ports {
    /// Returns ports that are free until this is dropped.
    fn free() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let is_free = |ports: &Self| {
            // The origin has the internal port and the one of metrics, 100 above it, the edge the next ones.
            let (first, metrics) = (ports.internal, ports.internal + 100);
            [ports.rtmp, ports.http, ports.edge_rtmp, ports.edge_http]
                .into_iter()
                .chain([first, first + 1, metrics, metrics + 1])
                .all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        };
        (0..100)
            .find_map(|_| {
                // Below the ports that the system gives to connections. Another run on this host starts at another one.
                let block = (std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed)) % 50;
                let base = 10_000 + 200 * u16::try_from(block).unwrap();
                let ports = Self {
                    _block: TcpListener::bind(("127.0.0.1", base + 199)).ok()?,
                    rtmp: base,
                    http: base + 1,
                    edge_rtmp: base + 2,
                    edge_http: base + 3,
                    internal: base + 10,
                };
                is_free(&ports).then_some(ports)
            })
            .expect("free ports between 10000 and 20000")
    }

    fn options(&self) -> Vec<String> {
        [
            ("--rtmp-port", self.rtmp),
            ("--http-port", self.http),
            ("--edge-rtmp-port", self.edge_rtmp),
            ("--edge-http-port", self.edge_http),
            ("--internal-port", self.internal),
        ]
        .iter()
        .flat_map(|(option, port)| [(*option).to_owned(), port.to_string()])
        .collect()
    }
}

impl Local {
    /// Starts it and waits until it is ready.
    fn start(spec: &str) -> Self {
        Self::start_logging_to(Stdio::null(), spec)
    }

    fn start_logging_to(stderr: Stdio, spec: &str) -> Self {
        let (ports, file) = (Ports::free(), manifest(spec));
        let runtime = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_livecluster"))
            .args(["local", file.path().to_str().unwrap(), "--demo"])
            .args(ports.options())
            .env("XDG_RUNTIME_DIR", runtime.path())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if line.starts_with("Ready.") {
                    let _ = ready.send(());
                }
            }
        });
        let local = Self {
            child,
            ports,
            runtime,
        };
        is_ready
            .recv_timeout(DEADLINE)
            .expect("it is ready in time");
        local
    }

    /// Runs `livecluster local COMMAND`, as from a second terminal, and returns what it prints.
    fn command(&self, command: &[&str]) -> Result<String, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_livecluster"))
            .arg("local")
            .args(command)
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .output()
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8(output.stderr).unwrap())
        }
    }

    /// Sends a signal and waits for the exit code, for less time than the drain of a Pod takes.
    fn signal(mut self, name: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
        let (done, is_done) = mpsc::channel();
        // A thread waits for the child, so that the test has a time limit; `kill` ends the child in any case.
        let mut child = std::mem::replace(&mut self.child, Command::new("true").spawn().unwrap());
        thread::spawn(move || done.send(child.wait().unwrap().code()));
        match is_done.recv_timeout(DEADLINE) {
            Ok(code) => code,
            Err(_) => {
                let _ = Command::new("kill").args(["-s", "KILL", &pid]).status();
                panic!("it does not end");
            }
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn manifest(spec: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{MANIFEST}spec: {spec}").unwrap();
    file
}

/// Returns the error of `livecluster local` with arguments that it refuses.
fn failure(arguments: &[String]) -> String {
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_livecluster"))
        .arg("local")
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(status.code(), Some(1));
    String::from_utf8(stderr).unwrap()
}

/// A viewer of the demo by HTTP-FLV.
struct Viewer {
    socket: TcpStream,
    /// Bytes behind the header of the response.
    flv: Vec<u8>,
}

impl Viewer {
    fn connect(port: u16) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
            .write_all(b"GET /live/livestream.flv HTTP/1.0\r\n\r\n")
            .unwrap();
        let mut viewer = Self {
            socket,
            flv: Vec::new(),
        };
        while !viewer.flv.windows(4).any(|four| four == b"\r\n\r\n") {
            viewer.read();
        }
        let response = std::mem::take(&mut viewer.flv);
        assert!(response.starts_with(b"HTTP/1.0 200") || response.starts_with(b"HTTP/1.1 200"));
        let end = response.windows(4).position(|four| four == b"\r\n\r\n");
        viewer.flv = response[end.unwrap() + 4..].to_vec();
        viewer
    }

    fn read(&mut self) {
        let mut piece = [0; 4096];
        // A read that has a timeout may be interrupted although the program handles no signal.
        let read = loop {
            match self.socket.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.unwrap(),
            }
        };
        assert!(read > 0, "the stream ends after {} bytes", self.flv.len());
        self.flv.extend_from_slice(&piece[..read]);
    }

    /// Reads on the same connection until there are `bytes` more.
    fn read_more(&mut self, bytes: usize) {
        let enough = self.flv.len() + bytes;
        while self.flv.len() < enough {
            self.read();
        }
    }
}

#[test]
fn demo_plays_and_ctrl_c_ends_it_with_code_0() {
    let local = Local::start("{origins: {replicas: 1}, edges: {replicas: 1}}");
    let mut viewer = Viewer::connect(local.ports.http);
    viewer.read_more(50_000);
    assert!(
        viewer.flv.starts_with(b"FLV\x01\x05"),
        "the header announces video and audio"
    );
    assert_eq!(local.signal("INT"), Some(0));
}

#[test]
fn sigterm_ends_it_with_code_0() {
    let local = Local::start("{edges: {replicas: 0}}");
    assert_eq!(local.signal("TERM"), Some(0));
}

#[test]
fn log_whose_reader_has_ended_changes_nothing() {
    let (reader, log) = std::io::pipe().unwrap();
    drop(reader);
    let local = Local::start_logging_to(log.into(), "{edges: {replicas: 1}}");
    Viewer::connect(local.ports.edge_http).read_more(50_000);
    assert_eq!(local.signal("INT"), Some(0));
}

#[test]
fn port_in_use_is_named_with_the_option_that_changes_it() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut ports = Ports::free();
    ports.edge_http = taken.local_addr().unwrap().port();
    let file = manifest("{edges: {replicas: 1}}");
    let mut arguments = vec![file.path().to_str().unwrap().to_owned()];
    arguments.extend(ports.options());
    let error = failure(&arguments);
    assert!(
        error.starts_with(&format!(
            "error: edge-1: port {} of 127.0.0.1 is in use",
            ports.edge_http
        )) && error.contains("--edge-http-port"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_used_is_named_with_what_changes_it() {
    let listen = failure(&["--listen".to_owned(), "192.0.2.1".to_owned()]);
    assert!(
        listen.starts_with("error: origin-1: cannot listen on 192.0.2.1: choose an address")
            && listen.contains("--listen"),
        "{listen}"
    );
    let file = manifest("{edges: {replicas: 0}}");
    let error_with = |variable, folder| {
        let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_livecluster"))
            .arg("local")
            .arg(file.path())
            .args(Ports::free().options())
            .env(variable, folder)
            .output()
            .unwrap();
        assert_eq!(status.code(), Some(1));
        String::from_utf8(stderr).unwrap()
    };
    for variable in ["TMPDIR", "XDG_RUNTIME_DIR"] {
        let error = error_with(variable, "/dev/null");
        let last = error.lines().last().unwrap();
        let expected = format!("with {variable}: ");
        assert!(
            last.starts_with("error: ") && last.contains(&expected),
            "{error}"
        );
    }
}

#[test]
fn invalid_manifest_is_one_clear_error() {
    let file = manifest("{edges: {replicas: -1}}");
    let path = file.path().to_str().unwrap().to_owned();
    assert_eq!(
        failure(std::slice::from_ref(&path)),
        format!(
            "error: {path}: not a valid LiveCluster: spec.edges.replicas: -1 is not allowed, must be a whole number: 0 to \
             1000\n"
        )
    );
    assert_eq!(
        failure(&["nowhere.yaml".to_owned()]),
        "error: nowhere.yaml: cannot be read: No such file or directory (os error 2)\n"
    );
}

#[test]
fn viewer_of_an_edge_survives_stop_and_start_of_the_origin() {
    let local = Local::start("{origins: {replicas: 1}, edges: {replicas: 1}}");
    let mut viewer = Viewer::connect(local.ports.edge_http);
    viewer.read_more(50_000);
    for stop in [
        ["stop", "origin-1"].as_slice(),
        &["stop", "origin-1", "--now"],
    ] {
        assert_eq!(local.command(stop), Ok("origin-1 stopped\n".to_owned()));
        let list = local.command(&["list"]).unwrap();
        let states: Vec<_> = list.split_whitespace().collect();
        assert_eq!(states, ["origin-1", "stopped", "edge-1", "running"]);
        assert!(TcpStream::connect(("127.0.0.1", local.ports.rtmp)).is_err());

        let started = local.command(&["start", "origin-1"]);
        assert_eq!(started, Ok("origin-1 started\n".to_owned()));
        // More than the edge had before the origin was stopped.
        viewer.read_more(150_000);
    }
    assert_eq!(local.signal("INT"), Some(0));
}

#[test]
fn command_for_an_instance_that_does_not_exist_names_those_that_do() {
    let local = Local::start("{edges: {replicas: 1}}");
    let error = |command: &[&str]| local.command(command).unwrap_err();
    assert_eq!(
        error(&["stop", "edge-2"]),
        "error: edge-2 is no instance, choose one of origin-1, edge-1\n"
    );
    assert_eq!(
        error(&["start", "edge-1"]),
        "error: edge-1 is already running\n"
    );
    assert_eq!(
        error(&["stop", "edge-1", "--rtmp-port", "1"]),
        "error: no `livecluster local` with RTMP port 1 is running\n"
    );
}

#[test]
fn command_without_a_running_cluster_is_one_clear_error() {
    let runtime = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_livecluster"))
        .args(["local", "stop", "origin-1"])
        .env("XDG_RUNTIME_DIR", runtime.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: no `livecluster local` is running\n"
    );
}
