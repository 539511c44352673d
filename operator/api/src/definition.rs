//! From the types to the CustomResourceDefinition.
//!
//! The schema that the derive makes is put into the form of the API server: no `null`, no formats it does not know,
//! nested defaults as `{}`, and the rules about the name, which only the root can have.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::LiveCluster;

/// Why there is no CustomResourceDefinition: a fault of the types, which tests find.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// A schema has a form that Kubernetes does not know.
    #[error("the schema is not one of Kubernetes")]
    Schema(#[from] serde_json::Error),
    /// It cannot be written as YAML.
    #[error("the definition cannot be written as YAML")]
    Yaml(#[from] serde_yaml::Error),
}

/// The CustomResourceDefinition.
///
/// # Errors
/// None for the types as they are: a test makes it.
pub fn definition() -> Result<CustomResourceDefinition, DefinitionError> {
    let mut definition = serde_json::to_value(LiveCluster::crd())?;
    if let Some(root) = definition.pointer_mut(SCHEMA) {
        adapt(root);
        root["x-kubernetes-validations"] = name_rules();
    }
    Ok(serde_json::from_value(definition)?)
}

/// The OpenAPI schema of a whole `LiveCluster`, with its CEL rules.
///
/// # Errors
/// As [`definition`].
pub fn schema() -> Result<Value, DefinitionError> {
    let mut definition = serde_json::to_value(definition()?)?;
    Ok(definition
        .pointer_mut(SCHEMA)
        .map(Value::take)
        .unwrap_or_default())
}

/// The CustomResourceDefinition as YAML: `crds/livecluster.yaml`.
///
/// # Errors
/// As [`definition`].
pub fn manifest() -> Result<String, DefinitionError> {
    let mut definition = serde_json::to_value(definition()?)?;
    write_whole_numbers(&mut definition);
    let yaml = serde_yaml::to_string(&definition)?;
    Ok(format!("# Made by `livecluster crd`; do not edit.\n{yaml}"))
}

/// What the CEL rules have against a cluster, with the field in front of each message; nothing when all is well.
///
/// # Errors
/// As [`definition`].
pub fn violations(
    cluster: &LiveCluster,
    old: Option<&LiveCluster>,
) -> Result<Vec<String>, DefinitionError> {
    let old = old.map(serde_json::to_value).transpose()?;
    let checked = kube::core::cel::Validator::new().validate(
        &schema()?,
        &serde_json::to_value(cluster)?,
        old.as_ref(),
    );
    Ok(match checked {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    })
}

/// A list of objects whose fields the API server of the operator's cluster checks when they are used.
pub(crate) fn raw_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}

/// An object whose fields the API server of the operator's cluster checks when it is used.
pub(crate) fn raw_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Labels, within the limits that Kubernetes has for them.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    string_map(63)
}

/// Annotations, within the limits that Kubernetes has for them.
pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    string_map(16_384)
}

fn string_map(longest_value: u32) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": longest_value},
    })
}

/// Amounts of resources by name.
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

/// Conditions, one for each type.
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

fn name_rules() -> Value {
    json!([
        {
            "rule": "self.metadata.name.size() <= 38",
            "message": "metadata.name must have at most 38 characters: the names of Services and Pods are made of it",
        },
        {
            "rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "message": "metadata.name must be lower case letters, digits and '-', begin with a letter and not end with '-'",
        },
    ])
}

/// Puts a schema and all schemas in it into the form of the API server.
fn adapt(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            adapt_object(fields);
            fields.values_mut().for_each(adapt);
        }
        Value::Array(items) => items.iter_mut().for_each(adapt),
        _ => {}
    }
}

fn adapt_object(fields: &mut Map<String, Value>) {
    // A property of a resource may be called like a keyword: only schemas are adapted.
    let is_schema =
        fields.contains_key("type") || fields.contains_key("x-kubernetes-int-or-string");
    if !is_schema || fields.get("type").is_some_and(Value::is_object) {
        return;
    }
    fields.remove("nullable");
    fields.remove("title");
    if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
        fields.remove("additionalProperties");
    }
    if fields.get("default") == Some(&Value::Null) {
        fields.remove("default");
    }
    // Where there are rules, the default is written out: they are tried on it before the defaults inside it are in.
    let has_rules = fields.contains_key("x-kubernetes-validations");
    if fields.contains_key("default") && fields.contains_key("properties") && !has_rules {
        fields.insert("default".to_owned(), json!({}));
    }
    adapt_number(fields);
    if let Some(Value::String(text)) = fields.get_mut("description") {
        *text = one_line(text);
    }
}

/// Unsigned numbers are unknown to Kubernetes: their bounds say the same.
fn adapt_number(fields: &mut Map<String, Value>) {
    if fields.get("type") != Some(&json!("integer")) {
        return;
    }
    if fields
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| format.starts_with("uint"))
    {
        fields.insert("format".to_owned(), json!("int32"));
    }
}

/// Bounds are floating point numbers in the typed definition: `64.0` becomes `64`.
fn write_whole_numbers(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(write_whole_numbers),
        Value::Array(items) => items.iter_mut().for_each(write_whole_numbers),
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().map(|float| format!("{float}"))
                && let Ok(whole) = whole.parse::<i64>()
            {
                *value = json!(whole);
            }
        }
        _ => {}
    }
}

fn one_line(text: &str) -> String {
    text.split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n\n")
}

const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";

/// What Kubernetes takes for an amount.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LiveClusterSpec, NodePorts, ServiceType, TrafficPolicy};

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds/livecluster.yaml");

    fn cluster(name: &str) -> LiveCluster {
        LiveCluster::new(name, LiveClusterSpec::default())
    }

    fn refused(cluster: &LiveCluster) -> String {
        violations(cluster, None).unwrap().join("\n")
    }

    #[test]
    fn the_file_in_crds_is_fresh() {
        let file = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(
            file == manifest().unwrap(),
            "stale: cargo run -p livecluster -- crd > crds/livecluster.yaml"
        );
    }

    #[test]
    fn it_is_small_enough_for_a_plain_kubectl_apply() {
        assert!(manifest().unwrap().len() < 200_000);
    }

    #[test]
    fn an_empty_spec_is_one_origin_and_two_edges() {
        let spec: LiveClusterSpec = serde_json::from_value(json!({})).unwrap();
        assert_eq!((spec.origins.replicas, spec.edges.replicas), (1, 2));
        assert_eq!(spec, LiveClusterSpec::default());
        assert_eq!(refused(&cluster("demo")), "");
    }

    #[test]
    fn every_field_is_described_and_has_bounds() {
        fn visit(path: &str, schema: &Value, faults: &mut Vec<String>) {
            let bounded = match schema["type"].as_str() {
                Some("string") => schema.get("enum").is_some() || schema.get("maxLength").is_some(),
                Some("integer") => {
                    schema.get("minimum").is_some() && schema.get("maximum").is_some()
                }
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
        visit(
            "spec",
            &schema().unwrap()["properties"]["spec"],
            &mut faults,
        );
        // The fields of a toleration are Kubernetes' own.
        faults.retain(|fault| !fault.contains("tolerations"));
        assert_eq!(faults, Vec::<String>::new());
    }

    /// As the API server sees it: a default is checked before the defaults inside it are in.
    #[test]
    fn every_default_satisfies_the_rules_as_it_stands() {
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
        visit("", &schema().unwrap(), &mut checked);
        assert_eq!(checked, 4, "service and ports of both roles");
    }

    #[test]
    fn a_name_that_no_pod_could_have_is_refused() {
        assert!(refused(&cluster(&"a".repeat(39))).contains("at most 38"));
        for name in ["9lives", "dotted.name", "dash-"] {
            assert!(refused(&cluster(name)).contains("metadata.name must be lower case"));
        }
        assert_eq!(refused(&cluster(&"a".repeat(38))), "");
    }

    #[test]
    fn node_ports_need_a_service_that_has_them() {
        let mut demo = cluster("demo");
        let service = &mut demo.spec.edges.nodes.service;
        service.node_ports = Some(NodePorts {
            rtmp: None,
            http: Some(30_880),
        });
        service.external_traffic_policy = TrafficPolicy::Local;
        let refusal = refused(&demo);
        assert!(refusal.contains("nodePorts needs type"), "{refusal}");
        assert!(
            refusal.contains("externalTrafficPolicy Local needs"),
            "{refusal}"
        );
        demo.spec.edges.nodes.service.kind = ServiceType::NodePort;
        assert_eq!(refused(&demo), "");
    }

    #[test]
    fn settings_of_load_balancers_need_a_load_balancer() {
        let mut demo = cluster("demo");
        let service = &mut demo.spec.origins.nodes.service;
        service.load_balancer_class = Some("example.com/lb".to_owned());
        service.load_balancer_source_ranges = vec!["203.0.113.0/24".to_owned()];
        let refusal = refused(&demo);
        assert!(refusal.contains("loadBalancerClass needs"), "{refusal}");
        assert!(
            refusal.contains("loadBalancerSourceRanges needs"),
            "{refusal}"
        );
        demo.spec.origins.nodes.service.kind = ServiceType::LoadBalancer;
        assert_eq!(refused(&demo), "");
    }

    #[test]
    fn the_class_of_a_load_balancer_stays() {
        let mut old = cluster("demo");
        old.spec.edges.nodes.service.kind = ServiceType::LoadBalancer;
        let mut new = old.clone();
        new.spec.edges.nodes.service.load_balancer_class = Some("example.com/lb".to_owned());
        assert_eq!(violations(&new, Some(&new)).unwrap(), Vec::<String>::new());
        assert!(
            violations(&new, Some(&old)).unwrap()[0].contains("loadBalancerClass cannot change")
        );
        assert!(
            violations(&old, Some(&new)).unwrap()[0].contains("loadBalancerClass cannot change")
        );
    }

    #[test]
    fn one_port_cannot_be_two() {
        let mut demo = cluster("demo");
        let service = &mut demo.spec.edges.nodes.service;
        service.ports.http = 1935;
        service.kind = ServiceType::NodePort;
        service.node_ports = Some(NodePorts {
            rtmp: Some(30_000),
            http: Some(30_000),
        });
        let refusal = refused(&demo);
        assert!(refusal.contains("ports.rtmp and ports.http"), "{refusal}");
        assert!(
            refusal.contains("nodePorts.rtmp and nodePorts.http"),
            "{refusal}"
        );
    }
}
