//! `livecluster local` as a user meets it: the program, its sockets, its signals, its exit codes.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);
const MANIFEST: &str =
    "apiVersion: livecluster.dev/v1alpha1\nkind: LiveCluster\nmetadata: {name: test}\n";

/// A running `livecluster local` of one origin and one edge; killed when dropped.
struct Local {
    child: Child,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    rtmp: u16,
    http: u16,
    edge_rtmp: u16,
    edge_http: u16,
    internal: u16,
}

impl Ports {
    /// Ports that were free a moment ago; the internal one with the next one, which the edge takes.
    fn free() -> Self {
        let open = |port| TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let held: Vec<TcpListener> = (0..4).map(|_| open(0)).collect();
        let internal = (0..100)
            .map(|_| port(&open(0)))
            .find(|first| TcpListener::bind(("127.0.0.1", first + 1)).is_ok())
            .unwrap();
        Self {
            rtmp: port(&held[0]),
            http: port(&held[1]),
            edge_rtmp: port(&held[2]),
            edge_http: port(&held[3]),
            internal,
        }
    }

    fn options(self) -> Vec<String> {
        [
            ("--rtmp-port", self.rtmp),
            ("--http-port", self.http),
            ("--edge-rtmp-port", self.edge_rtmp),
            ("--edge-http-port", self.edge_http),
            ("--internal-port", self.internal),
        ]
        .iter()
        .flat_map(|(option, port)| [(*option).to_owned(), port.to_string()])
        .chain(["--listen".to_owned(), "127.0.0.1".to_owned()])
        .collect()
    }
}

impl Local {
    /// Starts it and waits until it says that it is ready.
    fn start(spec: &str) -> Self {
        let (ports, file) = (Ports::free(), manifest(spec));
        let mut child = Command::new(env!("CARGO_BIN_EXE_livecluster"))
            .args(["local", file.path().to_str().unwrap(), "--demo"])
            .args(ports.options())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
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
        let local = Self { child, ports };
        is_ready
            .recv_timeout(DEADLINE)
            .expect("it is ready in time");
        local
    }

    /// Sends a signal and waits for the exit code.
    fn signal(mut self, name: &str) -> (Option<i32>, Duration) {
        let begin = Instant::now();
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
        let (done, is_done) = mpsc::channel();
        // The thread takes the child over, so that waiting has a limit; `kill` ends it whatever happens.
        let mut child = std::mem::replace(&mut self.child, Command::new("true").spawn().unwrap());
        thread::spawn(move || done.send(child.wait().unwrap().code()));
        match is_done.recv_timeout(DEADLINE) {
            Ok(code) => (code, begin.elapsed()),
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

/// What a program that fails says.
fn failure(arguments: &[String]) -> String {
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_livecluster"))
        .arg("local")
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(status.code(), Some(1));
    String::from_utf8(stderr).unwrap()
}

/// The first bytes of the demo's FLV, behind the answer's head.
fn watch(port: u16, bytes: usize) -> Vec<u8> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
        .write_all(b"GET /live/livestream.flv HTTP/1.0\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(body) = head.map(|at| answer[at + 4..].to_vec())
            && body.len() >= bytes
        {
            assert!(answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200"));
            return body;
        }
        let read = socket.read(&mut piece).unwrap();
        assert!(
            read > 0,
            "the stream ends: {}",
            String::from_utf8_lossy(&answer)
        );
        answer.extend_from_slice(&piece[..read]);
    }
}

#[test]
fn the_demo_plays_and_ctrl_c_ends_it_with_code_0() {
    let local = Local::start("{origins: {replicas: 1}, edges: {replicas: 1}}");
    let flv = watch(local.ports.http, 50_000);
    assert!(
        flv.starts_with(b"FLV\x01\x05"),
        "a header that announces picture and sound"
    );
    let (code, took) = local.signal("INT");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn sigterm_ends_it_as_well() {
    let local = Local::start("{edges: {replicas: 0}}");
    assert_eq!(local.signal("TERM").0, Some(0));
}

#[test]
fn a_busy_port_is_named_with_the_option_that_moves_it() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut ports = Ports::free();
    ports.edge_http = taken.local_addr().unwrap().port();
    let file = manifest("{edges: {replicas: 1}}");
    let mut arguments = vec![file.path().to_str().unwrap().to_owned()];
    arguments.extend(ports.options());
    let error = failure(&arguments);
    assert!(
        error.starts_with(&format!(
            "error: edge 1: port {} of 127.0.0.1 is in use",
            ports.edge_http
        )) && error.contains("--edge-http-port"),
        "{error}"
    );
}

#[test]
fn a_wrong_manifest_is_one_clear_error() {
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
