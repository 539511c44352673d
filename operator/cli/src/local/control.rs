//! Stops and starts instances from a second terminal, over a Unix socket that only its user can open.
//!
//! One request and one response a connection, each a line of JSON. Each `livecluster local` has a socket of its own, named
//! by the RTMP port of its first origin.

mod socket;

use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::instances::{InstanceError, LocalInstances};
use socket::{ControlSocket, SocketError};

/// Longest request. A longer line is not a request.
const MAX_REQUEST: u64 = 4096;
/// Time that a client has for its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that a client waits for the response, which includes the drain of an instance.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Commands for a `livecluster local` that runs in another terminal.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum ControlCommand {
    /// Stops one instance, such as origin-1, as SIGTERM stops a Pod
    Stop {
        /// Instance, as the table and `list` show it
        name: String,
        /// Stop immediately, without draining it, as in a crash
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        target: ControlTarget,
    },
    /// Starts a stopped instance again
    Start {
        /// Instance, as the table and `list` show it
        name: String,
        #[command(flatten)]
        target: ControlTarget,
    },
    /// Lists the instances and whether they run
    List {
        #[command(flatten)]
        target: ControlTarget,
    },
}

/// Which `livecluster local` is meant.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ControlTarget {
    /// RTMP port of the first origin, when several `livecluster local` run
    #[arg(long, value_name = "PORT")]
    rtmp_port: Option<u16>,
}

/// Why a command is not executed, or cannot be received.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no socket to use.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The connection failed.
    #[error("`livecluster local` does not respond")]
    Connection(#[from] std::io::Error),
    /// The response is not one of this protocol.
    #[error("`livecluster local` has another version")]
    Protocol(#[from] serde_json::Error),
    /// The command was refused.
    #[error("{0}")]
    Refused(String),
}

#[derive(Debug, Deserialize, Serialize)]
enum ControlRequest {
    Stop { name: String, now: bool },
    Start { name: String },
    List,
}

/// A message for the user, or the reason why the request was refused.
type ControlResponse = Result<String, String>;

/// Sends a command to a running `livecluster local` and returns the message of its response.
///
/// # Errors
/// See [`ControlError`].
pub(super) fn execute(command: ControlCommand) -> Result<String, ControlError> {
    let (request, target) = match command {
        ControlCommand::Stop { name, now, target } => (ControlRequest::Stop { name, now }, target),
        ControlCommand::Start { name, target } => (ControlRequest::Start { name }, target),
        ControlCommand::List { target } => (ControlRequest::List, target),
    };
    let mut stream = socket::connect(target.rtmp_port)?;
    stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
    writeln!(stream, "{}", serde_json::to_string(&request)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str::<ControlResponse>(&line)?.map_err(ControlError::Refused)
}

/// The socket of this `livecluster local`. Its file is removed when it is dropped.
pub(super) struct Listener {
    listener: UnixListener,
    _socket: ControlSocket,
}

impl Listener {
    /// Opens the socket of the `livecluster local` whose first origin has this RTMP port.
    pub(super) fn bind(rtmp_port: u16) -> Result<Self, ControlError> {
        let socket = ControlSocket::create(rtmp_port)?;
        Ok(Self {
            listener: UnixListener::bind(socket.path())?,
            _socket: socket,
        })
    }

    /// Executes the commands of all clients.
    pub(super) async fn serve(self, instances: Arc<LocalInstances>) {
        while let Ok((stream, _)) = self.listener.accept().await {
            let instances = Arc::clone(&instances);
            tokio::spawn(async move {
                // A client that has disconnected needs no response.
                let _ = respond(stream, &instances).await;
            });
        }
    }
}

async fn respond(stream: UnixStream, instances: &LocalInstances) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(reader.take(MAX_REQUEST));
    tokio::time::timeout(REQUEST_TIMEOUT, reader.read_line(&mut line)).await??;
    let response: ControlResponse = match serde_json::from_str(&line) {
        Ok(request) => handle(request, instances)
            .await
            .map_err(|error| format!("{:#}", anyhow::Error::from(error))),
        Err(_) => Err("not a request of this version".to_owned()),
    };
    let line = serde_json::to_string(&response)? + "\n";
    writer.write_all(line.as_bytes()).await
}

async fn handle(
    request: ControlRequest,
    instances: &LocalInstances,
) -> Result<String, InstanceError> {
    match request {
        ControlRequest::Stop { name, now } => {
            instances.stop_one(&name, now).await?;
            Ok(format!("{name} stopped"))
        }
        ControlRequest::Start { name } => {
            instances.start_one(&name).await?;
            Ok(format!("{name} started"))
        }
        ControlRequest::List => {
            let state = |running| if running { "running" } else { "stopped" };
            let states = instances.states();
            Ok(states
                .map(|(name, running)| format!("{name:12} {}\n", state(running)))
                .collect())
        }
    }
}
