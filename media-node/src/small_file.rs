//! Small files that the kubelet mounts, that a user writes (keys, certificates, live settings) or that the kernel shows. They are read
//! as a whole, up to a limit, and again when they change.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::host;

/// The maximum bytes of a file. A Secret or ConfigMap has at most 1 MiB.
const MAX_BYTES: u64 = 1 << 20;

/// The first size of a buffer. The kernel does not say how large its own files are, and a buffer that grows from nothing reads them in
/// many small pieces.
const BUFFER: usize = 4096;

/// Reads a file.
///
/// # Errors
/// When it cannot be read, or has more than 1 MiB.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "the file has more than 1 MiB");
    read_up_to(path, MAX_BYTES)?.ok_or_else(too_large)
}

/// Reads a file of UTF-8 text.
///
/// # Errors
/// As for [`read`], and when it is not UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads a file. Returns `None` when it has more than `max_bytes`.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read_up_to(path: &Path, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(BUFFER);
    // One byte more shows that the file is larger.
    File::open(path)?
        .take(max_bytes + 1)
        .read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max_bytes).then_some(bytes))
}

/// Calls `reload` again and again, after pauses of `poll`, on a thread that may block for as long as the files take.
pub(crate) async fn reload_every(poll: Duration, reload: impl Fn() + Clone + Send + 'static) {
    loop {
        sleep(poll).await;
        // A panic was printed by its thread. The next round tries again.
        host::run_blocking(reload.clone()).await;
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
