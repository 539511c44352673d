//! Socket options of a client's connection, and its lingering close.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Finds a dead peer after 30 s + 3 × 10 s of silence.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// Unsent bytes that the kernel may hold for a viewer. Without this limit a slow viewer fills `tcp_wmem` (4 MiB and more)
/// before the media node sees that it is slow, and then plays seconds behind.
const VIEWER_UNSENT: u32 = 128 * 1024;

/// Time that a peer has to read the last bytes of a connection.
const LINGERING_CLOSE: Duration = Duration::from_secs(2);

/// Registers an accepted connection with the current runtime and sets its options.
///
/// It has no `TCP_USER_TIMEOUT`. With it Linux resets a client that reads all the time but keeps its window nearly closed: a
/// receive buffer of 4 KiB and 20 KB/s were reset after the timeout (Linux 6.18, 2026-11-28). Each write has a time limit
/// instead.
pub(crate) fn adopt(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    let socket = SockRef::from(&stream);
    // A pulse is one write, so that Nagle's algorithm would only add latency.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    TcpStream::from_std(stream)
}

/// Makes the kernel close the connection when the peer acknowledges nothing for `limit`. Only for media nodes as peers, which
/// read large pieces.
pub(crate) fn limit_unacknowledged(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    SockRef::from(stream).set_tcp_user_timeout(Some(limit))
}

/// Limits what the kernel holds unsent for a viewer.
pub(crate) fn prepare_viewer(stream: &TcpStream) {
    // A kernel without the option still serves viewers, with more memory for slow ones.
    drop(SockRef::from(stream).set_tcp_notsent_lowat(VIEWER_UNSENT));
}

/// Returns the address with an IPv4-mapped IPv6 address as IPv4.
pub(crate) fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Closes a connection after the peer has read the last bytes (lingering close). A socket that is closed with unread input
/// resets the connection, and the peer may lose bytes that it has not read yet.
pub(crate) async fn lingering_close(socket: &mut TcpStream) {
    let closed = async {
        socket.shutdown().await?;
        let mut rest = [0; 256];
        while socket.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // The connection ends whether or not the peer closes its side.
    drop(timeout(LINGERING_CLOSE, closed).await);
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
