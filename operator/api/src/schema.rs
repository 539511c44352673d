//! The form of schemas that the API server accepts, and schemas of fields whose Rust types accept too much.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// What Kubernetes accepts as a quantity.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Schema of a list of objects, which the API server validates when the operator applies them.
pub(crate) fn raw_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}

/// Schema of an object, which the API server validates when the operator applies it.
pub(crate) fn raw_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Schema of a time in the form of RFC 3339.
pub(crate) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "format": "date-time",
        "maxLength": 40,
        "pattern": concat!(
            r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?",
            r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
        ),
    })
}

/// Schema of labels, within the limits that Kubernetes has for them.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    string_map(&json_schema!({
        "type": "string", "maxLength": 63, "pattern": r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
    }))
}

/// Schema of annotations, within the limits that Kubernetes has for them.
pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    string_map(&json_schema!({"type": "string", "maxLength": 16_384}))
}

fn string_map(value: &Schema) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": value,
    })
}

/// Schema of quantities by the name of their resource.
pub(crate) fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "pattern": QUANTITY,
        },
    })
}

/// Schema of a number of Pods or a percentage of them.
pub(crate) fn pod_count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "minimum": 0,
        "maximum": 1000,
        "maxLength": 4,
        "pattern": "^([0-9]|[1-9][0-9]|100)%$",
    })
}

/// Schema of conditions, one of each type.
#[cfg(feature = "kube")]
pub(crate) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let condition =
        generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>();
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": condition,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

/// Transforms a schema and all schemas in it into structural schemas.
pub(crate) fn structural(schema: &mut Schema) {
    if let Some(fields) = schema.as_object_mut() {
        structural_object(fields);
    }
}

fn structural_value(value: &mut Value) {
    match value {
        Value::Object(fields) => structural_object(fields),
        Value::Array(items) => items.iter_mut().for_each(structural_value),
        _ => {}
    }
}

fn structural_object(fields: &mut Map<String, Value>) {
    // A property may have the name of a keyword: only schemas are transformed.
    let is_schema =
        fields.contains_key("type") || fields.contains_key("x-kubernetes-int-or-string");
    if is_schema && !fields.get("type").is_some_and(Value::is_object) {
        not_nullable(fields);
        default_is_empty(fields);
        signed(fields);
        if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
            fields.remove("additionalProperties");
        }
    }
    if let Some(Value::String(text)) = fields.get_mut("description") {
        *text = one_line(text);
    }
    fields.values_mut().for_each(structural_value);
}

/// A field that may be absent is not `null`.
fn not_nullable(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [kind] = types.as_slice() {
            let kind = kind.clone();
            fields.insert("type".to_owned(), kind);
        }
    }
    fields.remove("title");
    if fields.get("default") == Some(&Value::Null) {
        fields.remove("default");
    }
}

/// The default of an object is `{}`: the API server then adds the defaults of its fields. An object with rules has its
/// default in full, because the rules are tried on it before the defaults of its fields are added.
fn default_is_empty(fields: &mut Map<String, Value>) {
    let has_rules = fields.contains_key("x-kubernetes-validations");
    if fields.contains_key("default") && fields.contains_key("properties") && !has_rules {
        fields.insert("default".to_owned(), json!({}));
    }
}

/// Kubernetes has no unsigned integers. `minimum` excludes negative ones.
fn signed(fields: &mut Map<String, Value>) {
    let format = fields.get("format").and_then(Value::as_str);
    if format.is_some_and(|format| format.starts_with("uint")) {
        fields.insert("format".to_owned(), json!("int32"));
    }
}

fn one_line(text: &str) -> String {
    text.split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n\n")
}
