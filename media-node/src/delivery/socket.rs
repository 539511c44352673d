//! The socket of one client: its options, and how it is closed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A dead peer is found after 30 s + 3 × 10 s of silence.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// What the kernel may hold unsent for a viewer. Without it a slow viewer fills `tcp_wmem` (4 MiB and more) before the
/// node sees that it is slow, and then watches seconds of the past.
const VIEWER_UNSENT: u32 = 128 * 1024;

/// How long a connection that is closed has to take its last bytes.
const FAREWELL: Duration = Duration::from_secs(2);

/// Registers an accepted connection with the runtime it is served on.
///
/// `unanswered` is the time after which a peer that acknowledges nothing is given up.
pub(crate) fn adopt(stream: std::net::TcpStream, unanswered: Duration) -> io::Result<TcpStream> {
    let socket = SockRef::from(&stream);
    // A pulse is one write: waiting for more would only add latency.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_user_timeout(Some(unanswered))?;
    TcpStream::from_std(stream)
}

/// Makes the kernel hold little for a viewer.
pub(crate) fn prepare_viewer(stream: &TcpStream) {
    // An old kernel without the option serves viewers as well, only with more memory for slow ones.
    drop(SockRef::from(stream).set_tcp_notsent_lowat(VIEWER_UNSENT));
}

/// The address as people write it: without the IPv6 form of an IPv4 address.
pub(crate) fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Closes a connection so that its last bytes arrive: a socket that is closed with unread bytes resets the connection,
/// and the peer may lose what it has not read yet.
pub(crate) async fn farewell(socket: &mut TcpStream) {
    let closed = async {
        socket.shutdown().await?;
        let mut rest = [0; 256];
        while socket.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whether the peer answers makes no difference any more.
    drop(timeout(FAREWELL, closed).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_peer_on_an_ipv6_socket_is_written_as_ipv4() {
        let peer = canonical("[::ffff:10.0.0.1]:9".parse().unwrap());
        assert_eq!(peer.to_string(), "10.0.0.1:9");
    }
}
