//! A LiveCluster as this version of the operator reads it.
//!
//! The CustomResourceDefinition may be newer than the operator. Fields that the operator does not have are ignored, as if the
//! API server had pruned them. A value that it cannot read concerns one cluster only.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use kube::core::DynamicObject;
use livecluster_api::{LiveCluster, LiveClusterSpec};
use serde_json::Value;

/// The schema of the spec in this version.
static SPEC: LazyLock<JSONSchemaProps> = LazyLock::new(|| {
    let versions = LiveCluster::crd().spec.versions;
    versions
        .into_iter()
        .filter_map(|version| version.schema?.open_api_v3_schema)
        .filter_map(|schema| schema.properties?.remove("spec"))
        .next()
        .unwrap_or_default()
});

/// A cluster whose spec has a value that this version cannot read.
#[derive(Clone, Debug)]
pub struct UnreadableCluster {
    /// The cluster.
    pub object: DynamicObject,
    /// Path of the field, such as `spec.edges.replicas`.
    pub field: String,
}

/// Returns the cluster without the fields that this version does not have. A status that cannot be read counts as absent:
/// the operator writes a new one.
///
/// # Errors
/// [`UnreadableCluster`] when a field of the spec has a value that this version cannot read.
pub fn parse(object: DynamicObject) -> Result<LiveCluster, Box<UnreadableCluster>> {
    let mut spec = object.data.get("spec").cloned().unwrap_or_default();
    let unknown_value = prune(&SPEC, "spec", &mut spec);
    let Ok(spec) = serde_json::from_value::<LiveClusterSpec>(spec) else {
        let field = unknown_value.unwrap_or_else(|| "spec".to_owned());
        return Err(Box::new(UnreadableCluster { object, field }));
    };
    let status = object.data.get("status").cloned().unwrap_or_default();
    let mut cluster = LiveCluster::new("", spec);
    cluster.metadata = object.metadata;
    cluster.status = serde_json::from_value(status).unwrap_or_default();
    Ok(cluster)
}

/// Removes the fields that are not in the schema. Returns the path of the first value that the schema does not allow.
fn prune(schema: &JSONSchemaProps, path: &str, value: &mut Value) -> Option<String> {
    if !allows(schema, value) {
        return Some(path.to_owned());
    }
    let mut unknown_value = None;
    match value {
        Value::Object(fields) => {
            let is_open = schema.x_kubernetes_preserve_unknown_fields == Some(true);
            if let Some(properties) = &schema.properties {
                fields.retain(|name, _| is_open || properties.contains_key(name));
            }
            for (name, value) in fields {
                if let Some(schema) = property(schema, name) {
                    let found = prune(schema, &format!("{path}.{name}"), value);
                    unknown_value = unknown_value.or(found);
                }
            }
        }
        Value::Array(items) => {
            let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items else {
                return None;
            };
            for (index, item) in items.iter_mut().enumerate() {
                let found = prune(schema, &format!("{path}[{index}]"), item);
                unknown_value = unknown_value.or(found);
            }
        }
        _ => {}
    }
    unknown_value
}

fn property<'a>(schema: &'a JSONSchemaProps, name: &str) -> Option<&'a JSONSchemaProps> {
    if let Some(properties) = &schema.properties {
        return properties.get(name);
    }
    match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(schema),
        _ => None,
    }
}

fn allows(schema: &JSONSchemaProps, value: &Value) -> bool {
    let has_type = match schema.type_.as_deref() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        _ => true,
    };
    let is_listed = schema
        .enum_
        .as_ref()
        .is_none_or(|values| values.iter().any(|allowed| allowed.0 == *value));
    let is_in_range = value.as_f64().is_none_or(|number| {
        schema.minimum.is_none_or(|minimum| number >= minimum)
            && schema.maximum.is_none_or(|maximum| number <= maximum)
    });
    value.is_null() || (has_type && is_listed && is_in_range)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(spec: Value) -> Result<LiveCluster, Box<UnreadableCluster>> {
        let object = json!({
            "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
            "metadata": {"name": "demo", "namespace": "media"}, "spec": spec,
            "status": {"edges": {"replicas": "many"}}
        });
        parse(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let known = json!({
            "stream": {"lingerSeconds": 3}, "logs": {"level": "debug"}, "vhosts": ["a.example"],
            "edges": {"replicas": 4, "nodeSelector": {"disk": "fast"}, "affinity": {"podAffinity": {}}}
        });
        let mut newer = known.clone();
        newer["autoscaling"] = json!({"maxReplicas": 9});
        for section in ["stream", "logs", "edges"] {
            newer[section]["later"] = json!([1]);
        }
        assert_eq!(read(newer).unwrap().spec, read(known).unwrap().spec);
    }

    #[test]
    fn raw_fields_are_kept() {
        let spec =
            json!({"edges": {"podTemplate": {"spec": {"later": 1}}, "podLabels": {"a": "b"}}});
        let edges = read(spec).unwrap().spec.edges;
        let edges = serde_json::to_value(edges).unwrap();
        assert_eq!(edges["podTemplate"], json!({"spec": {"later": 1}}));
        assert_eq!(edges["podLabels"], json!({"a": "b"}));
    }

    #[test]
    fn unreadable_status_counts_as_absent() {
        assert_eq!(read(json!({})).unwrap().status, None);
    }

    #[test]
    fn value_that_cannot_be_read_is_named_by_its_field() {
        for (spec, field) in [
            (
                json!({"stream": {"duplicatePublish": "merge"}}),
                "spec.stream.duplicatePublish",
            ),
            (
                json!({"edges": {"replicas": "many"}}),
                "spec.edges.replicas",
            ),
            (
                json!({"edges": {"replicas": 70_000}}),
                "spec.edges.replicas",
            ),
            (
                json!({"imagePullSecrets": [{"name": "a"}, {"name": {}}]}),
                "spec.imagePullSecrets[1].name",
            ),
            (
                json!({"edges": {"nodeSelector": {"disk": 1}}}),
                "spec.edges.nodeSelector.disk",
            ),
            (Value::Null, "spec"),
        ] {
            assert_eq!(read(spec).unwrap_err().field, field);
        }
    }
}
