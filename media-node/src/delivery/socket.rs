//! A client's connection, plain or by TLS: its handshake, its socket options and its lingering close.

use std::io::{self, IoSlice, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use socket2::TcpKeepalive;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::server::TlsStream;

use crate::host::net::{self, DetachedStream, TcpStream};
use crate::state::idle_connections::IdleConnections;
use crate::tls::{TlsAcceptor, TlsHandshakeError};

/// Finds a dead peer after 30 s + 3 × 10 s of silence.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// Slices of one `writev`. The system takes up to 1,024; a segment of more messages than this is rare.
const MAX_SLICES: usize = 64;

/// Time that a peer has to read the last bytes of a connection.
const LINGERING_CLOSE: Duration = Duration::from_secs(2);

/// A connection that a port has accepted.
pub(crate) struct NewConnection {
    pub(crate) stream: DetachedStream,
    pub(crate) peer: SocketAddr,
    /// Present on a port with TLS.
    pub(crate) tls: Option<TlsAcceptor>,
}

impl NewConnection {
    /// Opens a connection as [`NewConnection::open`] does. During a TLS handshake it counts as one without a stream.
    pub(crate) async fn open_as_idle(
        self,
        deadline: Instant,
        idle: &Arc<IdleConnections>,
    ) -> Result<Socket, TlsHandshakeError> {
        if self.tls.is_none() {
            return self.open(deadline).await;
        }
        let (_idle, mut eviction) = idle.enter(self.peer.ip());
        tokio::select! {
            opened = self.open(deadline) => opened,
            () = eviction.requested() => Err(TlsHandshakeError::Evicted),
        }
    }

    /// Registers the connection with the current runtime, sets its options, and performs the TLS handshake, if there is one,
    /// until the deadline.
    pub(crate) async fn open(self, deadline: Instant) -> Result<Socket, TlsHandshakeError> {
        let tcp = adopt(self.stream)?;
        match self.tls {
            None => Ok(Socket::Plain(tcp)),
            // Boxed, because the handshake's state would make every viewer's future larger.
            Some(tls) => Box::pin(tls.accept(tcp, deadline)).await.map(Socket::Tls),
        }
    }
}

/// Registers a connection with the current runtime and sets its options.
///
/// It has no `TCP_USER_TIMEOUT`. With it Linux resets a client that reads all the time but keeps its window nearly closed: a
/// receive buffer of 4 KiB and 20 KB/s were reset after the timeout (Linux 6.18, 2026-11-28). Each write has a time limit
/// instead.
pub(crate) fn adopt(stream: DetachedStream) -> io::Result<TcpStream> {
    let stream = net::attach(stream)?;
    net::set_options(&stream, |socket| {
        // A pulse is one write, so that Nagle's algorithm would only add latency.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&KEEPALIVE)
    })?;
    Ok(stream)
}

/// Makes the kernel close the connection when the peer acknowledges nothing for `limit`. Only for media nodes as peers, which
/// read large pieces.
pub(crate) fn limit_unacknowledged(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    net::set_options(stream, |socket| socket.set_tcp_user_timeout(Some(limit)))
}

/// A client's connection.
///
/// An enum instead of a type parameter: its branch is nothing beside a system call, and every session is compiled once.
pub(crate) enum Socket {
    Plain(TcpStream),
    /// After the handshake. Boxed: it is ten times as large as a plain connection.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Returns whether the connection is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Limits the bytes that the kernel holds unsent.
    pub(crate) fn limit_unsent(&self, limit: u32) {
        // A kernel without the option still serves viewers, with more memory for slow ones.
        drop(net::set_options(self.tcp(), |socket| {
            socket.set_tcp_notsent_lowat(limit)
        }));
    }

    /// Limits the bytes that the kernel holds unread, including its overhead.
    pub(crate) fn limit_unread(&self, limit: u32) {
        // The kernel doubles the number. When it refuses, its own limits hold.
        let half = (limit / 2) as usize;
        drop(net::set_options(self.tcp(), |socket| {
            socket.set_recv_buffer_size(half)
        }));
    }

    /// Waits until the peer has sent something, or closed the connection.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.tcp().readable().await
    }

    /// Waits until the kernel accepts more bytes.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.tcp().writable().await
    }

    /// Sends what the socket accepts. Returns whether all bytes are sent; the error `WouldBlock` when the socket accepts none.
    ///
    /// By TLS up to 64 KiB more are taken from `bytes`: they are encrypted, and sent by the next calls.
    pub(crate) fn try_send(&mut self, bytes: &mut impl Buf) -> io::Result<bool> {
        self.send_by(bytes, TcpStream::try_write_vectored)
    }

    /// Sends what the socket accepts, although it was not reported as writable.
    pub(crate) fn attempt_send(&mut self, bytes: &mut impl Buf) -> io::Result<bool> {
        self.send_by(bytes, net::send_unasked)
    }

    fn send_by(
        &mut self,
        bytes: &mut impl Buf,
        write: impl Fn(&TcpStream, &[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        match self {
            Self::Plain(tcp) => {
                write_slices(bytes, |slices| write(tcp, slices))?;
                Ok(!bytes.has_remaining())
            }
            Self::Tls(tls) => {
                let (tcp, session) = tls.get_mut();
                send_encrypted(session, bytes, &mut TlsOutput { tcp, write })
            }
        }
    }

    /// Sends bytes. `write_all` alone leaves the last ones in the buffer of TLS where the socket accepts no more.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).await?;
        self.flush().await
    }

    /// Closes the connection after the peer has read the last bytes (lingering close). A socket that is closed with unread
    /// input resets the connection, and the peer may lose bytes that it has not read yet.
    pub(crate) async fn lingering_close(&mut self) {
        let closed = async {
            self.shutdown().await?;
            let mut rest = [0; 256];
            while self.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        // The connection ends whether or not the peer closes its side.
        drop(timeout(LINGERING_CLOSE, closed).await);
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

/// Writes the next slices of `bytes`. Not async: the slices are 1 KiB of stack that no future should hold.
fn write_slices(
    bytes: &mut impl Buf,
    write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let count = bytes.chunks_vectored(&mut slices);
    let written = write(slices.get(..count).unwrap_or_default())?;
    bytes.advance(written);
    match written {
        0 if bytes.has_remaining() => Err(io::ErrorKind::WriteZero.into()),
        _ => Ok(()),
    }
}

/// Encrypts and sends, as [`Socket::try_send`] describes. What was encrypted before goes first.
fn send_encrypted(
    session: &mut ServerConnection,
    bytes: &mut impl Buf,
    output: &mut impl Write,
) -> io::Result<bool> {
    let mut is_any_sent = false;
    loop {
        while session.wants_write() {
            match session.write_tls(output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => is_any_sent = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && is_any_sent => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        if !bytes.has_remaining() {
            return Ok(true);
        }
        write_slices(bytes, |slices| session.writer().write_vectored(slices))?;
    }
}

/// Where the encrypted bytes of a connection go.
struct TlsOutput<'a, W> {
    tcp: &'a TcpStream,
    write: W,
}

impl<W: Fn(&TcpStream, &[IoSlice<'_>]) -> io::Result<usize>> Write for TlsOutput<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (self.write)(self.tcp, slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

/// Returns the address with an IPv4-mapped IPv6 address as IPv4.
pub(crate) fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_peer_of_an_ipv6_socket_is_written_as_ipv4() {
        let peer = canonical("[::ffff:10.0.0.1]:9".parse().unwrap());
        assert_eq!(peer.to_string(), "10.0.0.1:9");
    }
}
