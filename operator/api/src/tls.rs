//! TLS of the ports for clients: `spec.tls`.

use std::path::Path;

use media_config::TlsSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mount::{Mount, MountSource};

/// Name of the volume with the certificate.
const VOLUME: &str = "tls";

/// Certificate of the ports with TLS.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsSpec {
    /// Secret of the same namespace of type `kubernetes.io/tls`, such as cert-manager writes: its entries are `tls.crt` and
    /// `tls.key`. The Pods read it again when it changes: a renewed certificate needs no rollout and closes no connection.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// Whether the ports without TLS (1935 and 8080) are closed.
    #[serde(default)]
    pub required: bool,
}

impl TlsSpec {
    /// Returns the settings of a media node whose mounts are folders of `root`.
    pub fn settings(&self, root: &Path) -> TlsSettings {
        let folder = root.join(VOLUME);
        TlsSettings {
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
        }
    }

    /// Returns the Secret that is mounted.
    pub fn mount(&self) -> Mount {
        Mount {
            volume: VOLUME.to_owned(),
            field: "spec.tls.secretName".to_owned(),
            source: MountSource::Secret(self.secret_name.clone()),
        }
    }
}
