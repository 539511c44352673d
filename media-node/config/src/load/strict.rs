//! Reads YAML and refuses unknown fields.
//!
//! The types with a schema ignore them, because they are part of the `LiveCluster` resource as well, which a newer
//! CustomResourceDefinition may have extended. In a file an unknown field is a typing error.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

use super::ConfigError;

/// Reads a document.
///
/// # Errors
/// When the text is not YAML, or has an unknown field or a value of the wrong type.
pub(super) fn read<T: DeserializeOwned + Serialize>(text: &str) -> Result<T, ConfigError> {
    let read: T = serde_yaml::from_str(text)?;
    let known = serde_yaml::to_value(&read)?;
    match unknown_field("", &serde_yaml::from_str(text)?, &known) {
        None => Ok(read),
        Some(message) => Err(ConfigError::Parse(message)),
    }
}

/// Returns a message about the first field of `value` that was not read. `known` has the fields that were read, except empty ones.
fn unknown_field(path: &str, value: &Value, known: &Value) -> Option<String> {
    match (value, known) {
        (Value::Mapping(fields), Value::Mapping(known)) => {
            fields.iter().find_map(|(key, value)| {
                let name = key.as_str().unwrap_or_default();
                match known.get(key) {
                    Some(read) => unknown_field(&join(path, name), value, read),
                    None if is_empty(value) => None,
                    None => Some(message(path, name, known)),
                }
            })
        }
        (Value::Sequence(items), Value::Sequence(known)) => {
            let mut items = items.iter().zip(known).enumerate();
            items.find_map(|(index, (item, known))| {
                unknown_field(&format!("{path}[{index}]"), item, known)
            })
        }
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Sequence(items) => items.is_empty(),
        Value::Mapping(fields) => fields.is_empty(),
        _ => false,
    }
}

fn message(path: &str, name: &str, known: &Mapping) -> String {
    let known = known.keys().filter_map(Value::as_str);
    let known: Vec<String> = known.map(|name| format!("`{name}`")).collect();
    let expected = known.join(", ");
    format!("{path}: unknown field `{name}`, expected one of {expected}")
}

fn join(path: &str, field: &str) -> String {
    match path {
        "" => field.to_owned(),
        path => format!("{path}.{field}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeConfig;

    #[test]
    fn unknown_field_is_refused_at_every_depth() {
        for (text, expected) in [
            (
                "stream: {lingerSecond: 3}",
                "stream: unknown field `lingerSecond`, expected one of `duplicatePublish`, ",
            ),
            (
                "limits: {maxStream: 3}",
                "limits: unknown field `maxStream`, expected",
            ),
            (
                "log: {levels: info}",
                "log: unknown field `levels`, expected",
            ),
            (
                "drain: {deadline: 3}",
                "drain: unknown field `deadline`, expected",
            ),
            (
                "metrics: {stream: 3}",
                "metrics: unknown field `stream`, expected",
            ),
            (
                "proxies: {trust: [a]}",
                "proxies: unknown field `trust`, expected",
            ),
            (
                "http: {cors: {origin: [a]}}",
                "http.cors: unknown field `origin`, expected",
            ),
            (
                "auth: {play: {hook: {url: 'http://h/', timeout: 1}}}",
                "auth.play.hook: unknown field `timeout`, expected one of `url`, ",
            ),
            (
                "auth: {play: {jwt: {jwksFile: /j, audiences: [a], subjects: [{subject: s, streams: [a], later: 1}]}}}",
                "auth.play.jwt.subjects[0]: unknown field `later`, expected one of `subject`, `streams`",
            ),
        ] {
            let error = read::<NodeConfig>(text).unwrap_err().to_string();
            let expected = format!("not a media node configuration: {expected}");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn empty_field_sets_nothing() {
        for text in [
            "origins: {addresses: []}",
            "tls: null",
            "log: {level: info}",
        ] {
            read::<NodeConfig>(text).unwrap();
        }
    }
}
