//! `livecluster check`: validates manifests without a Kubernetes cluster.

use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::manifest::{self, ManifestError};

/// Options of `livecluster check`.
#[derive(Debug, clap::Args)]
pub struct CheckOptions {
    /// Manifest to check; it may have several documents
    file: PathBuf,
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The file cannot be read, or is not YAML.
    #[error("{}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: ManifestError,
    },
    /// Some of its documents are refused. Their errors have been printed.
    #[error("{}: {refused} of {} LiveClusters refused", file.display(), refused + valid)]
    Refused {
        /// The file.
        file: PathBuf,
        /// LiveClusters that are refused.
        refused: usize,
        /// LiveClusters that are valid.
        valid: usize,
    },
    /// Nothing in the file could be checked.
    #[error("{}: no LiveCluster found", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
}

/// Validates each LiveCluster of a file and prints the result. Resources of other API groups are left out.
///
/// # Errors
/// When a LiveCluster is refused, and when there is none.
pub fn run(options: CheckOptions) -> Result<(), CheckError> {
    let file = options.file;
    let documents = std::fs::read_to_string(&file)
        .map_err(ManifestError::from)
        .and_then(|text| manifest::documents(&text))
        .map_err(|source| CheckError::File {
            file: file.clone(),
            source,
        })?;
    let (mut valid, mut refused) = (0, 0);
    // A reader of the output that ends early does not change the result.
    let mut out = io::stdout();
    for (index, document) in documents.into_iter().enumerate() {
        let place = format!("{}, document {}", file.display(), index + 1);
        if let Some(other) = manifest::other_resource(&document) {
            let _ = writeln!(out, "{place}: {other} is not checked");
            continue;
        }
        match manifest::validate(document) {
            Ok(manifest) => {
                let name = manifest.name.name;
                let _ = writeln!(out, "{place}: LiveCluster {name} is valid");
                valid += 1;
            }
            Err(error) => {
                let _ = writeln!(io::stderr(), "{place}: {error}");
                refused += 1;
            }
        }
    }
    match (valid, refused) {
        (0, 0) => Err(CheckError::Empty { file }),
        (_, 0) => Ok(()),
        _ => Err(CheckError::Refused {
            file,
            refused,
            valid,
        }),
    }
}
