//! Reading a LiveCluster manifest as the API server would: what is refused there is refused here, and nothing else.
//!
//! The checks are the CustomResourceDefinition's own: its schema, its defaults and its CEL rules. Unknown fields are
//! refused as `kubectl apply` refuses them.

use std::fmt::Write as _;
use std::path::Path;

use jsonschema::error::ValidationErrorKind;
use kube::core::cel::apply_defaults;
use serde::Deserialize as _;
use serde_json::Value;

use super::schema::{allowed, at, closed, normalised};
use livecluster_api::{DefinitionError, LiveCluster, schema, violations};

/// Faults that are listed at most; a file that is something else has hundreds.
const MAX_FAULTS: usize = 8;

/// Why a file is not a LiveCluster.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot be read")]
    Read(#[from] std::io::Error),
    /// The text is not YAML.
    #[error("not YAML")]
    Yaml(#[from] serde_yaml::Error),
    /// There is not exactly one document.
    #[error("{0} documents found, exactly one LiveCluster is allowed")]
    Documents(usize),
    /// It is another kind of resource, or none.
    #[error("{field}: {found}, must be {wanted}")]
    Other {
        /// `apiVersion` or `kind`.
        field: &'static str,
        /// What is written there.
        found: String,
        /// What must be.
        wanted: &'static str,
    },
    /// Fields are unknown, missing, or have values that are not allowed.
    #[error("not a valid LiveCluster{}", list(.0))]
    Faults(Vec<String>),
    /// The types of this program are at fault.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
}

fn list(faults: &[String]) -> String {
    let mut text = String::from(":");
    if let [fault] = faults {
        let _ = write!(text, " {fault}");
        return text;
    }
    for fault in faults.iter().take(MAX_FAULTS) {
        let _ = write!(text, "\n  {fault}");
    }
    if faults.len() > MAX_FAULTS {
        let _ = write!(text, "\n  and {} more", faults.len() - MAX_FAULTS);
    }
    text
}

/// Reads the one LiveCluster of a file.
///
/// # Errors
/// See [`ManifestError`]: the message names every field that is wrong and what is allowed there.
pub fn read(path: &Path) -> Result<LiveCluster, ManifestError> {
    parse(&std::fs::read_to_string(path)?)
}

/// Reads the one LiveCluster of a text.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str) -> Result<LiveCluster, ManifestError> {
    let mut manifest = document(text)?;
    expect(&manifest, "apiVersion", "livecluster.dev/v1alpha1")?;
    expect(&manifest, "kind", "LiveCluster")?;
    if let Some(fields) = manifest.as_object_mut() {
        // The API server takes a new resource's status from nobody but the operator.
        fields.remove("status");
    }
    let schema = closed(schema()?);
    let manifest = apply_defaults(&schema, &normalised(&schema, manifest));
    let mut faults = misfits(&schema, &manifest);
    if faults.is_empty() {
        faults = names(&manifest);
    }
    if !faults.is_empty() {
        return Err(ManifestError::Faults(faults));
    }
    let cluster = LiveCluster::deserialize(&manifest)
        .map_err(|error| ManifestError::Faults(vec![error.to_string()]))?;
    match violations(&cluster, None)? {
        none if none.is_empty() => Ok(cluster),
        violations => Err(ManifestError::Faults(violations)),
    }
}

/// The only document of a YAML text, `---` and comments around it not counted.
fn document(text: &str) -> Result<Value, ManifestError> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut document = serde_yaml::Value::deserialize(document)?;
        document.apply_merge()?;
        if !document.is_null() {
            documents.push(document);
        }
    }
    match documents.as_slice() {
        [document] => serde_json::to_value(document)
            .map_err(|error| ManifestError::Faults(vec![error.to_string()])),
        _ => Err(ManifestError::Documents(documents.len())),
    }
}

fn expect(
    manifest: &Value,
    field: &'static str,
    wanted: &'static str,
) -> Result<(), ManifestError> {
    let found = match manifest.get(field) {
        Some(value) if value == wanted => return Ok(()),
        Some(value) => value.to_string(),
        None => "missing".to_owned(),
    };
    Err(ManifestError::Other {
        field,
        found,
        wanted,
    })
}

/// What the schema has against a manifest, each with its field and what is allowed there.
fn misfits(schema: &Value, manifest: &Value) -> Vec<String> {
    let validator = match jsonschema::validator_for(schema) {
        Ok(validator) => validator,
        Err(error) => return vec![error.to_string()],
    };
    let mut faults: Vec<String> = validator
        .iter_errors(manifest)
        .flat_map(|error| {
            let pointer = error.instance_path().as_str();
            let (path, here) = (dotted(pointer), at(schema, pointer));
            match error.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
                    .iter()
                    .map(|field| {
                        format!("{}: unknown field, {}", join(&path, field), allowed(here))
                    })
                    .collect(),
                ValidationErrorKind::Required { property } => {
                    let field = property.as_str().unwrap_or_default();
                    vec![format!("{}: missing", join(&path, field))]
                }
                _ => vec![format!(
                    "{path}: {} is not allowed, {}",
                    shortened(error.instance()),
                    allowed(here)
                )],
            }
        })
        .collect();
    faults.dedup();
    faults
}

/// A name is asked for here; what it may look like is a CEL rule.
fn names(manifest: &Value) -> Vec<String> {
    match manifest.pointer("/metadata/name") {
        Some(Value::String(name)) if !name.is_empty() => Vec::new(),
        _ => vec!["metadata.name: missing, must be a name such as http-flv".to_owned()],
    }
}

fn dotted(pointer: &str) -> String {
    pointer
        .split('/')
        .skip(1)
        .fold(String::new(), |path, segment| {
            if segment.parse::<usize>().is_ok() {
                format!("{path}[{segment}]")
            } else {
                join(&path, &segment.replace("~1", "/").replace("~0", "~"))
            }
        })
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        return text;
    }
    format!("{} …", text.chars().take(60).collect::<String>())
}

#[cfg(test)]
mod tests;
