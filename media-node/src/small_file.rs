//! Files that the kubelet mounts or that a user writes: keys, certificates, live settings.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Bytes of a file at most: a Secret or ConfigMap has at most 1 MiB.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a file.
///
/// # Errors
/// When it cannot be read, or has more than 1 MiB.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more shows that there are too many.
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "the file has more than 1 MiB",
        )),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_of_more_than_a_mebibyte_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let most = usize::try_from(MAX_BYTES).unwrap();
        std::fs::write(&path, vec![b'k'; most]).unwrap();
        assert_eq!(read(&path).unwrap().len(), most);
        std::fs::write(&path, vec![b'k'; most + 1]).unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(error.to_string(), "the file has more than 1 MiB");
    }
}
