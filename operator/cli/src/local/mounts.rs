//! Secrets and ConfigMaps of the manifest's file, as folders: what the kubelet does for a Pod.
//!
//! They are written again when the file changes, so that a key can be rotated while the instances run.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livecluster_api::{Mount, MountSource};
use serde_json::Value;
use tempfile::TempDir;
use tracing::{info, warn};

use crate::manifest::{self, Manifest};

/// Interval at which the file is read again.
const POLL: Duration = Duration::from_secs(2);

/// Why the Secrets and ConfigMaps are not there.
#[derive(Debug, thiserror::Error)]
pub enum LocalMountError {
    /// The spec names an object that the file does not have.
    #[error("{field}: the file has no {kind} \"{name}\"; add it behind a line \"---\"")]
    Missing {
        /// Field of the spec.
        field: String,
        /// `Secret` or `ConfigMap`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// An entry is not what Kubernetes accepts.
    #[error("{kind} \"{name}\": {entry} is not allowed")]
    Invalid {
        /// `Secret` or `ConfigMap`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Name of the entry.
        entry: String,
    },
    /// The folders cannot be written.
    #[error("the folder for temporary files cannot be used, choose another one with TMPDIR")]
    Write(#[from] io::Error),
}

/// The folders. They are removed when this is dropped.
pub(super) struct Mounts {
    directory: TempDir,
}

impl Mounts {
    /// Writes the folders.
    ///
    /// # Errors
    /// See [`LocalMountError`].
    pub(super) fn new(cluster: &Manifest) -> Result<Self, LocalMountError> {
        let mounts = Self {
            directory: tempfile::Builder::new().prefix("livecluster-").tempdir()?,
        };
        mounts.write(cluster)?;
        Ok(mounts)
    }

    /// Returns the folder of all folders.
    pub(super) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Writes the folders again whenever the file changes.
    pub(super) async fn follow(&self, file: PathBuf) {
        let mut last = fs::read(&file).unwrap_or_default();
        loop {
            tokio::time::sleep(POLL).await;
            let Ok(content) = fs::read(&file) else {
                continue;
            };
            if content == last {
                continue;
            }
            last = content;
            let written = self.read_again(&file);
            let file = file.display();
            match written {
                Ok(()) => info!(%file, "Secrets and ConfigMaps are read again"),
                Err(error) => {
                    warn!(%file, error = &*error, "Secrets and ConfigMaps stay as they are")
                }
            }
        }
    }

    fn read_again(&self, file: &Path) -> Result<(), Box<dyn Error>> {
        Ok(self.write(&manifest::read(file)?)?)
    }

    fn write(&self, cluster: &Manifest) -> Result<(), LocalMountError> {
        for mount in cluster.spec.mounts() {
            if let Some(entries) = entries(&mount, &cluster.resources)? {
                write_folder(&self.root().join(&mount.volume), &entries)?;
            }
        }
        Ok(())
    }
}

/// The entries of the object that a mount names; `None` for a PersistentVolumeClaim, which only a Pod has.
fn entries(
    mount: &Mount,
    resources: &[Value],
) -> Result<Option<BTreeMap<String, Vec<u8>>>, LocalMountError> {
    let (kind, name, plain, encoded) = match &mount.source {
        MountSource::Secret(name) => ("Secret", name, "stringData", "data"),
        MountSource::ConfigMap(name) => ("ConfigMap", name, "data", "binaryData"),
        MountSource::PersistentVolumeClaim(_) => return Ok(None),
    };
    let object = resources
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name.as_str())
        .ok_or_else(|| LocalMountError::Missing {
            field: mount.field.clone(),
            kind,
            name: name.clone(),
        })?;
    let fields = |field: &str| object[field].as_object().into_iter().flatten();
    let decoded = fields(encoded).map(|(entry, value)| {
        let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
        (entry, bytes)
    });
    let texts = fields(plain).map(|(entry, value)| {
        let bytes = value.as_str().map(|text| text.as_bytes().to_vec());
        (entry, bytes)
    });
    let entries: Result<_, _> = decoded
        .chain(texts)
        .map(|(entry, bytes)| {
            let bytes = bytes.filter(|_| is_key(entry));
            let bytes = bytes.ok_or_else(|| LocalMountError::Invalid {
                kind,
                name: name.clone(),
                entry: entry.clone(),
            })?;
            Ok((entry.clone(), bytes))
        })
        .collect();
    entries.map(Some)
}

/// Whether Kubernetes accepts the name of an entry: it becomes a file name.
fn is_key(entry: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !entry.is_empty() && entry != "." && !entry.starts_with("..") && entry.bytes().all(allowed)
}

fn write_folder(folder: &Path, entries: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for old in fs::read_dir(folder)? {
        let old = old?;
        if !entries.contains_key(&*old.file_name().to_string_lossy()) {
            fs::remove_file(old.path())?;
        }
    }
    for (entry, bytes) in entries {
        let file = folder.join(entry);
        if fs::read(&file).is_ok_and(|present| present == *bytes) {
            continue;
        }
        // A media node must not read half of a file.
        let new = folder.join(format!("..{entry}"));
        fs::write(&new, bytes)?;
        fs::rename(&new, &file)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {live.cam: one}
data: {live.other: dHdv}
---
apiVersion: livecluster.dev/v1alpha1
kind: LiveCluster
metadata: {name: demo}
spec: {auth: {publish: {keys: {secretName: keys}}}}
";

    fn read(mounts: &Mounts, file: &str) -> Option<String> {
        fs::read_to_string(mounts.root().join("auth-publish-keys").join(file)).ok()
    }

    #[test]
    fn secret_of_the_file_becomes_a_folder_and_is_rotated() {
        let mounts = Mounts::new(&manifest::parse(FILE).unwrap()).unwrap();
        assert_eq!(read(&mounts, "live.cam").as_deref(), Some("one"));
        assert_eq!(read(&mounts, "live.other").as_deref(), Some("two"));
        let rotated = FILE.replace("{live.cam: one}", "{live.new: three}");
        mounts.write(&manifest::parse(&rotated).unwrap()).unwrap();
        assert_eq!(read(&mounts, "live.cam"), None);
        assert_eq!(read(&mounts, "live.new").as_deref(), Some("three"));
    }

    #[test]
    fn missing_secret_and_forbidden_entry_are_named() {
        let missing = FILE.replace("secretName: keys", "secretName: other");
        let error = Mounts::new(&manifest::parse(&missing).unwrap())
            .err()
            .unwrap();
        assert!(
            error
                .to_string()
                .starts_with("spec.auth.publish.keys.secretName: the file has no Secret \"other\""),
            "{error}"
        );
        let escaping = FILE.replace("live.cam: one", "'../cam': one");
        let error = Mounts::new(&manifest::parse(&escaping).unwrap())
            .err()
            .unwrap();
        assert!(
            error.to_string().contains("../cam is not allowed"),
            "{error}"
        );
    }
}
