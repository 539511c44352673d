//! The ends of the simulated network's connections, as programs use them.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{SimulatedConnection, TcpTimeouts, Wakers};
use super::network::Network;

/// One end of a connection. Dropping it closes it.
pub(crate) struct SimulatedStream {
    network: Network,
    id: u64,
    end: usize,
    pub(crate) peer: SocketAddr,
}

/// An open port. Dropping it closes it.
pub(crate) struct SimulatedListener {
    pub(super) network: Network,
    pub(crate) address: SocketAddr,
}

/// Bytes on their way between two media nodes. A stream of the explorer has about 10 KB a second.
const RELAY_CAPACITY: usize = 64 << 10;

impl SimulatedListener {
    /// Opens a port of a host.
    pub(super) fn bind(network: Network, host: Ipv4Addr, port: u16) -> io::Result<Self> {
        let address = network.open_port(host, port)?;
        Ok(Self { network, address })
    }

    pub(super) async fn accept(&self) -> (SimulatedStream, SocketAddr) {
        poll_fn(
            |context| match self.network.accept(self.address, context.waker()) {
                Some((id, peer)) => {
                    let stream = SimulatedStream::new(self.network.clone(), id, 1, peer);
                    Poll::Ready((stream, peer))
                }
                None => Poll::Pending,
            },
        )
        .await
    }
}

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        self.network.close_port(self.address);
    }
}

impl std::fmt::Debug for SimulatedListener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "port {}", self.address)
    }
}

impl std::fmt::Debug for SimulatedStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "connection {} with {}", self.id, self.peer)
    }
}

impl SimulatedStream {
    /// Connects a media node to another one.
    pub(super) async fn connect(
        network: Network,
        from: Ipv4Addr,
        to: SocketAddr,
    ) -> io::Result<Self> {
        let id = network.begin_connection(from, to, TcpTimeouts::RELAY, RELAY_CAPACITY);
        Self::new(network, id, 0, to).established().await
    }

    /// Connects a client, whose connection holds up to `capacity` bytes in each direction.
    pub(crate) async fn connect_client(
        network: Network,
        from: Ipv4Addr,
        to: SocketAddr,
        capacity: usize,
    ) -> io::Result<Self> {
        let id = network.begin_connection(from, to, TcpTimeouts::CLIENT, capacity);
        Self::new(network, id, 0, to).established().await
    }

    fn new(network: Network, id: u64, end: usize, peer: SocketAddr) -> Self {
        Self {
            network,
            id,
            end,
            peer,
        }
    }

    /// Waits until the connection is established.
    async fn established(self) -> io::Result<Self> {
        poll_fn(|context| {
            self.poll(context, Wait::Write, |connection, _| {
                connection.ends[self.end].established()
            })
        })
        .await?;
        Ok(self)
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        poll_fn(|context| {
            self.poll(context, Wait::Read, |connection, _| {
                connection.is_readable(self.end).then_some(Ok(()))
            })
        })
        .await
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        poll_fn(|context| {
            self.poll(context, Wait::Write, |connection, _| {
                connection.is_writable(self.end).then_some(Ok(()))
            })
        })
        .await
    }

    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        let written = self.network.change(|state| {
            let due = state.due(self.id);
            let connection = state.connections.get_mut(&self.id)?;
            let written = connection.write(self.end, Bytes::from(bytes), due);
            state.expect_arrival(self.id);
            written
        });
        written.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Polls the connection. The task is woken as `wait` says if the result is `None`.
    fn poll<T>(
        &self,
        context: &Context<'_>,
        wait: Wait,
        ready: impl FnOnce(&mut SimulatedConnection, &mut Wakers) -> Option<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.network.change(|state| {
            let Some(connection) = state.connections.get_mut(&self.id) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            match ready(connection, &mut state.wakers) {
                Some(result) => Poll::Ready(result),
                None => {
                    let end = &mut connection.ends[self.end];
                    match wait {
                        Wait::Read => end.wake_reader(context.waker()),
                        Wait::Write => end.wake_writer(context.waker()),
                    }
                    Poll::Pending
                }
            }
        })
    }
}

#[derive(Clone, Copy)]
enum Wait {
    Read,
    Write,
}

impl Drop for SimulatedStream {
    fn drop(&mut self) {
        self.network.change(|state| state.close(self.id, self.end));
    }
}

impl AsyncRead for SimulatedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let limit = buffer.remaining();
        let read = self.poll(context, Wait::Read, |connection, wakers| {
            connection.read(self.end, limit, wakers)
        });
        read.map_ok(|bytes| buffer.put_slice(bytes.chunk()))
    }
}

impl AsyncWrite for SimulatedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (due, tampered) = self
            .network
            .change(|state| (state.due(self.id), state.tampered(bytes)));
        let bytes = tampered.as_deref().unwrap_or(bytes);
        let written = self.poll(context, Wait::Write, |connection, _| {
            connection.write(self.end, bytes, due)
        });
        self.network.change(|state| state.expect_arrival(self.id));
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.change(|state| {
            let due = state.due(self.id);
            if let Some(connection) = state.connections.get_mut(&self.id) {
                connection.shut(self.end, due);
            }
            state.expect_arrival(self.id);
        });
        Poll::Ready(Ok(()))
    }
}
