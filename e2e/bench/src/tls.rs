//! TLS: the certificate of the media node under test, and viewers that trust it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::{cipher_suite, default_provider};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Of the tests. It names localhost.
const CERTIFICATE: &str = include_str!("../../../media-node/tests/tls/first.crt");
const KEY: &str = include_str!("../../../media-node/tests/tls/first.key");

/// Writes the certificate and its key into a folder. Returns the media node's setting `tls`.
pub(crate) fn settings(folder: &Path) -> Result<String> {
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| folder.join(name));
    std::fs::write(&certificate, CERTIFICATE)?;
    std::fs::write(&key, KEY)?;
    Ok(format!(
        "tls: {{certificate: {certificate:?}, key: {key:?}}}\n"
    ))
}

/// Connects viewers.
#[derive(Clone)]
pub(crate) struct TlsClient(TlsConnector);

impl TlsClient {
    /// Returns a client with the first choice of browsers: TLS 1.3 with AES of 128 bits.
    pub(crate) fn new() -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes());
        roots.add(certificate.context("the certificate")?)?;
        let provider = CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            ..default_provider()
        };
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config).into()))
    }

    pub(crate) async fn connect(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost")?;
        self.0.connect(name, tcp).await.context("TLS handshake")
    }
}
