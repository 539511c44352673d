//! TCP connections of the kernel.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::TcpSocket;

pub(crate) use std::net::TcpStream as DetachedStream;
pub(crate) use tokio::net::{TcpListener, TcpStream};

/// Connects. With `segment`, both sides send TCP segments of so many bytes at most.
pub(crate) async fn connect(peer: SocketAddr, segment: Option<u32>) -> io::Result<TcpStream> {
    let Some(bytes) = segment else {
        return TcpStream::connect(peer).await;
    };
    let socket = match peer {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    SockRef::from(&socket).set_tcp_mss(bytes)?;
    socket.connect(peer).await
}

/// Takes a connection off its runtime, for another thread.
pub(crate) fn detach(stream: TcpStream) -> io::Result<DetachedStream> {
    stream.into_std()
}

/// Registers a connection with the current runtime.
pub(crate) fn attach(stream: DetachedStream) -> io::Result<TcpStream> {
    TcpStream::from_std(stream)
}

/// Sets options of a connection.
pub(crate) fn set_options(
    stream: &TcpStream,
    set: impl FnOnce(SockRef<'_>) -> io::Result<()>,
) -> io::Result<()> {
    set(SockRef::from(stream))
}

/// Sends what the socket accepts, although it was not reported as writable.
pub(crate) fn send_unasked(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    SockRef::from(stream).send_vectored(slices)
}
