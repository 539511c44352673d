//! Reads LiveCluster manifests as the API server does: what it refuses is refused here, and nothing else.
//!
//! The checks are those of the CustomResourceDefinition: its schema, its defaults and its rules. Unknown fields are
//! refused, as `kubectl apply` refuses them.

mod schema;

use std::fmt::Write as _;
use std::path::Path;

use livecluster_api::{ClusterName, LiveClusterSpec, rules};
use serde::Deserialize as _;
use serde_json::Value;

/// The CustomResourceDefinition, as it is applied to a Kubernetes cluster.
pub const DEFINITION: &str = include_str!("../../../crds/livecluster.yaml");

const API_VERSION: &str = "livecluster.dev/v1alpha1";
const KIND: &str = "LiveCluster";
/// Most errors that are listed. A file that is something else has hundreds.
const MAX_ERRORS: usize = 8;

/// A LiveCluster as its manifest describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its name, and its namespace when the manifest has one.
    pub name: ClusterName,
    /// Its spec, with all defaults.
    pub spec: LiveClusterSpec,
    /// Resources of other API groups in the same file, such as the Secrets that the spec names.
    pub resources: Vec<Value>,
}

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot be read")]
    Read(#[from] std::io::Error),
    /// The text is not YAML.
    #[error("not YAML")]
    Yaml(#[from] serde_yaml::Error),
    /// The file does not have exactly one LiveCluster.
    #[error("{0} documents found, exactly one LiveCluster is allowed")]
    Documents(usize),
    /// The document is another kind of resource, or none.
    #[error("{field}: {found}, must be {expected}")]
    OtherResource {
        /// `apiVersion` or `kind`.
        field: &'static str,
        /// The value of the field.
        found: String,
        /// The value that it must have.
        expected: &'static str,
    },
    /// Fields are unknown, missing, or have values that are not allowed.
    #[error("not a valid LiveCluster{}", list(.0))]
    Invalid(Vec<String>),
}

fn list(errors: &[String]) -> String {
    let mut text = String::from(":");
    if let [error] = errors {
        let _ = write!(text, " {error}");
        return text;
    }
    for error in errors.iter().take(MAX_ERRORS) {
        let _ = write!(text, "\n  {error}");
    }
    if errors.len() > MAX_ERRORS {
        let _ = write!(text, "\n  and {} more", errors.len() - MAX_ERRORS);
    }
    text
}

/// Reads the one LiveCluster of a file.
///
/// # Errors
/// See [`ManifestError`]: the message names every field that is wrong and what is allowed there.
pub fn read(path: &Path) -> Result<Manifest, ManifestError> {
    parse(&std::fs::read_to_string(path)?)
}

/// Reads the one LiveCluster of a text.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
    let is_other = |document: &Value| other_resource(document).is_some();
    let (resources, mut clusters): (Vec<_>, Vec<_>) =
        documents(text)?.into_iter().partition(is_other);
    match (clusters.pop(), clusters.len()) {
        // Nothing else in the file: its error says what the document is.
        (None, _) if resources.len() == 1 => {
            validate(resources.into_iter().next().unwrap_or_default())
        }
        (Some(document), 0) => Ok(Manifest {
            resources,
            ..validate(document)?
        }),
        (Some(_), others) => Err(ManifestError::Documents(others + 1)),
        (None, _) => Err(ManifestError::Documents(0)),
    }
}

/// Returns the YAML documents of a text. Empty ones, such as comments between two `---`, are left out.
///
/// # Errors
/// When one of them is not YAML.
pub fn documents(text: &str) -> Result<Vec<Value>, ManifestError> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut document = serde_yaml::Value::deserialize(document)?;
        document.apply_merge()?;
        if !document.is_null() {
            documents.push(
                serde_json::to_value(document)
                    .map_err(|error| ManifestError::Invalid(vec![error.to_string()]))?,
            );
        }
    }
    Ok(documents)
}

/// Returns the `apiVersion` and `kind` of a document that belongs to another API group, which is not checked here.
pub fn other_resource(document: &Value) -> Option<String> {
    let version = document.get("apiVersion")?.as_str()?;
    let kind = document.get("kind")?.as_str()?;
    let group = API_VERSION.split('/').next();
    (version.split('/').next() != group).then(|| format!("{version} {kind}"))
}

/// Validates one document.
///
/// # Errors
/// As [`read`].
pub fn validate(mut document: Value) -> Result<Manifest, ManifestError> {
    expect(&document, "apiVersion", API_VERSION)?;
    expect(&document, "kind", KIND)?;
    if let Some(fields) = document.as_object_mut() {
        // The API server ignores the status of a new resource: only the operator writes it.
        fields.remove("status");
    }
    let schema = schema::of_resource(DEFINITION)?;
    let mut errors = schema::validate(&schema, &mut document);
    let text = |pointer| document.pointer(pointer).and_then(Value::as_str);
    let name = ClusterName::new(
        text("/metadata/namespace").unwrap_or_default(),
        text("/metadata/name").unwrap_or_default(),
    );
    if errors.is_empty() && name.name.is_empty() {
        errors.push("metadata.name: missing, must be a name such as http-flv".to_owned());
    }
    if !errors.is_empty() {
        return Err(ManifestError::Invalid(errors));
    }
    let spec = LiveClusterSpec::deserialize(&document["spec"])
        .map_err(|error| ManifestError::Invalid(vec![error.to_string()]))?;
    match rules::violations(&name, &spec) {
        none if none.is_empty() => Ok(Manifest {
            name,
            spec,
            resources: Vec::new(),
        }),
        violations => Err(ManifestError::Invalid(violations)),
    }
}

fn expect(
    document: &Value,
    field: &'static str,
    expected: &'static str,
) -> Result<(), ManifestError> {
    let found = match document.get(field) {
        Some(value) if value == expected => return Ok(()),
        Some(value) => value.to_string(),
        None => "missing".to_owned(),
    };
    Err(ManifestError::OtherResource {
        field,
        found,
        expected,
    })
}

#[cfg(test)]
mod tests;
