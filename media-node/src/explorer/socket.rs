//! The connections of encoders and viewers, plain or by TLS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use media_config::TlsSettings;
use media_wire::StreamKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::discovery::OriginSet;
use crate::host::simulated::network::{ConnectionRoom, Network};
use crate::host::simulated::stream::SimulatedStream;

/// The address of all clients.
pub(super) const CLIENTS: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);

/// The public ports of every media node.
pub(super) const RTMP: u16 = 1935;
pub(super) const RTMPS: u16 = 1936;
pub(super) const HTTP: u16 = 8080;
pub(super) const HTTPS: u16 = 8443;

/// Their port for each other.
pub(super) const INTERNAL: u16 = 9090;

const APP: &str = "live";

/// Returns an address of a media node: loopback, where the internal port needs no identity.
pub(super) fn node_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, number, 1)
}

/// Returns the name of a stream.
pub(super) fn stream_name(number: usize) -> String {
    format!("{APP}/{number}")
}

/// Returns the key of a stream of this name, as media nodes know it.
pub(super) fn stream_key(stream: &str) -> StreamKey {
    let (app, name) = stream.split_once('/').expect("the name of a stream");
    StreamKey::new(None, app, name).expect("a valid name")
}

/// Returns the origins in the order in which edges try them for a stream, before any has another address.
pub(super) fn first_choices(stream: usize, origins: usize) -> Vec<usize> {
    let addresses: Vec<SocketAddr> = (1..)
        .take(origins)
        .map(|number| (node_address(number), INTERNAL).into())
        .collect();
    let (_, set) = watch::channel(Arc::from(addresses.as_slice()));
    let key = stream_key(&stream_name(stream));
    let ranked = OriginSet::of(set).ranked(&key);
    let number = |address| addresses.iter().position(|it| *it == address);
    ranked.into_iter().filter_map(number).collect()
}

/// The connection of a client.
pub(super) type ClientSocket = Box<dyn SocketStream>;

/// A plain connection, or one by TLS.
pub(super) trait SocketStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> SocketStream for T {}

/// A port of a media node, and the way to it.
pub(super) struct Route {
    pub(super) network: Network,
    pub(super) to: SocketAddr,
    pub(super) room: ConnectionRoom,
}

/// Returns the room of a connection that holds so many bytes in each direction.
pub(super) fn wide(capacity: usize) -> ConnectionRoom {
    ConnectionRoom {
        capacity,
        bytes_per_second: None,
    }
}

impl Route {
    /// Connects. The port says whether by TLS.
    pub(super) async fn connect(&self) -> io::Result<ClientSocket> {
        let (network, to) = (self.network.clone(), self.to);
        let tcp = SimulatedStream::connect_client(network, CLIENTS, to, self.room).await?;
        if !matches!(to.port(), RTMPS | HTTPS) {
            return Ok(Box::new(tcp));
        }
        static CONNECTOR: OnceLock<TlsConnector> = OnceLock::new();
        let name = ServerName::try_from("localhost").expect("a valid name");
        let connector = CONNECTOR.get_or_init(connector);
        Ok(Box::new(connector.connect(name, tcp).await?))
    }
}

/// Returns the certificate of all media nodes, with its key.
pub(super) fn certificate() -> TlsSettings {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls"));
    TlsSettings {
        certificate: folder.join("first.crt"),
        key: folder.join("first.key"),
    }
}

fn connector() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_file(certificate().certificate);
    roots
        .add(trusted.expect("a certificate"))
        .expect("a certificate that can be trusted");
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions that the library has");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    // What a client keeps would outlive its schedule.
    config.resumption = Resumption::disabled();
    Arc::new(config).into()
}
