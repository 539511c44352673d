//! The raw parts of a spec, parsed as their Kubernetes types. Unknown fields are errors.

use serde::de::DeserializeOwned;
use serde_ignored::Path;
use serde_json::Value;

use super::spec_error::SpecError;

/// Parses the raw object of `field` as a Kubernetes type.
///
/// # Errors
/// When a value has the wrong type, and when the type lacks a field: it would be dropped in silence.
pub(super) fn typed<T: DeserializeOwned>(field: &str, raw: Value) -> Result<T, SpecError> {
    let malformed = |message: String| SpecError::Malformed {
        field: field.to_owned(),
        message,
    };
    let mut unknown = None;
    let object = serde_ignored::deserialize(raw, |path| {
        unknown.get_or_insert_with(|| field_path(&path));
    })
    .map_err(|error: serde_json::Error| malformed(error.to_string()))?;
    match unknown {
        Some(path) => Err(malformed(format!("unknown field {path}"))),
        None => Ok(object),
    }
}

/// Returns a path as Kubernetes writes it, such as `spec.containers[0].env`. Optional values and newtypes add no part.
fn field_path(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", field_path(parent)),
        Path::Map { parent, key } => match field_path(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => field_path(parent),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodTemplateSpec;
    use serde_json::json;

    use super::*;

    fn message(raw: Value) -> String {
        typed::<PodTemplateSpec>("spec.edges.podTemplate", raw)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn misspelt_field_is_named() {
        let raw = json!({"spec": {"containers": [{"name": "media-node", "enf": []}]}});
        assert_eq!(
            message(raw),
            "spec.edges.podTemplate: unknown field spec.containers[0].enf"
        );
    }

    #[test]
    fn value_of_the_wrong_type_is_named() {
        let text = message(json!({"spec": {"hostNetwork": "yes"}}));
        assert!(
            text.contains("\"yes\"") && text.contains("boolean"),
            "{text}"
        );
    }

    #[test]
    fn known_fields_are_accepted() {
        let raw = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"dnsPolicy": "None", "volumes": null}});
        let template: PodTemplateSpec = typed("", raw).unwrap();
        assert_eq!(template.spec.unwrap().dns_policy.as_deref(), Some("None"));
    }
}
