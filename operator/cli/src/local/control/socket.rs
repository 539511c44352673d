//! Where the sockets are: in a directory that only its user can enter.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::getuid;

/// Why there is no socket to use.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// No `livecluster local` runs.
    #[error("no `livecluster local` is running")]
    None,
    /// None runs with this port.
    #[error("no `livecluster local` with RTMP port {0} is running")]
    NoneAt(u16),
    /// Several run.
    #[error("several `livecluster local` are running, choose one with --rtmp-port: {}", list(.0))]
    Several(Vec<u16>),
    /// Another one has the same port, at another address.
    #[error(
        "another `livecluster local` with RTMP port {0} is running, choose another port with --rtmp-port"
    )]
    Taken(u16),
    /// Other users could replace the socket.
    #[error("{} must be a directory that belongs to you and that only you can enter (mode 0700)", .0.display())]
    NotPrivate(PathBuf),
    /// The directory or the socket cannot be used.
    #[error("{} cannot be used, choose another directory with XDG_RUNTIME_DIR", path.display())]
    Io {
        /// The directory or the socket.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

fn list(ports: &[u16]) -> String {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    ports.join(", ")
}

/// Path of a socket that no other process uses. The file is removed when it is dropped.
pub(super) struct ControlSocket {
    path: PathBuf,
}

impl ControlSocket {
    /// Creates the directory and returns a path in it.
    pub(super) fn create(rtmp_port: u16) -> Result<Self, SocketError> {
        let directory = directory();
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| SocketError::Io { path, source }
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&directory).map_err(io(&directory))?;
        require_private(&directory)?;
        let path = directory.join(format!("{rtmp_port}.sock"));
        if UnixStream::connect(&path).is_ok() {
            return Err(SocketError::Taken(rtmp_port));
        }
        // A process that was killed leaves its file behind.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io(&path)(error)),
            _ => Ok(Self { path }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A file that remains is replaced at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Connects to the `livecluster local` with this port, or without a port to the only one that is running.
pub(super) fn connect(rtmp_port: Option<u16>) -> Result<UnixStream, SocketError> {
    let directory = directory();
    if !directory.exists() {
        return Err(rtmp_port.map_or(SocketError::None, SocketError::NoneAt));
    }
    require_private(&directory)?;
    let socket = |port| UnixStream::connect(directory.join(format!("{port}.sock"))).ok();
    if let Some(port) = rtmp_port {
        return socket(port).ok_or(SocketError::NoneAt(port));
    }
    let entries = fs::read_dir(&directory).map_err(|source| SocketError::Io {
        path: directory.clone(),
        source,
    })?;
    let mut running: Vec<(u16, UnixStream)> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let port = name.to_str()?.strip_suffix(".sock")?.parse().ok()?;
            Some((port, socket(port)?))
        })
        .collect();
    running.sort_by_key(|(port, _)| *port);
    match (running.pop(), running.as_slice()) {
        (Some((_, stream)), []) => Ok(stream),
        (Some((last, _)), others) => {
            let others = others.iter().map(|(port, _)| *port);
            Err(SocketError::Several(others.chain([last]).collect()))
        }
        (None, _) => Err(SocketError::None),
    }
}

fn directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        Some(runtime) => PathBuf::from(runtime).join("livecluster"),
        None => std::env::temp_dir().join(format!("livecluster-{}", getuid().as_raw())),
    }
}

/// The directory for temporary files belongs to all users: one of them could have made this directory before.
fn require_private(directory: &Path) -> Result<(), SocketError> {
    let is_private = fs::symlink_metadata(directory).is_ok_and(|found| {
        found.is_dir() && found.uid() == getuid().as_raw() && found.mode() & 0o077 == 0
    });
    if is_private {
        Ok(())
    } else {
        Err(SocketError::NotPrivate(directory.to_owned()))
    }
}
