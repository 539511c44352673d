//! Validation against the structural schema of the CustomResourceDefinition, with an error for each field.
//!
//! A structural schema is a small part of JSON Schema: a general validator takes longer to compile than the media node.

mod patterns;

use std::collections::BTreeSet;

use ipnet::IpNet;
use jiff::Timestamp;
use regex_lite::Regex;
use serde_json::{Map, Value, json};

/// Longest value that an error message shows.
const MAX_SHOWN: usize = 60;

/// Returns the schema of a resource from its CustomResourceDefinition.
///
/// # Errors
/// When the definition is not YAML.
pub(super) fn of_resource(definition: &str) -> Result<Value, serde_yaml::Error> {
    let mut definition: Value = serde_yaml::from_str(definition)?;
    let mut schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
    let properties = &mut schema["properties"];
    properties["apiVersion"] = json!({"type": "string"});
    properties["kind"] = json!({"type": "string"});
    properties["metadata"] = metadata();
    Ok(schema)
}

/// Returns the schema of `metadata`, which every resource has and no definition contains.
fn metadata() -> Value {
    let string = json!({"type": "string"});
    let integer = json!({"type": "integer"});
    let strings = json!({"type": "object", "additionalProperties": string});
    let objects = json!({
        "type": "array",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    });
    json!({
        "type": "object",
        "properties": {
            "annotations": strings,
            "creationTimestamp": string,
            "deletionGracePeriodSeconds": integer,
            "deletionTimestamp": string,
            "finalizers": {"type": "array", "items": string},
            "generateName": string,
            "generation": integer,
            "labels": strings,
            "managedFields": objects,
            "name": string,
            "namespace": string,
            "ownerReferences": objects,
            "resourceVersion": string,
            "selfLink": string,
            "uid": string,
        },
    })
}

/// Returns what a schema refuses in a value, each error with its field and what is allowed there.
///
/// The value becomes what the API server reads: without nulls, which are absent fields (`edges:` with nothing behind
/// it), and with whole numbers (`2.0` is `2`).
pub(super) fn validate(schema: &Value, value: &mut Value) -> Vec<String> {
    let mut errors = Vec::new();
    visit(schema, value, "", &mut errors);
    errors
}

fn visit(schema: &Value, value: &mut Value, path: &str, errors: &mut Vec<String>) {
    let is_allowed = match (type_of(schema), &mut *value) {
        ("object", Value::Object(fields)) => {
            visit_fields(schema, fields, path, errors);
            within(fields.len(), schema, "minProperties", "maxProperties")
        }
        ("array", Value::Array(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                visit(&schema["items"], item, &format!("{path}[{index}]"), errors);
            }
            within(items.len(), schema, "minItems", "maxItems")
        }
        ("string", Value::String(text)) => is_allowed_text(schema, text),
        ("integer", number) => whole(number).is_some_and(|whole| {
            *number = whole.into();
            is_allowed_number(schema, whole)
        }),
        ("boolean", Value::Bool(_)) => true,
        ("int-or-string", Value::String(text)) => is_allowed_text(schema, text),
        ("int-or-string", number) => {
            whole(number).is_some_and(|whole| is_allowed_number(schema, whole))
        }
        _ => false,
    };
    if !is_allowed {
        errors.push(format!(
            "{path}: {} is not allowed, {}",
            shortened(value),
            allowed(schema)
        ));
    }
}

fn visit_fields(
    schema: &Value,
    fields: &mut Map<String, Value>,
    path: &str,
    errors: &mut Vec<String>,
) {
    fields.retain(|name, value| !(value.is_null() && schema["properties"].get(name).is_some()));
    for (name, value) in fields.iter_mut() {
        let path = join(path, name);
        let property = schema["properties"].get(name);
        match property.or_else(|| schema.get("additionalProperties")) {
            Some(property) => visit(property, value, &path, errors),
            None if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
            None => errors.push(format!("{path}: unknown field, {}", allowed(schema))),
        }
    }
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            errors.push(format!("{}: missing", join(path, name)));
        }
    }
}

fn type_of(schema: &Value) -> &str {
    if schema["x-kubernetes-int-or-string"] == true {
        return "int-or-string";
    }
    schema["type"].as_str().unwrap_or_default()
}

fn within(count: usize, schema: &Value, least: &str, most: &str) -> bool {
    let bound = |keyword: &str| {
        let bound = schema[keyword].as_u64();
        bound.and_then(|bound| usize::try_from(bound).ok())
    };
    bound(least).is_none_or(|least| count >= least) && bound(most).is_none_or(|most| count <= most)
}

fn is_allowed_number(schema: &Value, number: i64) -> bool {
    let bound = |keyword: &str| schema[keyword].as_i64();
    bound("minimum").is_none_or(|least| number >= least)
        && bound("maximum").is_none_or(|most| number <= most)
}

fn is_allowed_text(schema: &Value, text: &str) -> bool {
    let is_choice = schema["enum"]
        .as_array()
        .is_none_or(|choices| choices.iter().any(|choice| choice == text));
    let matches = schema["pattern"]
        .as_str()
        .and_then(|pattern| Regex::new(pattern).ok())
        .is_none_or(|pattern| pattern.is_match(text));
    let has_form = match schema["format"].as_str() {
        Some("cidr") => text.parse::<IpNet>().is_ok(),
        Some("date-time") => text.parse::<Timestamp>().is_ok(),
        _ => true,
    };
    let length = text.chars().count();
    is_choice && matches && has_form && within(length, schema, "minLength", "maxLength")
}

/// Returns a number that has no fraction. 2.0 prints as "2".
fn whole(number: &Value) -> Option<i64> {
    format!("{}", number.as_f64()?).parse().ok()
}

fn join(path: &str, field: &str) -> String {
    match path {
        "" => field.to_owned(),
        path => format!("{path}.{field}"),
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

/// Returns what a schema allows, as text that follows "…, ".
fn allowed(schema: &Value) -> String {
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        let choices: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        return format!("must be one of {}", choices.join(", "));
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let names: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
        let names: Vec<&str> = names.into_iter().collect();
        return format!("the fields here are {}", names.join(", "));
    }
    let number = |key| schema.get(key).and_then(Value::as_f64);
    let span = |least: Option<f64>, most: Option<f64>, unit: &str| match (least, most) {
        (Some(least), Some(most)) => format!(" {least} to {most}{unit}"),
        (None, Some(most)) => format!(" at most {most}{unit}"),
        (Some(least), None) => format!(" at least {least}{unit}"),
        (None, None) => String::new(),
    };
    let range = prefixed(":", &span(number("minimum"), number("maximum"), ""));
    let form = schema.get("pattern").and_then(Value::as_str);
    let form = form.map(patterns::in_words);
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => format!("must be a whole number{range}"),
        Some("boolean") => "must be true or false".to_owned(),
        Some("string") => {
            let length = span(number("minLength"), number("maxLength"), " characters");
            let form = prefixed(": ", &form.unwrap_or_default());
            format!("must be a text{}{form}", prefixed(" of", &length))
        }
        Some("array") => {
            let length = span(number("minItems"), number("maxItems"), " items");
            format!("must be a list{}", prefixed(" of", &length))
        }
        Some("object") => "must be a map of fields".to_owned(),
        _ => {
            let form = form.unwrap_or_else(|| "a text".to_owned());
            format!("must be a whole number{range}, or {form}")
        }
    }
}

fn prefixed(word: &str, text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("{word}{text}")
    }
}
