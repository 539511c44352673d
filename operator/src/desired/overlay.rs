//! The raw parts of a spec, read as what Kubernetes takes, with nothing lost on the way.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::SpecError;

/// Reads a raw object as a Kubernetes type.
///
/// # Errors
/// When a value has the wrong type, and for a field that the type does not have: it would be dropped in silence.
pub(super) fn typed<T>(field: &str, raw: Value) -> Result<T, SpecError>
where
    T: DeserializeOwned + Serialize,
{
    let malformed = |message: String| SpecError::Malformed {
        field: field.to_owned(),
        message,
    };
    let object: T =
        serde_json::from_value(raw.clone()).map_err(|error| malformed(error.to_string()))?;
    match lost(&raw, &serde_json::to_value(&object)?) {
        Some(path) => Err(malformed(format!("unknown field {path}"))),
        None => Ok(object),
    }
}

/// Path of the first value of `raw` that is not in `kept`.
fn lost(raw: &Value, kept: &Value) -> Option<String> {
    match (raw, kept) {
        (Value::Object(raw), Value::Object(kept)) => {
            raw.iter().find_map(|(key, value)| match kept.get(key) {
                None if value.is_null() => None,
                None => Some(key.clone()),
                Some(kept) => lost(value, kept).map(|path| format!("{key}.{path}")),
            })
        }
        (Value::Array(raw), Value::Array(kept)) => {
            raw.iter()
                .zip(kept)
                .enumerate()
                .find_map(|(index, (raw, kept))| {
                    lost(raw, kept).map(|path| format!("[{index}].{path}"))
                })
        }
        _ => None,
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
    fn a_misspelt_field_is_named() {
        let raw = json!({"spec": {"containers": [{"name": "media-node", "enf": []}]}});
        assert_eq!(
            message(raw),
            "spec.edges.podTemplate: unknown field spec.containers.[0].enf"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named() {
        let text = message(json!({"spec": {"hostNetwork": "yes"}}));
        assert!(
            text.contains("\"yes\"") && text.contains("boolean"),
            "{text}"
        );
    }

    #[test]
    fn what_kubernetes_knows_is_taken() {
        let raw = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"dnsPolicy": "None", "volumes": null}});
        let template: PodTemplateSpec = typed("", raw).unwrap();
        assert_eq!(template.spec.unwrap().dns_policy.as_deref(), Some("None"));
    }
}
