//! The certificate and its key: two PEM files, read again when they change. A pair that cannot be used leaves the last good
//! one in place.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use media_config::TlsSettings;
use parking_lot::{Mutex, RwLock};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tracing::{info, warn};

use super::TlsMetrics;
use super::expiry;
use crate::small_file;

/// Attempts to read two files of the same version. The kubelet replaces both in one step.
const MAX_ATTEMPTS: usize = 3;

/// The certificate that clients get.
pub(super) struct Certificate {
    settings: TlsSettings,
    provider: Arc<CryptoProvider>,
    metrics: TlsMetrics,
    current: RwLock<Arc<CertifiedKey>>,
    /// The result of the last reading. Each change of it is logged and counted once.
    last: Mutex<Result<PairDigest, CertificateError>>,
}

/// Why a certificate and its key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {}: {reason}", path.display())]
pub(crate) struct CertificateError {
    field: &'static str,
    path: PathBuf,
    reason: String,
}

/// The content of the two files.
struct CertifiedKeyFiles {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// SHA-256 of both files. The key itself is not kept.
type PairDigest = [u8; 32];

/// What the files contain.
struct Loaded {
    key: CertifiedKey,
    /// Unix timestamp of the end of its validity, in seconds.
    expiry: i64,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.settings.certificate;
        formatter.debug_tuple("Certificate").field(path).finish()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read();
        Some(Arc::clone(&current))
    }
}

impl Certificate {
    /// Reads the files for the first time.
    pub(super) fn open(
        settings: &TlsSettings,
        provider: Arc<CryptoProvider>,
        metrics: TlsMetrics,
    ) -> Result<Self, CertificateError> {
        let pair = CertifiedKeyFiles::read(settings)?;
        let loaded = pair.load(settings, &provider)?;
        let expiry = metrics.expiry.with_label_values::<&str>(&[]);
        expiry.set(loaded.expiry);
        Ok(Self {
            settings: settings.clone(),
            provider,
            metrics,
            current: RwLock::new(Arc::new(loaded.key)),
            last: Mutex::new(Ok(pair.digest())),
        })
    }

    /// Reads the files again, and replaces the certificate if they have changed. Returns whether it did.
    pub(super) fn reload(&self) -> bool {
        let pair = CertifiedKeyFiles::read(&self.settings);
        let read = pair
            .as_ref()
            .map(CertifiedKeyFiles::digest)
            .map_err(Clone::clone);
        let mut last = self.last.lock();
        if read == *last {
            return false;
        }
        let loaded = pair.and_then(|pair| pair.load(&self.settings, &self.provider));
        let is_replaced = loaded.is_ok();
        let result = match loaded {
            Ok(Loaded { key, expiry }) => {
                info!(certificate = %self.settings.certificate.display(), "certificate read again");
                let metric = self.metrics.expiry.with_label_values::<&str>(&[]);
                metric.set(expiry);
                *self.current.write() = Arc::new(key);
                "success"
            }
            Err(error) => {
                warn!(%error, "new certificate cannot be used, keeping the last one");
                "error"
            }
        };
        self.metrics.reloads.of([result]).inc();
        *last = read;
        is_replaced
    }
}

impl CertifiedKeyFiles {
    /// Reads both files.
    fn read(settings: &TlsSettings) -> Result<Self, CertificateError> {
        let certificate = || read("tls.certificate", &settings.certificate);
        let mut before = certificate()?;
        for _ in 0..MAX_ATTEMPTS {
            let key = read("tls.key", &settings.key)?;
            let after = certificate()?;
            if before == after {
                return Ok(Self {
                    certificate: after,
                    key,
                });
            }
            before = after;
        }
        Err(CertificateError {
            field: "tls.certificate",
            path: settings.certificate.clone(),
            reason: "the file changes all the time".to_owned(),
        })
    }

    fn digest(&self) -> PairDigest {
        let certificate = Sha256::digest(&self.certificate);
        let digest = Sha256::new().chain_update(certificate);
        digest.chain_update(&self.key).finalize().into()
    }

    /// Parses both files, and checks that they belong together.
    fn load(
        &self,
        settings: &TlsSettings,
        provider: &CryptoProvider,
    ) -> Result<Loaded, CertificateError> {
        let certificate = |reason: String| CertificateError {
            field: "tls.certificate",
            path: settings.certificate.clone(),
            reason,
        };
        let key = |reason: String| CertificateError {
            field: "tls.key",
            path: settings.key.clone(),
            reason,
        };
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| certificate(format!("not a PEM file: {error}")))?;
        let first = chain
            .first()
            .ok_or_else(|| certificate("no certificate in it; give a PEM file".to_owned()))?;
        let expiry = expiry::not_after(first)
            .ok_or_else(|| certificate("not an X.509 certificate".to_owned()))?;
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| key(format!("no private key in it: {error}; give a PEM file")))?;
        let key = CertifiedKey::from_der(chain, private, provider)
            .map_err(|error| key(format!("not the key of the certificate: {error}")))?;
        Ok(Loaded { key, expiry })
    }
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, CertificateError> {
    small_file::read(path).map_err(|error| CertificateError {
        field,
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
