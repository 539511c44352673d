//! Keys: `?key=…` behind a stream's name, or `Authorization: Bearer …`, compared with the lines of mounted files.
//!
//! The name of a file says what its keys open: `APP.STREAM` one stream, `APP` all streams of an application, `*` or `_all`
//! every stream (a Secret cannot have an entry `*`). The names cover the default virtual host and applications without a
//! dot or a slash, so that no name has two meanings; other streams are opened by `*` only.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use media_wire::StreamKey;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::mounted::{Files, KeySource, MountError, Mounted};

/// The names of the file whose keys open every stream.
const ALL: [&str; 2] = ["*", "_all"];

/// All files with keys.
pub(super) struct Keys {
    files: Mounted<KeyFiles>,
}

/// The keys of each file. Only digests are kept: they all have one length, which a comparison in constant time needs.
pub(super) struct KeyFiles(HashMap<String, Vec<KeyDigest>>);

/// The SHA-256 of a key.
pub(super) type KeyDigest = [u8; 32];

/// The key that opened a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyProof {
    file: String,
    digest: KeyDigest,
}

impl KeySource for Keys {
    fn reload(&self) {
        self.files.reload();
    }
}

impl Keys {
    pub(super) fn open(directory: &Path) -> Result<Self, MountError> {
        let files = Mounted::open(directory, |files| Ok(KeyFiles::parse(files)))?;
        Ok(Self { files })
    }

    /// Returns the proof that `key` opens the stream.
    pub(super) fn judge(&self, stream: &StreamKey, key: &str) -> Option<KeyProof> {
        let (files, digest) = (self.files.value(), digest(key.as_bytes()));
        let opens = |file: &String| files.contains(file, &digest);
        let file = names(stream).into_iter().find(opens)?;
        Some(KeyProof { file, digest })
    }

    /// Returns the files that contain the key.
    pub(super) fn files_with(&self, key: &str) -> HashSet<String> {
        let (files, digest) = (self.files.value(), digest(key.as_bytes()));
        let names = files.0.keys();
        names
            .filter(|file| files.contains(file, &digest))
            .cloned()
            .collect()
    }

    /// Returns whether the key that opened a stream is still there.
    pub(super) fn holds(&self, proof: &KeyProof) -> bool {
        self.files.value().contains(&proof.file, &proof.digest)
    }
}

impl KeyFiles {
    fn parse(files: &Files) -> Self {
        let files = files.iter().map(|(name, content)| {
            let digests = lines(content).map(digest).collect();
            (name.clone(), digests)
        });
        Self(files.collect())
    }

    fn contains(&self, file: &str, wanted: &KeyDigest) -> bool {
        let keys = self.0.get(file).map(Vec::as_slice).unwrap_or_default();
        // All keys are compared, so that the time does not reveal which one matched.
        let found = keys.iter().fold(Choice::from(0), |found, key| {
            found | key.as_slice().ct_eq(wanted.as_slice())
        });
        found.into()
    }
}

/// Returns whether one of the files opens the stream.
pub(super) fn open_stream(files: &HashSet<String>, stream: &StreamKey) -> bool {
    names(stream).iter().any(|name| files.contains(name))
}

/// The files whose keys open a stream.
fn names(stream: &StreamKey) -> Vec<String> {
    let mut names: Vec<String> = ALL.map(str::to_owned).into();
    let app = stream.app();
    if stream.vhost().is_none() && !app.contains(['.', '/']) {
        names.push(app.to_owned());
        names.push(format!("{app}.{}", stream.name()));
    }
    names
}

/// The keys of a file: one a line, without the white space around it.
pub(super) fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
}

pub(super) fn digest(key: &[u8]) -> KeyDigest {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn stream(app: &str, name: &str) -> StreamKey {
        StreamKey::new(None, app, name).unwrap()
    }

    fn keys(files: &[(&str, &str)]) -> (TempDir, Keys) {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let keys = Keys::open(folder.path()).unwrap();
        (folder, keys)
    }

    #[test]
    fn key_opens_its_own_stream_only() {
        let (_folder, keys) = keys(&[("live.cam", "one\n"), ("live.other", "two\n")]);
        assert!(keys.judge(&stream("live", "cam"), "one").is_some());
        assert!(keys.judge(&stream("live", "cam"), "two").is_none());
        assert!(keys.judge(&stream("live", "cam2"), "one").is_none());
        assert!(keys.judge(&stream("live", "cam"), "").is_none());
    }

    #[test]
    fn keys_of_an_application_and_of_everything_open_more() {
        let (_folder, keys) = keys(&[("live", "app"), ("_all", "all"), ("*", "star")]);
        assert!(keys.judge(&stream("live", "any"), "app").is_some());
        assert!(keys.judge(&stream("live2", "any"), "app").is_none());
        for key in ["all", "star"] {
            assert!(keys.judge(&stream("a/b", "c"), key).is_some());
        }
    }

    #[test]
    fn name_with_a_dot_has_one_meaning() {
        let (_folder, keys) = keys(&[("live.cam", "one"), ("live.a.b", "two")]);
        assert!(keys.judge(&stream("live", "a.b"), "two").is_some());
        assert!(keys.judge(&stream("live.a", "b"), "two").is_none());
        assert!(keys.judge(&stream("live.cam", "x"), "one").is_none());
        let foreign = StreamKey::new(Some("v.example"), "live", "cam").unwrap();
        assert!(keys.judge(&foreign, "one").is_none());
    }

    #[test]
    fn rotation_keeps_both_keys_until_the_old_line_is_removed() {
        let (folder, keys) = keys(&[("live.cam", "old\r\nnew")]);
        let old = keys.judge(&stream("live", "cam"), "old").unwrap();
        let new = keys.judge(&stream("live", "cam"), "new").unwrap();
        assert!(keys.holds(&old) && keys.holds(&new));
        fs::write(folder.path().join("live.cam"), "new\n").unwrap();
        keys.files.reload();
        assert!(!keys.holds(&old) && keys.holds(&new));
        assert!(keys.judge(&stream("live", "cam"), "old").is_none());
    }
}
