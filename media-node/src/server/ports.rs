//! The ports of a media node, opened as they are configured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use media_config::NodeConfig;

use super::admission::Port;
use super::bind_error::BindError;
use super::listener;
use crate::host::net::TcpListener;
use crate::tls::Tls;

/// Default address of the metrics.
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 9092);

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
    /// Probes, API and relays.
    pub internal: SocketAddr,
    /// Metrics.
    pub metrics: SocketAddr,
}

/// An open port and what is served on it.
pub(super) struct OpenPort {
    pub(super) listener: TcpListener,
    pub(super) port: Port,
}

/// Opens all ports.
pub(super) fn open(
    config: &NodeConfig,
    tls: Option<&Tls>,
) -> Result<(Vec<OpenPort>, Addresses), BindError> {
    let listen = &config.listen;
    let mut ports = Vec::new();
    let mut add = |listener: TcpListener, configured, port| {
        let address = listener.local_addr().unwrap_or(configured);
        ports.push(OpenPort { listener, port });
        address
    };
    let mut open = |field, address, port| {
        listener::bind(field, address).map(|listener| add(listener, address, port))
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
        metrics: METRICS,
    };
    if let Some(tls) = tls {
        let rtmps = Port::Rtmp(Some(tls.rtmps.clone()));
        addresses.rtmps = open_public("listen.rtmps", listen.rtmps, rtmps)?;
        let https = Port::Http(Some(tls.https.clone()));
        addresses.https = open_public("listen.https", listen.https, https)?;
    }
    let internal = internal_address(config)?;
    addresses.internal = open("listen.internal", internal, Port::Internal)?;
    addresses.metrics = add(bind_metrics(listen.metrics)?, METRICS, Port::Metrics);
    Ok((ports, addresses))
}

/// Opens the metrics port. Several media nodes of one host need no configuration: one of them has the default port.
fn bind_metrics(configured: Option<SocketAddr>) -> Result<TcpListener, BindError> {
    let bind = |address| listener::bind("listen.metrics", address);
    match (configured, bind(configured.unwrap_or(METRICS))) {
        (None, Err(BindError::InUse { .. })) => bind(SocketAddr::new(METRICS.ip(), 0)),
        (_, bound) => bound,
    }
}

/// Returns the address of the internal port: a loopback address where it asks for no token.
fn internal_address(config: &NodeConfig) -> Result<SocketAddr, BindError> {
    let address = config.listen.internal;
    if config.identity.is_set() || address.ip().to_canonical().is_loopback() {
        return Ok(address);
    }
    if address.ip().is_unspecified() {
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())))
    } else {
        Err(BindError::Exposed(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_port_without_identity_listens_on_loopback_only() {
        let address = |internal: &str, secret: Option<&str>| {
            let mut config = NodeConfig::default();
            config.listen.internal = internal.parse().unwrap();
            config.identity.secret_file = secret.map(Into::into);
            internal_address(&config).map(|address| address.to_string())
        };
        assert_eq!(address("[::]:9090", None).unwrap(), "127.0.0.1:9090");
        assert_eq!(address("[::1]:9090", None).unwrap(), "[::1]:9090");
        let error = address("192.0.2.1:9090", None).unwrap_err().to_string();
        assert!(error.starts_with("listen.internal: ") && error.contains("identity.secretFile"));
        for open in ["[::]:9090", "192.0.2.1:9090"] {
            assert_eq!(address(open, Some("/secret")).unwrap(), open);
        }
    }
}
