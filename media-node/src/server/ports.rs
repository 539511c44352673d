//! The ports of a media node, opened as its configuration says.

use std::net::SocketAddr;

use media_config::Listen;
use tokio::net::TcpListener;

use super::admission::Port;
use super::listener::{self, BindError};
use crate::tls::Tls;

/// The addresses that a media node listens on, with the ports that the system chose where the configuration has 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// RTMP: publish and play. `None` where the port is closed, as below.
    pub rtmp: Option<SocketAddr>,
    /// HTTP-FLV, WebSocket-FLV and the player page.
    pub http: Option<SocketAddr>,
    /// RTMP by TLS.
    pub rtmps: Option<SocketAddr>,
    /// HTTP by TLS.
    pub https: Option<SocketAddr>,
    /// Probes, metrics, API and relays.
    pub internal: SocketAddr,
}

/// An open port and what is served on it.
pub(super) struct OpenPort {
    pub(super) listener: TcpListener,
    pub(super) port: Port,
}

/// Opens all ports.
pub(super) fn open(
    listen: &Listen,
    tls: Option<&Tls>,
) -> Result<(Vec<OpenPort>, Addresses), BindError> {
    let mut ports = Vec::new();
    let mut open = |field, address, port| {
        let listener = listener::bind(field, address)?;
        let address = listener.local_addr().unwrap_or(address);
        ports.push(OpenPort { listener, port });
        Ok(address)
    };
    let mut open_public = |field, address: Option<SocketAddr>, port| {
        let address = address.map(|address| open(field, address, port));
        address.transpose()
    };
    let mut addresses = Addresses {
        rtmp: open_public("listen.rtmp", listen.rtmp, Port::Rtmp(None))?,
        http: open_public("listen.http", listen.http, Port::Http(None))?,
        rtmps: None,
        https: None,
        internal: listen.internal,
    };
    if let Some(tls) = tls {
        let rtmps = Port::Rtmp(Some(tls.rtmps.clone()));
        addresses.rtmps = open_public("listen.rtmps", listen.rtmps, rtmps)?;
        let https = Port::Http(Some(tls.https.clone()));
        addresses.https = open_public("listen.https", listen.https, https)?;
    }
    addresses.internal = open("listen.internal", listen.internal, Port::Internal)?;
    Ok((ports, addresses))
}
