//! TCP connections of encoders and viewers.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

/// Connects. A load balancer may choose a server that is gone, and then nothing answers.
pub(super) async fn connect(address: impl ToSocketAddrs) -> Result<TcpStream> {
    let connected = timeout(CONNECT, TcpStream::connect(address)).await;
    let connected = connected.with_context(|| format!("no connection within {CONNECT:?}"))?;
    connected.context("connect")
}

/// A lost SYN is sent again after one second.
const CONNECT: Duration = Duration::from_secs(2);
