//! Reads the PROXY header of a load balancer's connection, which comes before TLS and everything else.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use media_wire::proxy_protocol::{self, ProxyHeader, ProxyHeaderError};
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout_at};

use crate::host::net::TcpStream;
use crate::state::idle_connections::IdleConnections;

/// Bytes of one read. Few headers are longer.
const PIECE: usize = 256;

/// Reason that a connection of a load balancer has no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHeader {
    #[error(transparent)]
    Invalid(#[from] ProxyHeaderError),
    #[error("the connection was closed within its PROXY header")]
    CutOff,
    #[error("the PROXY header took too long")]
    Timeout,
    /// A health check that only connects.
    #[error("the connection was closed without a byte")]
    Empty,
    #[error("the socket failed: {0}")]
    Socket(#[from] io::Error),
    #[error("closed to make room for newer connections without a stream")]
    Evicted,
}

impl NoHeader {
    /// Value of the metric's label `reason`, for what a load balancer must not do.
    pub(super) fn label(&self) -> Option<&'static str> {
        match self {
            Self::Invalid(ProxyHeaderError::Missing) => Some("proxy_header_missing"),
            Self::Invalid(_) | Self::CutOff => Some("proxy_header_invalid"),
            Self::Timeout => Some("proxy_header_timeout"),
            Self::Empty | Self::Socket(_) | Self::Evicted => None,
        }
    }
}

/// Reads a header, and nothing behind it. Returns the address of the client, if the load balancer knows it. The connection counts as
/// one without a stream meanwhile.
pub(super) async fn read(
    stream: &mut TcpStream,
    deadline: Instant,
    idle: &Arc<IdleConnections>,
    peer: IpAddr,
) -> Result<Option<SocketAddr>, NoHeader> {
    let (_idle, mut eviction) = idle.enter(peer);
    tokio::select! {
        read = timeout_at(deadline, read_header(stream)) => read.unwrap_or(Err(NoHeader::Timeout)),
        () = eviction.requested() => Err(NoHeader::Evicted),
    }
}

async fn read_header(stream: &mut TcpStream) -> Result<Option<SocketAddr>, NoHeader> {
    let mut header = Vec::new();
    loop {
        let taken = header.len();
        header.resize(taken + PIECE, 0);
        let peeked = stream.peek(&mut header[taken..]).await?;
        header.truncate(taken + peeked);
        match (peeked, taken) {
            (0, 0) => return Err(NoHeader::Empty),
            (0, _) => return Err(NoHeader::CutOff),
            _ => {}
        }
        // What follows the header stays in the socket: TLS and the sessions read from there.
        match proxy_protocol::parse(&header)? {
            Some(ProxyHeader { source, length }) => {
                stream.read_exact(&mut header[taken..length]).await?;
                return Ok(source);
            }
            None => stream.read_exact(&mut header[taken..]).await?,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use prometheus::IntCounter;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{self, TcpListener};

    use super::*;

    async fn connection() -> (net::TcpStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = net::TcpStream::connect(address);
        let (client, server) = tokio::join!(client, listener.accept());
        (client.unwrap(), server.unwrap().0.into())
    }

    async fn read(stream: &mut TcpStream, limit: Duration) -> Result<Option<SocketAddr>, NoHeader> {
        let idle = IdleConnections::new(1, IntCounter::new("evicted", "help").unwrap());
        let peer = Ipv4Addr::LOCALHOST.into();
        super::read(stream, Instant::now() + limit, &idle, peer).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn nothing_behind_the_header_is_read() {
        let (mut client, mut server) = connection().await;
        let written = b"PROXY TCP4 192.0.2.1 192.0.2.2 9 1935\r\nbehind";
        client.write_all(written).await.unwrap();
        let source = read(&mut server, LONG).await.unwrap();
        assert_eq!(source, "192.0.2.1:9".parse().ok());
        let mut rest = [0; 6];
        server.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"behind");
    }

    #[tokio::test]
    async fn header_is_read_wherever_it_is_split() {
        let header = b"PROXY TCP6 2001:db8::1 2001:db8::2 9 1935\r\n";
        for split in [1, 6, 20, header.len() - 1] {
            let (mut client, mut server) = connection().await;
            let (first, rest) = header.split_at(split);
            client.write_all(first).await.unwrap();
            let (source, ()) = tokio::join!(read(&mut server, LONG), async {
                tokio::task::yield_now().await;
                client.write_all(rest).await.unwrap();
            });
            assert_eq!(source.unwrap(), "[2001:db8::1]:9".parse().ok(), "{split}");
        }
    }

    #[tokio::test]
    async fn connection_without_a_header_has_a_reason() {
        for (bytes, label) in [
            (&b""[..], None),
            (b"PROXY TC", Some("proxy_header_invalid")),
            (b"PROXY TCP9 \r\n", Some("proxy_header_invalid")),
            (b"GET / HTTP/1.1\r\n", Some("proxy_header_missing")),
        ] {
            let (mut client, mut server) = connection().await;
            client.write_all(bytes).await.unwrap();
            drop(client);
            let error = read(&mut server, LONG).await.unwrap_err();
            assert_eq!(error.label(), label, "{error}");
        }
        let (_silent, mut server) = connection().await;
        let error = read(&mut server, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.label(), Some("proxy_header_timeout"));
    }
}
