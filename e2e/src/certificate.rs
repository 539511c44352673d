//! Certificates that scenarios make for themselves.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tokio::process::Command;

use crate::process;

/// A certificate and its key, two PEM files.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Makes a self-signed certificate for an address: `NAME.pem` and `NAME-key.pem` in the folder.
    pub async fn make(folder: &Path, name: &str, address: &str) -> Result<Self> {
        let certificate = Self {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}-key.pem")),
        };
        let mut command = Command::new("openssl");
        command
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", "/CN=localhost", "-addext"])
            .arg(format!("subjectAltName=IP:{address}"))
            .arg("-keyout")
            .arg(&certificate.key)
            .arg("-out")
            .arg(&certificate.certificate);
        process::finish(&mut command, "").await?.success()?;
        Ok(certificate)
    }
}
