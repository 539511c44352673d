//! What encoders and viewers share: the addresses of the media nodes, RTMP, and the record of what happened.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use media_engine::Epoch;
use media_wire::rtmp::{ClientConnection, ClientEvent, ClientSettings, RtmpUrl};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::socket::{ClientSocket, Route, stream_key};
use crate::host::simulated::network::Network;
use crate::server::Probe;

/// Longer than a media node takes to accept or refuse a client that it can reach.
pub(super) const START: Duration = Duration::from_secs(12);

/// Bytes of one read.
pub(super) const READ: usize = 4096;

/// The addresses that the media nodes have now, as the DNS of the clients knows them. Clones share them.
#[derive(Clone, Default)]
pub(super) struct NodeAddresses(Arc<Mutex<Vec<Ipv4Addr>>>);

impl NodeAddresses {
    /// Sets the address of a media node.
    pub(super) fn set(&self, node: usize, address: Ipv4Addr) {
        let mut addresses = self.0.lock();
        if addresses.len() <= node {
            addresses.resize(node + 1, Ipv4Addr::UNSPECIFIED);
        }
        addresses[node] = address;
    }

    /// Returns a port of a media node. Numbers beyond the last one begin again.
    pub(super) fn port(&self, node: usize, port: u16) -> SocketAddr {
        let addresses = self.0.lock();
        (addresses[node % addresses.len()], port).into()
    }
}

/// The media nodes that run, as those know which publications they have. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Publications {
    nodes: Arc<Mutex<BTreeMap<IpAddr, Probe>>>,
    /// Epochs go back, if that is planted.
    pub(super) go_back: bool,
}

impl Publications {
    /// Sets the media node that has an address.
    pub(super) fn set(&self, address: Ipv4Addr, node: Probe) {
        self.nodes.lock().insert(address.into(), node);
    }

    /// Returns the epoch of a stream's encoder that a media node has just accepted.
    pub(super) fn epoch(&self, node: IpAddr, stream: &str) -> Option<Epoch> {
        let node = self.nodes.lock().get(&node).cloned();
        let Epoch(epoch) = node?.epoch(&stream_key(stream))?;
        Some(Epoch(if self.go_back { !epoch } else { epoch }))
    }
}

/// A record of what happened, and of what must not happen.
#[derive(Clone)]
pub(super) struct Record {
    network: Network,
    entries: Arc<Mutex<Entries>>,
}

#[derive(Default)]
struct Entries {
    lines: Vec<String>,
    violations: Vec<String>,
}

impl Record {
    pub(super) fn new(network: Network) -> Self {
        Self {
            network,
            entries: Arc::default(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.network.now()
    }

    /// Adds a line with the time.
    pub(super) fn note(&self, what: impl std::fmt::Display) {
        let line = format!("{:9.3}s  {what}", self.now().as_secs_f64());
        self.entries.lock().lines.push(line);
    }

    /// Adds what must not happen.
    pub(super) fn violation(&self, what: impl std::fmt::Display) {
        self.note(format_args!("VIOLATION: {what}"));
        self.entries.lock().violations.push(what.to_string());
    }

    /// Returns the first violation.
    pub(super) fn first_violation(&self) -> Option<String> {
        self.entries.lock().violations.first().cloned()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.entries.lock().lines.clone()
    }
}

/// Why a client has no stream, or no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClientEnd {
    /// The media node refuses or ends the stream, with this status.
    Status(String),
    /// The stream ended as it should.
    Ended,
    /// The connection was lost.
    Lost(io::ErrorKind),
    /// The media node violated a protocol.
    Protocol(String),
}

impl From<io::Error> for ClientEnd {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.kind())
    }
}

/// An RTMP client.
pub(super) struct RtmpClient {
    pub(super) connection: ClientConnection,
    socket: ClientSocket,
    input: BytesMut,
    /// Bytes that are not sent yet.
    output: Bytes,
}

impl RtmpClient {
    /// Connects, and waits until the media node has accepted the stream.
    pub(super) async fn open(
        route: &Route,
        stream: &str,
        role: fn(RtmpUrl, ClientSettings) -> ClientConnection,
    ) -> Result<Self, ClientEnd> {
        let url = RtmpUrl::parse(&format!("rtmp://{}/{stream}", route.to)).expect("a valid URL");
        let open = async {
            let mut client = Self {
                connection: role(url, ClientSettings::default()),
                socket: route.connect().await?,
                input: BytesMut::new(),
                output: Bytes::new(),
            };
            loop {
                match client.event().await? {
                    ClientEvent::Ready => return Ok(client),
                    ClientEvent::Status(status) if status.is_error() => {
                        return Err(ClientEnd::Status(status.code));
                    }
                    ClientEvent::Ended => return Err(ClientEnd::Ended),
                    ClientEvent::Status(_) | ClientEvent::Media(_) => {}
                }
            }
        };
        timeout(START, open)
            .await
            .unwrap_or(Err(ClientEnd::Lost(io::ErrorKind::TimedOut)))
    }

    /// Returns the next event. Cancel safe.
    pub(super) async fn event(&mut self) -> Result<ClientEvent, ClientEnd> {
        loop {
            let event = self.connection.receive(&mut self.input);
            let event = event.map_err(|error| ClientEnd::Protocol(error.to_string()))?;
            self.flush().await?;
            if let Some(event) = event {
                return Ok(event);
            }
            self.input.reserve(READ);
            if self.socket.read_buf(&mut self.input).await? == 0 {
                return Err(ClientEnd::Lost(io::ErrorKind::UnexpectedEof));
            }
        }
    }

    /// Sends what is pending. Cancel safe.
    pub(super) async fn flush(&mut self) -> Result<(), ClientEnd> {
        loop {
            while self.output.has_remaining() {
                self.socket.write_buf(&mut self.output).await?;
            }
            match self.connection.output() {
                Some(bytes) => self.output = bytes,
                None => return Ok(self.socket.flush().await?),
            }
        }
    }
}
