//! Reads YAML and refuses unknown fields: in a file they are typing errors.
//!
//! The types themselves ignore them. Many are part of the `LiveCluster` resource as well, whose CustomResourceDefinition may be newer and
//! have further fields, and serde cannot refuse them in some types of a file only. The schemas of the types have all fields, also those
//! that are absent by default.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

use super::ConfigError;

/// Reads a document.
///
/// # Errors
/// When the text is not YAML, or has an unknown field or a value of the wrong type.
pub(super) fn read<T: DeserializeOwned + JsonSchema>(text: &str) -> Result<T, ConfigError> {
    let schema = serde_yaml::to_value(schema::<T>())?;
    // First: a misspelled field would be reported as a missing one.
    if let Some(message) = unknown_field("", &serde_yaml::from_str(text)?, &schema) {
        return Err(ConfigError::Parse(message));
    }
    Ok(serde_yaml::from_str(text)?)
}

/// Returns the schema of a type, without references.
fn schema<T: JsonSchema>() -> schemars::Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
    });
    settings.into_generator().into_root_schema_for::<T>()
}

/// Returns a message about the first field of `value` that its schema does not have.
fn unknown_field(path: &str, value: &Value, schema: &Value) -> Option<String> {
    match value {
        Value::Mapping(fields) => {
            let known = schema.get("properties")?.as_mapping()?;
            fields.iter().find_map(|(key, value)| {
                let name = key.as_str().unwrap_or_default();
                match known.get(key) {
                    Some(schema) => unknown_field(&join(path, name), value, schema),
                    None => Some(message(path, name, known)),
                }
            })
        }
        Value::Sequence(items) => {
            let schema = schema.get("items")?;
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| unknown_field(&format!("{path}[{index}]"), item, schema))
        }
        _ => None,
    }
}

fn message(path: &str, name: &str, known: &Mapping) -> String {
    let known = known.keys().filter_map(Value::as_str);
    let known: Vec<String> = known.map(|name| format!("`{name}`")).collect();
    let expected = known.join(", ");
    let place = if path.is_empty() {
        String::new()
    } else {
        format!("{path}: ")
    };
    format!("{place}unknown field `{name}`, expected one of {expected}")
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
                "roles: edge",
                "unknown field `roles`, expected one of `auth`, ",
            ),
            (
                "tls: {certificat: a, key: b}",
                "tls: unknown field `certificat`, expected one of `certificate`, `key`",
            ),
            (
                "auth: {publish: {signedUrls: {directory: /urls, schema: tencent}}}",
                "auth.publish.signedUrls: unknown field `schema`, expected one of `directory`, ",
            ),
            (
                "identity: {serviceAccount: {tokenfile: /t}}",
                "identity.serviceAccount: unknown field `tokenfile`, expected one of ",
            ),
            (
                "stream: {lingerSecond: 3}",
                "stream: unknown field `lingerSecond`, expected one of `continuitySeconds`, `duplicatePublish`, ",
            ),
            (
                "limits: {maxStream: 3}",
                "limits: unknown field `maxStream`, expected",
            ),
            (
                "limits: {maxMediaMebibyte: 3}",
                "limits: unknown field `maxMediaMebibyte`, expected one of `batchTimeoutSeconds`, `handshakeTimeoutSeconds`, \
                 `lookupIntervalMilliseconds`, `maxCommandKibibytes`, `maxConnections`, `maxConnectionsPerAddress`, \
                 `maxIdleConnectionsPercent`, `maxInitDataKibibytes`, `maxInitDataMessages`, `maxLookups`, `maxMediaMebibytes`",
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
                "auth.play.hook: unknown field `timeout`, expected one of `failurePolicy`, `timeoutSeconds`, `url`",
            ),
            (
                "auth: {play: {jwt: {jwksFile: /j, audiences: [a], subjects: [{subject: s, streams: [a], later: 1}]}}}",
                "auth.play.jwt.subjects[0]: unknown field `later`, expected one of `streams`, `subject`",
            ),
        ] {
            let error = read::<NodeConfig>(text).unwrap_err().to_string();
            let expected = format!("not a media node configuration: {expected}");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    /// The search for unknown fields follows nothing else.
    #[test]
    fn schema_has_no_references_and_no_alternatives_of_structs() {
        let schema = serde_yaml::to_string(&schema::<NodeConfig>()).unwrap();
        assert!(schema.contains("maxMediaMebibytes"));
        for keyword in ["$ref", "anyOf", "allOf"] {
            assert!(!schema.contains(keyword), "{schema}");
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
