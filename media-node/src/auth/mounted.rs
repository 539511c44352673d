//! A value that is parsed from mounted files, and again when they change.
//!
//! Secrets and ConfigMaps change under a running Pod. Their files are small, so that they are read and compared every few
//! seconds: this needs no notification, and works for every kind of file system.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tracing::{info, warn};

use crate::small_file;

/// The maximum number of files of one folder.
const MAX_FILES: usize = 10_000;

/// The number of consecutive failures after which files count as removed. A folder that is being replaced is absent for a moment. One
/// that stays absent was removed, and with it the permissions that its keys gave.
const MAX_FAILURES: u32 = 3;

/// The files by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// A source of keys that is read again from time to time.
pub(super) trait KeySource: Send + Sync {
    /// Reads the source again if it has changed.
    fn reload(&self);
}

/// A value that is parsed from the files of a folder, or from one file.
pub(super) struct Mounted<T> {
    path: PathBuf,
    parse: ParseFiles<T>,
    value: RwLock<Arc<T>>,
    seen: Mutex<LastRead>,
}

type ParseFiles<T> = fn(&Files) -> Result<T, String>;

struct LastRead {
    files: Files,
    failures: u32,
}

/// Why the files cannot be used at the start.
#[derive(Debug)]
pub(super) enum MountError {
    Read(io::Error),
    Invalid(String),
}

impl<T> Mounted<T> {
    /// Reads the files for the first time.
    pub(super) fn open(path: &Path, parse: ParseFiles<T>) -> Result<Self, MountError> {
        let files = read(path).map_err(MountError::Read)?;
        let value = parse(&files).map_err(MountError::Invalid)?;
        Ok(Self {
            path: path.to_owned(),
            parse,
            value: RwLock::new(Arc::new(value)),
            seen: Mutex::new(LastRead { files, failures: 0 }),
        })
    }

    /// Returns the newest value.
    pub(super) fn value(&self) -> Arc<T> {
        let value = self.value.read();
        Arc::clone(&value)
    }

    fn replace(&self, value: T) {
        let mut current = self.value.write();
        *current = Arc::new(value);
    }
}

impl<T: Send + Sync> KeySource for Mounted<T> {
    fn reload(&self) {
        let mut seen = self.seen.lock();
        let files = match read(&self.path) {
            Ok(files) => {
                seen.failures = 0;
                files
            }
            Err(error) => {
                seen.failures = seen.failures.saturating_add(1);
                if seen.failures != MAX_FAILURES {
                    return;
                }
                warn!(path = %self.path.display(), %error, "cannot read keys");
                Files::new()
            }
        };
        if files == seen.files {
            return;
        }
        match (self.parse)(&files) {
            Ok(value) => {
                info!(path = %self.path.display(), files = files.len(), "keys read again");
                self.replace(value);
            }
            Err(error) => {
                warn!(path = %self.path.display(), error, "keys not understood, keeping the last ones");
            }
        }
        seen.files = files;
    }
}

/// Reads a file, or all files of a folder; those whose names begin with `..` belong to the kubelet.
fn read(path: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    if !std::fs::metadata(path)?.is_dir() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        files.insert(name.into_owned(), small_file::read(path)?);
        return Ok(files);
    }
    for entry in std::fs::read_dir(path)?.take(MAX_FILES) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if !name.starts_with("..") && std::fs::metadata(&path)?.is_file() {
            files.insert(name, small_file::read(&path)?);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(files: &Files) -> Result<Vec<String>, String> {
        Ok(files.keys().cloned().collect())
    }

    #[test]
    fn atomic_swap_of_a_mounted_secret_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (version, name) in [("..1", "old"), ("..2", "new")] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("..1", root.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/old", root.join("old")).unwrap();
        let mounted = Mounted::open(root, names).unwrap();
        assert_eq!(*mounted.value(), ["old"]);
        std::os::unix::fs::symlink("..2", root.join("..tmp")).unwrap();
        fs::rename(root.join("..tmp"), root.join("..data")).unwrap();
        fs::remove_file(root.join("old")).unwrap();
        std::os::unix::fs::symlink("..data/new", root.join("new")).unwrap();
        mounted.reload();
        assert_eq!(*mounted.value(), ["new"]);
    }

    #[test]
    fn removed_folder_counts_as_empty_after_three_attempts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("live"), "x").unwrap();
        let mounted = Mounted::open(&path, names).unwrap();
        fs::remove_dir_all(&path).unwrap();
        mounted.reload();
        mounted.reload();
        assert_eq!(*mounted.value(), ["live"]);
        mounted.reload();
        assert!(mounted.value().is_empty());
        fs::create_dir(&path).unwrap();
        fs::write(path.join("live"), "x").unwrap();
        mounted.reload();
        assert_eq!(*mounted.value(), ["live"]);
    }
}
