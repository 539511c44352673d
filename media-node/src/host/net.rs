//! TCP connections.

#[cfg(not(test))]
pub(crate) use self::kernel::*;
#[cfg(test)]
pub(crate) use super::simulated::either::*;

/// The connections of the kernel.
pub(crate) mod kernel {
    use std::io::{self, IoSlice};

    use socket2::SockRef;
    pub(crate) use std::net::TcpStream as DetachedStream;
    pub(crate) use tokio::net::{TcpListener, TcpStream};

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
}
