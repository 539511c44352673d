//! Opening ports, accepting connections and setting their socket options.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Connections that the kernel holds while the node is busy: a drained neighbour's viewers come back all at once.
const BACKLOG: i32 = 4096;

/// How long nothing is accepted when the process has no file descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A port is taken.
    #[error(
        "{field}: port {} of {} is in use by another program; stop that program or choose another port in {field}",
        address.port(), address.ip()
    )]
    InUse {
        /// The field of the configuration.
        field: &'static str,
        /// What it says.
        address: SocketAddr,
    },
    /// A port below 1024 needs a right that the process does not have.
    #[error("{field}: not allowed to listen on {address}; choose a port above 1023 in {field}")]
    NotAllowed {
        /// The field of the configuration.
        field: &'static str,
        /// What it says.
        address: SocketAddr,
    },
    /// The address is not one of this machine, or the system refuses for another reason.
    #[error("{field}: cannot listen on {address}; choose an address of this machine in {field}")]
    Listen {
        /// The field of the configuration.
        field: &'static str,
        /// What it says.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The threads that serve connections cannot be started.
    #[error("workers: cannot start the worker threads")]
    Workers(#[source] io::Error),
    /// The origins are not understood.
    #[error("{0}")]
    Origins(String),
}

impl BindError {
    /// Says what is wrong with the origins: every message of theirs names the field.
    pub(crate) fn origins(error: impl std::error::Error) -> Self {
        Self::Origins(error.to_string())
    }
}

/// Opens the port that `field` of the configuration asks for.
///
/// Guarantees: `[::]` also listens on IPv4, and on a machine without IPv6 it listens on IPv4 alone.
pub(crate) fn bind(field: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
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
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
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

/// Accepts connections until `closing`, then closes the port.
pub(crate) async fn accept(
    listener: TcpListener,
    closing: CancellationToken,
    mut accepted: impl FnMut(std::net::TcpStream, SocketAddr),
) {
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            () = closing.cancelled() => return,
        };
        match connection.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok((stream, peer)) => accepted(stream, peer),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "cannot accept connections, trying again");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
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
    async fn a_busy_port_is_named_with_its_field() {
        let first = bind("listen.rtmp", SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = first.local_addr().unwrap();
        let error = bind("listen.http", address).unwrap_err().to_string();
        assert!(error.starts_with("listen.http: port "), "{error}");
        assert!(error.contains(&address.port().to_string()), "{error}");
    }
}
