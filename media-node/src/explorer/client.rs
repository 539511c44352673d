//! What encoders and viewers share: their connections by RTMP and HTTP, and the record of what happened.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use media_wire::rtmp::{ClientConnection, ClientEvent, ClientSettings, RtmpUrl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::host::simulated::network::Network;
use crate::host::simulated::stream::SimulatedStream;

/// The address of all clients.
pub(super) const CLIENTS: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);

/// Longer than a media node takes to accept or refuse a client that it can hear.
const START: Duration = Duration::from_secs(12);

/// Bytes of one read.
const READ: usize = 4096;

/// The addresses that the media nodes have now, as the DNS of the clients knows them. Clones share them.
#[derive(Clone, Default)]
pub(super) struct NodeAddresses(Arc<Mutex<Vec<Ipv4Addr>>>);

impl NodeAddresses {
    /// Sets the address of a media node.
    pub(super) fn set(&self, node: usize, address: Ipv4Addr) {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() <= node {
            addresses.resize(node + 1, Ipv4Addr::UNSPECIFIED);
        }
        addresses[node] = address;
    }

    /// Returns the RTMP port of a media node. Numbers beyond the last one begin again.
    pub(super) fn rtmp(&self, node: usize) -> SocketAddr {
        (self.address(node), RTMP).into()
    }

    pub(super) fn http(&self, node: usize) -> SocketAddr {
        (self.address(node), HTTP).into()
    }

    pub(super) fn address(&self, node: usize) -> Ipv4Addr {
        let addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        addresses[node % addresses.len()]
    }
}

/// The ports of every media node.
pub(super) const RTMP: u16 = 1935;
pub(super) const HTTP: u16 = 8080;

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
        self.lock().lines.push(line);
    }

    /// Adds what must not happen.
    pub(super) fn violation(&self, what: impl std::fmt::Display) {
        self.note(format_args!("VIOLATION: {what}"));
        self.lock().violations.push(what.to_string());
    }

    /// Returns the first violation.
    pub(super) fn first_violation(&self) -> Option<String> {
        self.lock().violations.first().cloned()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
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
    socket: SimulatedStream,
    input: BytesMut,
    /// Bytes that are not sent yet.
    output: Bytes,
}

impl RtmpClient {
    /// Connects, and waits until the media node has accepted the stream.
    pub(super) async fn open(
        network: &Network,
        to: SocketAddr,
        stream: &str,
        role: fn(RtmpUrl, ClientSettings) -> ClientConnection,
        capacity: usize,
    ) -> Result<Self, ClientEnd> {
        let url = RtmpUrl::parse(&format!("rtmp://{to}/{stream}")).expect("a valid URL");
        let open = async {
            let socket =
                SimulatedStream::connect_client(network.clone(), CLIENTS, to, capacity).await?;
            let mut client = Self {
                connection: role(url, ClientSettings::default()),
                socket,
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
                None => return Ok(()),
            }
        }
    }
}

/// An HTTP client that receives a chunked response.
pub(super) struct HttpClient {
    socket: SimulatedStream,
    input: BytesMut,
    /// Bytes that are left of the current chunk, with the line end after it.
    chunk: usize,
}

impl HttpClient {
    /// Requests a path. Fails with the status if it is not 200.
    pub(super) async fn open(
        network: &Network,
        to: SocketAddr,
        path: &str,
        capacity: usize,
    ) -> Result<Self, ClientEnd> {
        let open = async {
            let mut client = Self {
                socket: SimulatedStream::connect_client(network.clone(), CLIENTS, to, capacity)
                    .await?,
                input: BytesMut::new(),
                chunk: 0,
            };
            let request = format!("GET {path} HTTP/1.1\r\nHost: explorer\r\n\r\n");
            client.socket.write_all(request.as_bytes()).await?;
            let header = client.until(b"\r\n\r\n").await?;
            let header = String::from_utf8_lossy(&header);
            match header.split(' ').nth(1) {
                Some("200") => Ok(client),
                status => Err(ClientEnd::Status(status.unwrap_or_default().to_owned())),
            }
        };
        timeout(START, open)
            .await
            .unwrap_or(Err(ClientEnd::Lost(io::ErrorKind::TimedOut)))
    }

    /// Adds the next bytes of the body.
    pub(super) async fn body(&mut self, body: &mut BytesMut) -> Result<(), ClientEnd> {
        if self.chunk == 0 {
            let line = self.until(b"\r\n").await?;
            let digits = String::from_utf8_lossy(&line[..line.len() - 2]);
            let length = usize::from_str_radix(&digits, 16);
            let length = length.map_err(|error| ClientEnd::Protocol(error.to_string()))?;
            if length == 0 {
                return Err(ClientEnd::Ended);
            }
            self.chunk = length + 2;
        }
        if self.input.is_empty() {
            self.read().await?;
        }
        let content = self.chunk.saturating_sub(2).min(self.input.len());
        body.extend_from_slice(&self.input.split_to(content));
        self.chunk -= content;
        if content == 0 {
            let end = self.chunk.min(self.input.len());
            if !b"\r\n"[2 - self.chunk..].starts_with(&self.input.split_to(end)) {
                return Err(ClientEnd::Protocol("a chunk is torn".to_owned()));
            }
            self.chunk -= end;
        }
        Ok(())
    }

    async fn until(&mut self, end: &[u8]) -> Result<BytesMut, ClientEnd> {
        loop {
            let found = self.input.windows(end.len()).position(|bytes| bytes == end);
            if let Some(found) = found {
                return Ok(self.input.split_to(found + end.len()));
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), ClientEnd> {
        self.input.reserve(READ);
        match self.socket.read_buf(&mut self.input).await? {
            0 => Err(ClientEnd::Lost(io::ErrorKind::UnexpectedEof)),
            _ => Ok(()),
        }
    }
}
