//! TLS of the public ports: the certificate that clients get, and their handshakes.
//!
//! One certificate serves all ports. It is a pair of mounted files, which are read again when they change: a renewed
//! certificate takes effect for new connections, and open ones stay as they are.

mod certificate;
mod expiry;
mod handshake;
mod tickets;

use std::sync::Arc;

use media_config::TlsSettings;
use prometheus::IntGaugeVec;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::{self, ServerConfig};
use tracing::warn;

use crate::counters::Counters;
use certificate::Certificate;
pub(crate) use certificate::CertificateError;
pub(crate) use handshake::{TlsAcceptor, TlsHandshakeError};
use tickets::Tickets;

/// Protocol of the HTTPS port. Clients of RTMPS name none.
const ALPN_HTTP: &[u8] = b"http/1.1";

/// Metrics of TLS.
#[derive(Clone)]
pub(crate) struct TlsMetrics {
    /// Label `reason`; see [`TlsHandshakeError::label`].
    pub(crate) failed_handshakes: Counters<1>,
    /// Label `result`: `success`, `error`.
    pub(crate) reloads: Counters<1>,
    /// Without a label. It has a value only where there is a certificate.
    pub(crate) expiry: IntGaugeVec,
}

/// TLS of a media node.
pub(crate) struct Tls {
    certificate: Arc<Certificate>,
    tickets: Arc<Tickets>,
    /// Handshakes of the RTMPS port.
    pub(crate) rtmps: TlsAcceptor,
    /// Handshakes of the HTTPS port.
    pub(crate) https: TlsAcceptor,
}

/// Why TLS is not possible.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("tls: {0}")]
    Library(#[from] rustls::Error),
}

impl Tls {
    /// Reads the certificate.
    pub(crate) fn open(settings: &TlsSettings, metrics: &TlsMetrics) -> Result<Self, TlsError> {
        let provider = Arc::new(default_provider());
        let certificate = Certificate::open(settings, Arc::clone(&provider), metrics.clone())?;
        let certificate = Arc::new(certificate);
        let tickets = Arc::new(Tickets::new()?);
        let mut config = server_config(provider, &certificate, &tickets)?;
        let failed = &metrics.failed_handshakes;
        let rtmps = TlsAcceptor::new(without_later_tickets(config.clone()), failed.clone());
        config.alpn_protocols.push(ALPN_HTTP.to_vec());
        Ok(Self {
            certificate,
            tickets,
            rtmps,
            https: TlsAcceptor::new(config, failed.clone()),
        })
    }

    /// Reads the certificate again if its files have changed. It blocks for as long as the files take.
    pub(crate) fn reload(&self) {
        if self.certificate.reload()
            && let Err(error) = self.tickets.renew()
        {
            warn!(%error, "session tickets could not be renewed: clients may continue sessions of the former certificate");
        }
    }
}

/// Returns a configuration by which nothing follows the handshake of TLS 1.3. With GnuTLS, librtmp (rtmpdump, GStreamer's `rtmpsrc`)
/// takes a ticket there for an error. With TLS 1.2 a ticket is a part of the handshake.
fn without_later_tickets(mut config: ServerConfig) -> ServerConfig {
    config.send_tls13_tickets = 0;
    config
}

fn server_config(
    provider: Arc<CryptoProvider>,
    certificate: &Arc<Certificate>,
    tickets: &Arc<Tickets>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::<Certificate>::clone(certificate));
    config.ticketer = Arc::<Tickets>::clone(tickets);
    // Clients keep their sessions themselves, in tickets.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}
