//! The definition is fresh, complete, and its defaults are valid.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::Path;

use serde_json::Map;

use super::*;
use crate::LiveClusterSpec;

fn schema() -> Value {
    let mut definition = serde_json::to_value(LiveCluster::crd()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()
}

#[test]
fn files_are_fresh() {
    for path in FILES {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(path);
        assert!(
            std::fs::read_to_string(file).unwrap_or_default() == manifest().unwrap(),
            "{path} is stale: {GENERATE}"
        );
    }
}

#[test]
fn definition_fits_into_a_plain_kubectl_apply() {
    assert!(manifest().unwrap().len() < 200_000);
}

#[test]
fn empty_spec_is_one_origin_and_two_edges() {
    let spec: LiveClusterSpec = serde_json::from_value(json!({})).unwrap();
    assert_eq!((spec.origins.replicas, spec.edges.replicas), (1, 2));
    assert_eq!(spec, LiveClusterSpec::default());
}

#[test]
fn every_field_is_described_and_has_bounds() {
    fn visit(path: &str, schema: &Value, faults: &mut Vec<String>) {
        let bounded = match schema["type"].as_str() {
            Some("string") => schema.get("enum").is_some() || schema.get("maxLength").is_some(),
            Some("integer") => schema.get("minimum").is_some() && schema.get("maximum").is_some(),
            Some("array") => schema.get("maxItems").is_some(),
            _ => true,
        };
        if !bounded {
            faults.push(format!("{path} has no bounds"));
        }
        let nothing = Map::new();
        for (name, property) in schema["properties"].as_object().unwrap_or(&nothing) {
            let path = format!("{path}.{name}");
            if property.get("description").is_none() {
                faults.push(format!("{path} has no description"));
            }
            visit(&path, property, faults);
        }
    }
    let mut faults = Vec::new();
    visit("spec", &schema()["properties"]["spec"], &mut faults);
    // Kubernetes validates the fields of a toleration.
    faults.retain(|fault| !fault.contains("tolerations"));
    assert_eq!(faults, Vec::<String>::new());
}

/// Returns a resource, or a part of it, that has every field of a schema; a newer one has a further field in every object.
fn sample(schema: &Value, newer: bool) -> Value {
    if schema["x-kubernetes-int-or-string"] == true {
        return json!(1);
    }
    match schema["type"].as_str() {
        Some("object") => {
            let nothing = Map::new();
            let fields = schema["properties"].as_object().unwrap_or(&nothing);
            let mut fields: Map<String, Value> = fields
                .iter()
                .map(|(name, field)| (name.clone(), sample(field, newer)))
                .collect();
            if let Some(value) = schema.get("additionalProperties") {
                fields.insert("key".to_owned(), sample(value, newer));
            } else if newer && !fields.is_empty() {
                fields.insert(
                    "later".to_owned(),
                    json!({"than": ["this", {"version": 1}]}),
                );
            }
            fields.into()
        }
        Some("array") => json!([sample(&schema["items"], newer)]),
        Some("integer") => schema.get("minimum").map_or(json!(1), |minimum| {
            let mut minimum = minimum.clone();
            write_whole_numbers(&mut minimum);
            minimum
        }),
        Some("boolean") => json!(true),
        _ if schema["format"] == "date-time" => json!("2027-01-31T20:00:00Z"),
        _ => schema["enum"].get(0).cloned().unwrap_or(json!("x")),
    }
}

#[test]
fn fields_of_a_newer_version_are_ignored_at_every_depth() {
    let schema = schema();
    let resource = |newer| -> LiveCluster {
        let part = |name: &str| sample(&schema["properties"][name], newer);
        let resource = json!({
            "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster", "metadata": {"name": "demo"},
            "spec": part("spec"), "status": part("status")
        });
        serde_json::from_value(resource).unwrap()
    };
    let (known, newer) = (resource(false), resource(true));
    assert_eq!(newer.spec, known.spec);
    assert_eq!(newer.status, known.status);
}

/// The API server checks a default before it adds the defaults of its fields.
#[test]
fn every_default_satisfies_the_rules_as_it_is_written() {
    fn visit(path: &str, schema: &Value, checked: &mut usize) {
        if let Some(default) = schema.get("default") {
            let validator = kube::core::cel::Validator::new();
            if let Err(errors) = validator.validate(schema, default, None) {
                panic!("{path}: {errors}");
            }
            *checked += usize::from(schema.get("x-kubernetes-validations").is_some());
        }
        let nothing = Map::new();
        for (name, property) in schema["properties"].as_object().unwrap_or(&nothing) {
            visit(&format!("{path}.{name}"), property, checked);
        }
    }
    let mut checked = 0;
    visit("", &schema(), &mut checked);
    assert_eq!(
        checked, 7,
        "edges; service, ports and rollingUpdate of both roles"
    );
}
