//! TLS: the certificates of the tests, and a client of a TLS library.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use media_config::TlsSettings;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

/// Folder with `first.crt` and `second.crt`, which name localhost, and their keys.
pub(crate) const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");

/// Both versions of TLS.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// Returns the settings of a media node with a certificate of a folder.
pub(crate) fn tls(folder: &Path, name: &str) -> Option<TlsSettings> {
    Some(TlsSettings {
        certificate: folder.join(format!("{name}.crt")),
        key: folder.join(format!("{name}.key")),
    })
}

/// A client that trusts the certificates of the tests.
#[derive(Clone)]
pub(crate) struct TlsClient(TlsConnector);

impl TlsClient {
    /// Trusts these certificates and no other one.
    pub(crate) fn new(trusted: &[&str], version: &'static SupportedProtocolVersion) -> Self {
        let mut roots = RootCertStore::empty();
        for name in trusted {
            roots.add(certificate(name)).unwrap();
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // As browsers do, which prefer HTTP/2.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self(Arc::new(config).into())
    }

    /// Connects.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        self.0.connect(name, tcp).await
    }

    /// Returns an address without TLS, whose connections continue by TLS to `address`.
    pub(crate) async fn tunnel(&self, address: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let plain = listener.local_addr().unwrap();
        let client = self.clone();
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut tls = client.connect(address).await.unwrap();
                    drop(copy_bidirectional(&mut tcp, &mut tls).await);
                });
            }
        });
        plain
    }
}

/// Returns a certificate of the tests.
pub(crate) fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&fs::read(format!("{CERTIFICATES}/{name}.crt")).unwrap())
        .unwrap()
}
