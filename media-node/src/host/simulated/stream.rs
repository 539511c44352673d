//! The ends of the simulated network's connections, as programs use them.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{SimulatedConnection, TcpTimeouts, Wakers};
use super::network::{ConnectionRoom, Network};

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
const RELAY_ROOM: ConnectionRoom = ConnectionRoom {
    capacity: 64 << 10,
    bytes_per_second: None,
};

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
        let id = network.begin_connection(from, to, TcpTimeouts::RELAY, RELAY_ROOM);
        Self::new(network, id, 0, to).established().await
    }

    /// Connects a client.
    pub(crate) async fn connect_client(
        network: Network,
        from: Ipv4Addr,
        to: SocketAddr,
        room: ConnectionRoom,
    ) -> io::Result<Self> {
        let id = network.begin_connection(from, to, TcpTimeouts::CLIENT, room);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const HOSTS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 1, 1), Ipv4Addr::new(127, 0, 2, 1)];

    /// Returns a network, and the two ends of a connection.
    fn connected() -> (Network, SimulatedStream, SimulatedStream) {
        let network = Network::new(1, Duration::from_millis(1), Duration::ZERO);
        HOSTS.iter().for_each(|host| network.start_host(*host));
        let (client, server) = connect(&network);
        (network, client, server)
    }

    /// Connects the hosts once more, in 10 ms.
    fn connect(network: &Network) -> (SimulatedStream, SimulatedStream) {
        let listener = SimulatedListener::bind(network.clone(), HOSTS[1], 80).unwrap();
        let connect = SimulatedStream::connect(network.clone(), HOSTS[0], listener.address);
        let mut connect = Box::pin(connect);
        assert!(connect.as_mut().now_or_never().is_none());
        network.advance(network.now() + Duration::from_millis(10));
        let client = connect.now_or_never().unwrap().unwrap();
        let (server, _) = listener.accept().now_or_never().unwrap();
        (client, server)
    }

    fn write(stream: &mut SimulatedStream, length: usize) {
        let bytes = vec![0; length];
        stream.write_all(&bytes).now_or_never().unwrap().unwrap();
    }

    /// Returns the number of bytes that have arrived.
    fn read(stream: &mut SimulatedStream) -> io::Result<usize> {
        let mut bytes = Vec::new();
        while let Some(read) = stream.read_buf(&mut bytes).now_or_never() {
            read?;
        }
        Ok(bytes.len())
    }

    #[test]
    fn one_way_path_delivers_until_acknowledgements_are_missing() {
        let (network, mut client, mut server) = connected();
        network.cut_one_way(HOSTS[0], HOSTS[1]);
        write(&mut client, 100);
        for _ in 0..20 {
            write(&mut server, 1 << 10);
        }
        network.advance(Duration::from_secs(1));
        assert_eq!(read(&mut server).unwrap(), 0);
        assert_eq!(read(&mut client).unwrap(), 14 << 10);
        network.cut(HOSTS[0], HOSTS[1], false);
        network.advance(Duration::from_secs(3));
        network.advance(Duration::from_secs(4));
        assert_eq!(read(&mut server).unwrap(), 100);
        assert_eq!(read(&mut client).unwrap(), 6 << 10);
    }

    #[test]
    fn connections_share_a_narrow_path_and_each_holds_a_second_of_it() {
        let (network, mut client, mut server) = connected();
        let (mut other_client, mut other_server) = connect(&network);
        network.narrow(HOSTS[0], HOSTS[1], Some(1024));
        write(&mut client, 1024);
        write(&mut other_client, 1024);
        assert!(client.write_all(b"more").now_or_never().is_none());
        write(&mut server, 8 << 10);
        network.advance(network.now() + Duration::from_millis(1005));
        assert_eq!(read(&mut client).unwrap(), 8 << 10);
        // The first one has sent a piece before the other one begins.
        assert_eq!(read(&mut server).unwrap(), 768);
        assert_eq!(read(&mut other_server).unwrap(), 256);
        // What waits arrives when the path is as wide as others.
        network.narrow(HOSTS[0], HOSTS[1], None);
        network.advance(network.now() + Duration::from_millis(300));
        assert_eq!(read(&mut server).unwrap(), 256);
        assert_eq!(read(&mut other_server).unwrap(), 768);
    }

    #[test]
    fn client_may_have_a_narrow_path_of_its_own() {
        let network = Network::new(1, Duration::from_millis(1), Duration::ZERO);
        HOSTS.iter().for_each(|host| network.start_host(*host));
        let listener = SimulatedListener::bind(network.clone(), HOSTS[1], 80).unwrap();
        let room = ConnectionRoom {
            capacity: 4096,
            bytes_per_second: Some(1024),
        };
        let connect =
            SimulatedStream::connect_client(network.clone(), HOSTS[0], listener.address, room);
        let mut connect = Box::pin(connect);
        assert!(connect.as_mut().now_or_never().is_none());
        network.advance(Duration::from_millis(10));
        let mut client = connect.now_or_never().unwrap().unwrap();
        let (mut server, _) = listener.accept().now_or_never().unwrap();
        write(&mut client, 4096);
        write(&mut server, 1024);
        network.advance(Duration::from_millis(515));
        assert_eq!(read(&mut server).unwrap(), 4096);
        assert_eq!(read(&mut client).unwrap(), 512);
    }

    #[test]
    fn host_that_is_not_acknowledged_resets_the_one_that_it_reaches() {
        let (network, mut client, mut server) = connected();
        network.cut_one_way(HOSTS[1], HOSTS[0]);
        write(&mut client, 100);
        network.advance(Duration::from_secs(1));
        assert_eq!(read(&mut server).unwrap(), 100);
        network.advance(Duration::from_secs(6));
        let error = read(&mut client).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = read(&mut server).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
