//! Connections of the kernel or of a simulated network: those of a unit test are the former, unless a simulated host runs it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::ToSocketAddrs;

use super::super::kernel;
use super::current;
use super::stream::{SimulatedListener, SimulatedStream};

/// A connection that belongs to no runtime.
#[derive(Debug)]
pub(crate) enum DetachedStream {
    Kernel(kernel::DetachedStream),
    Simulated(SimulatedStream),
}

#[derive(Debug)]
pub(crate) enum TcpListener {
    Kernel(kernel::TcpListener),
    Simulated(SimulatedListener),
}

#[derive(Debug)]
pub(crate) enum TcpStream {
    Kernel(kernel::TcpStream),
    Simulated(SimulatedStream),
}

/// Connects. The packets of the simulated network have no size.
pub(crate) async fn connect(peer: SocketAddr, segment: Option<u32>) -> io::Result<TcpStream> {
    match current() {
        Some(_) => TcpStream::connect(peer).await,
        None => kernel::connect(peer, segment).await.map(TcpStream::Kernel),
    }
}

pub(crate) fn detach(stream: TcpStream) -> io::Result<DetachedStream> {
    Ok(match stream {
        TcpStream::Kernel(stream) => DetachedStream::Kernel(kernel::detach(stream)?),
        TcpStream::Simulated(stream) => DetachedStream::Simulated(stream),
    })
}

pub(crate) fn attach(stream: DetachedStream) -> io::Result<TcpStream> {
    Ok(match stream {
        DetachedStream::Kernel(stream) => TcpStream::Kernel(kernel::attach(stream)?),
        DetachedStream::Simulated(stream) => TcpStream::Simulated(stream),
    })
}

/// Sets options of a kernel's connection. The simulated network has those of production by itself.
pub(crate) fn set_options(
    stream: &TcpStream,
    set: impl FnOnce(SockRef<'_>) -> io::Result<()>,
) -> io::Result<()> {
    match stream {
        TcpStream::Kernel(stream) => kernel::set_options(stream, set),
        TcpStream::Simulated(_) => Ok(()),
    }
}

pub(crate) fn send_unasked(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    match stream {
        TcpStream::Kernel(stream) => kernel::send_unasked(stream, slices),
        TcpStream::Simulated(stream) => stream.try_write_vectored(slices),
    }
}

impl TcpListener {
    /// Opens a port of the simulated host, if one runs this.
    pub(crate) fn simulated(address: SocketAddr) -> Option<io::Result<Self>> {
        let host = current()?;
        let opened = SimulatedListener::bind(host.network, host.address, address.port());
        Some(opened.map(Self::Simulated))
    }

    pub(crate) fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        kernel::TcpListener::from_std(listener).map(Self::Kernel)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Kernel(listener) => listener.local_addr(),
            Self::Simulated(listener) => Ok(listener.address),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Self::Kernel(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((TcpStream::Kernel(stream), peer))
            }
            Self::Simulated(listener) => {
                let (stream, peer) = listener.accept().await;
                Ok((TcpStream::Simulated(stream), peer))
            }
        }
    }
}

impl TcpStream {
    pub(crate) async fn connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        let Some(host) = current() else {
            return kernel::TcpStream::connect(address).await.map(Self::Kernel);
        };
        let mut addresses = tokio::net::lookup_host(address).await?;
        let address = addresses.next().ok_or(io::ErrorKind::NotFound)?;
        let stream = SimulatedStream::connect(host.network, host.address, address).await?;
        Ok(Self::Simulated(stream))
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Kernel(stream) => stream.peer_addr(),
            Self::Simulated(stream) => Ok(stream.peer),
        }
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Kernel(stream) => stream.readable().await,
            Self::Simulated(stream) => stream.readable().await,
        }
    }

    /// Reads bytes that stay in a kernel's connection. No load balancer is simulated, whose header is read so.
    pub(crate) async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Kernel(stream) => stream.peek(buffer).await,
            Self::Simulated(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Kernel(stream) => stream.writable().await,
            Self::Simulated(stream) => stream.writable().await,
        }
    }

    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Kernel(stream) => stream.try_write_vectored(slices),
            Self::Simulated(stream) => stream.try_write_vectored(slices),
        }
    }
}

impl From<kernel::TcpStream> for TcpStream {
    fn from(stream: kernel::TcpStream) -> Self {
        Self::Kernel(stream)
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Kernel(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Simulated(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Kernel(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Simulated(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Kernel(stream) => Pin::new(stream).poll_flush(context),
            Self::Simulated(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Kernel(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Simulated(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
