//! Listening sockets: opens ports and accepts connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::bind_error::BindError;
use crate::host::net::{self, DetachedStream, TcpListener};

/// Connections that the kernel queues while the media node is busy: the viewers of another one that stops reconnect all at
/// once.
const BACKLOG: i32 = 4096;

/// Pause when the process has no file descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Opens the port of this `field` of the configuration.
///
/// # Guarantees
/// `[::]` also listens on IPv4, and on a host without IPv6 it listens on IPv4 alone. A port can be opened again immediately
/// after it was closed.
pub(super) fn bind(field: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let opened = match open(address) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && lacks_ipv6(&error) => {
            open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        opened => opened,
    };
    opened.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { field, address },
        io::ErrorKind::PermissionDenied => BindError::NotAllowed { field, address },
        _ => BindError::Listen {
            field,
            address,
            source,
        },
    })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    #[cfg(test)]
    if let Some(opened) = TcpListener::simulated(address) {
        return opened;
    }
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Connections of an earlier process in TIME_WAIT do not block the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn lacks_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.kind() == io::ErrorKind::Unsupported
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// Address family not supported by protocol, on Linux.
const EAFNOSUPPORT: i32 = 97;

/// Accepts connections until `closing` is cancelled, then closes the port.
pub(super) async fn accept(
    listener: TcpListener,
    closing: CancellationToken,
    mut accepted: impl FnMut(DetachedStream, SocketAddr),
) {
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            () = closing.cancelled() => return,
        };
        match connection.and_then(|(stream, peer)| Ok((net::detach(stream)?, peer))) {
            Ok((stream, peer)) => accepted(stream, peer),
            Err(error) if affects_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "cannot accept connections, retrying");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

fn affects_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn error_of_a_port_in_use_names_its_field() {
        let first = bind("listen.rtmp", SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = first.local_addr().unwrap();
        let error = bind("listen.http", address).unwrap_err().to_string();
        assert!(error.starts_with("listen.http: port "), "{error}");
        assert!(error.contains(&address.port().to_string()), "{error}");
    }
}
