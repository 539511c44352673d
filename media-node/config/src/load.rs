//! Reads and writes the configuration file. Only this module uses the YAML library.

use std::path::Path;

use serde_yaml::{Mapping, Value};

use crate::NodeConfig;
use crate::validate::{InvalidSetting, validate};

mod live;
mod strict;

pub use live::{parse_live, render_live_changes};

/// Error of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot be read")]
    Read(#[from] std::io::Error),
    /// The text is not YAML, or has an unknown field or a value of the wrong type.
    #[error("not a media node configuration: {0}")]
    Parse(String),
    /// A setting is not allowed, or contradicts another one.
    #[error(transparent)]
    Invalid(#[from] InvalidSetting),
}

impl From<serde_yaml::Error> for ConfigError {
    /// Keeps only the text, which includes the library's own causes. As a source it would be printed twice.
    fn from(error: serde_yaml::Error) -> Self {
        // The standard library's text for an address with a name, or without a port, does not say what is expected.
        let text = error.to_string().replace(
            "invalid socket address syntax",
            "write an IP address and a port, as in 127.0.0.1:1935, or \"[::]:1935\" for all addresses,",
        );
        Self::Parse(text)
    }
}

/// Reads and validates a configuration file.
///
/// # Errors
/// See [`ConfigError`]; the message names the field, but not the file.
pub fn load(path: &Path) -> Result<NodeConfig, ConfigError> {
    parse(&std::fs::read_to_string(path)?)
}

/// Reads and validates a configuration.
///
/// # Errors
/// See [`ConfigError`]; the message names the field.
pub fn parse(text: &str) -> Result<NodeConfig, ConfigError> {
    let config = if text.trim().is_empty() {
        NodeConfig::default()
    } else {
        strict::read(text)?
    };
    validate(&config)?;
    Ok(config)
}

/// Writes a configuration as the YAML that [`parse`] reads.
///
/// # Errors
/// When the YAML library fails, which it does not for these types.
pub fn render(config: &NodeConfig) -> Result<String, ConfigError> {
    Ok(serde_yaml::to_string(config)?)
}

/// Writes the fields that differ from the default configuration, as the YAML that [`parse`] reads.
///
/// The file stays the same when a later version has more settings, and an earlier version reads it as long as none of them
/// is set.
///
/// # Errors
/// As [`render`].
pub fn render_changes(config: &NodeConfig) -> Result<String, ConfigError> {
    let defaults = serde_yaml::to_value(NodeConfig::default())?;
    let changes = changes(serde_yaml::to_value(config)?, &defaults);
    Ok(serde_yaml::to_string(&changes)?)
}

/// Returns the entries of `value` that differ from `defaults`.
fn changes(value: Value, defaults: &Value) -> Value {
    let (Value::Mapping(entries), Value::Mapping(defaults)) = (&value, defaults) else {
        return value;
    };
    entries
        .iter()
        .filter(|(key, entry)| defaults.get(key) != Some(entry))
        .map(|(key, entry)| {
            let entry = entry.clone();
            let entry = match defaults.get(key) {
                Some(default) => changes(entry, default),
                None => entry,
            };
            (key.clone(), entry)
        })
        .collect::<Mapping>()
        .into()
}

#[cfg(test)]
mod tests;
