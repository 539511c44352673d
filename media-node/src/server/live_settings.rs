//! The file of the live settings, read again when it changes: a new log level and new limits take effect while connections
//! stay. A file that cannot be used leaves the former settings in place.

use std::io;
use std::path::{Path, PathBuf};

use media_config::{ConfigError, LiveSettings, NodeConfig, parse_live};

use crate::small_file;

/// The file of the live settings.
#[derive(Debug)]
pub struct LiveFile {
    path: PathBuf,
    /// The settings of the configuration, which hold where the file has none.
    base: LiveSettings,
    /// The result of the last reading. Each change of it is applied or logged once.
    last: Result<String, io::ErrorKind>,
}

impl LiveFile {
    /// Reads the file for the first time, and puts its settings into the configuration.
    ///
    /// # Errors
    /// See [`ConfigError`]; the message names the field, but not the file.
    pub fn open(path: &Path, config: &mut NodeConfig) -> Result<Self, ConfigError> {
        let base = config.live_settings();
        let text = read(path)?;
        config.set_live_settings(parse_live(&text, &base)?);
        Ok(Self {
            path: path.to_owned(),
            base,
            last: Ok(text),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again. Returns its settings if it has changed.
    pub(super) fn reload(&mut self) -> Option<Result<LiveSettings, ConfigError>> {
        let text = read(&self.path);
        let read = match &text {
            Ok(text) => Ok(text.clone()),
            Err(error) => Err(error.kind()),
        };
        if read == self.last {
            return None;
        }
        self.last = read;
        let parsed = text.map_err(ConfigError::Read);
        Some(parsed.and_then(|text| parse_live(&text, &self.base)))
    }
}

fn read(path: &Path) -> io::Result<String> {
    let bytes = small_file::read(path)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_is_returned_once_and_a_bad_file_is_an_error_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("live.yaml");
        std::fs::write(&path, "limits: {maxStreams: 5}").unwrap();
        let mut config = NodeConfig::default();
        config.limits.max_connections = 7;
        let mut file = LiveFile::open(&path, &mut config).unwrap();
        assert_eq!(config.limits.max_streams, 5);
        assert!(file.reload().is_none());

        std::fs::write(&path, "limits: {maxStreams: 6}").unwrap();
        let limits = file.reload().unwrap().unwrap().limits;
        assert_eq!((limits.max_streams, limits.max_connections), (6, 7));
        assert!(file.reload().is_none());

        std::fs::write(&path, "limits: {maxStreams: 0}").unwrap();
        let error = file.reload().unwrap().unwrap_err().to_string();
        assert!(error.starts_with("limits.maxStreams: 0"), "{error}");
        assert!(file.reload().is_none());

        std::fs::remove_file(&path).unwrap();
        assert!(file.reload().unwrap().is_err());
        assert!(file.reload().is_none());
    }
}
