//! The handshake of a client, and why it fails.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls::{self, AlertDescription, InvalidMessage, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::counters::Counters;
use crate::host::net::TcpStream;

/// Performs handshakes of one port.
#[derive(Clone)]
pub(crate) struct TlsAcceptor {
    acceptor: tokio_rustls::TlsAcceptor,
    failed: Counters<1>,
}

/// Why there is no connection after a handshake.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsHandshakeError {
    #[error("the TLS handshake took too long")]
    Timeout,
    #[error("the socket failed")]
    Socket(#[from] io::Error),
    #[error("the TLS handshake failed")]
    Tls(#[source] rustls::Error),
    #[error("closed to make room for newer connections without a stream")]
    Evicted,
}

impl TlsAcceptor {
    pub(super) fn new(config: ServerConfig, failed: Counters<1>) -> Self {
        Self {
            acceptor: Arc::new(config).into(),
            failed,
        }
    }

    /// Performs the handshake. A failure is counted.
    pub(crate) async fn accept(
        &self,
        tcp: TcpStream,
        deadline: Instant,
    ) -> Result<Box<TlsStream<TcpStream>>, TlsHandshakeError> {
        let accepted = match timeout_at(deadline, self.acceptor.accept(tcp)).await {
            Ok(accepted) => accepted.map_err(TlsHandshakeError::from_io),
            Err(_) => Err(TlsHandshakeError::Timeout),
        };
        accepted.map(Box::new).inspect_err(|error| {
            let label = error.label();
            self.failed.of([label]).inc();
        })
    }
}

impl TlsHandshakeError {
    /// Takes the error of TLS out of the error of the socket that carries it.
    fn from_io(error: io::Error) -> Self {
        match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(tls) => Self::Tls(rustls::Error::clone(tls)),
            None => Self::Socket(error),
        }
    }

    /// Value of the metric's label `reason`.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Socket(_) => "closed",
            Self::Evicted => "evicted",
            Self::Tls(error) => match error {
                // An RTMP or HTTP client without TLS.
                rustls::Error::InvalidMessage(
                    InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
                ) => "not_tls",
                rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol => {
                    "incompatible"
                }
                rustls::Error::AlertReceived(alert) if rejects_certificate(*alert) => "certificate",
                _ => "protocol",
            },
        }
    }

    /// Returns the cause as text for the log.
    pub(crate) fn cause(&self) -> Option<String> {
        self.source().map(ToString::to_string)
    }
}

fn rejects_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}
