//! The CustomResourceDefinition's schema in the hands of a person: closed, and in words.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

/// The schema of a whole resource with every object closed: a field that it does not name is refused.
///
/// The definition itself says nothing about `metadata` (the API server knows it), nor is it closed (the API server
/// drops unknown fields after kubectl has refused them).
pub(super) fn closed(mut schema: Value) -> Value {
    let metadata = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<ObjectMeta>();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("metadata".to_owned(), metadata.into());
        for field in ["apiVersion", "kind"] {
            properties.insert(field.to_owned(), json!({"type": "string"}));
        }
    }
    close(&mut schema);
    schema
}

fn close(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(close);
        let open = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true))
            || fields.contains_key("additionalProperties");
        if !open {
            fields.insert("additionalProperties".to_owned(), json!(false));
        }
    }
    for of_many in ["items", "additionalProperties"] {
        if let Some(schema) = fields.get_mut(of_many) {
            close(schema);
        }
    }
}

/// A resource as the API server reads it: without nulls, which it takes for absent fields (`edges:` with nothing behind
/// it), and with whole numbers (`2.0`).
pub(super) fn normalised(schema: &Value, value: Value) -> Value {
    let property = |name: &str| schema.get("properties").and_then(|all| all.get(name));
    match value {
        Value::Object(fields) if schema.get("properties").is_some() => fields
            .into_iter()
            .filter(|(name, value)| !(value.is_null() && property(name).is_some()))
            .map(|(name, value)| {
                let value = match property(&name) {
                    Some(schema) => normalised(schema, value),
                    None => value,
                };
                (name, value)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => match schema.get("items") {
            Some(schema) => items
                .into_iter()
                .map(|item| normalised(schema, item))
                .collect(),
            None => Value::Array(items),
        },
        Value::Number(number) if schema.get("type") == Some(&json!("integer")) => {
            // What prints without a fraction is whole: 2.0 as "2".
            let whole = number
                .as_f64()
                .and_then(|number| format!("{number}").parse::<i64>().ok());
            whole.map_or(Value::Number(number), Value::from)
        }
        other => other,
    }
}

/// The schema of what a JSON pointer points to; null when nothing is said about it.
pub(super) fn at<'a>(schema: &'a Value, pointer: &str) -> &'a Value {
    pointer.split('/').skip(1).fold(schema, |schema, segment| {
        schema
            .get("properties")
            .and_then(|properties| properties.get(segment))
            .or_else(|| schema.get("items"))
            .or_else(|| schema.get("additionalProperties"))
            .unwrap_or(&Value::Null)
    })
}

/// What a schema allows, in words that follow "…, ".
pub(super) fn allowed(schema: &Value) -> String {
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
    let mut words = match schema.get("type").and_then(Value::as_str) {
        Some("integer") => match span(number("minimum"), number("maximum"), "") {
            none if none.is_empty() => "must be a whole number".to_owned(),
            range => format!("must be a whole number:{range}"),
        },
        Some("boolean") => "must be true or false".to_owned(),
        Some("string") => {
            let length = span(number("minLength"), number("maxLength"), " characters");
            format!("must be a text{}", prefixed(" of", &length))
        }
        Some("array") => {
            let length = span(number("minItems"), number("maxItems"), " items");
            format!("must be a list{}", prefixed(" of", &length))
        }
        Some("object") => "must be a map of fields".to_owned(),
        _ => "must be a number or a text".to_owned(),
    };
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        words.push_str(&format!(", of the form {pattern}"));
    }
    words
}

fn prefixed(word: &str, text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("{word}{text}")
    }
}
