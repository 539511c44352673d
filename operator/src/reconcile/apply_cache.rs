//! What was applied and what the API made of it: the reason why a cluster that is left alone causes no writes.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use kube::ResourceExt;
use kube::core::DynamicObject;
use livecluster_api::{ClusterName, LiveCluster};
use serde_json::{Map, Value};

use crate::desired::{Child, Kind};

/// Remembers, for each object, the document that was applied and the part of the answer that the document speaks of.
///
/// An object is as applied when the document is the same and that part of the object is, too. What the API makes of a
/// document (`1000m` becomes `1`) is thus no difference, a hand edit of one of our fields is one, and a hand edit of
/// any other field is none. Nothing is remembered over a restart: the operator then applies everything once more.
#[derive(Debug, Default)]
pub struct Memory {
    applied: Mutex<HashMap<Key, Entry>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    cluster: ClusterName,
    kind: Kind,
    name: String,
}

#[derive(Debug)]
struct Entry {
    cluster_uid: Option<String>,
    document: u64,
    answer: Value,
}

impl Memory {
    /// Whether `object` is what it was after the same document was applied.
    pub fn is_as_applied(
        &self,
        cluster: &LiveCluster,
        child: &Child,
        object: &DynamicObject,
    ) -> bool {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.get(&key(cluster, child)).is_some_and(|entry| {
            entry.cluster_uid == cluster.uid()
                && entry.document == fingerprint(&child.document)
                && entry.answer == part(object, &child.document)
        })
    }

    /// Remembers what became of a document.
    pub fn applied(&self, cluster: &LiveCluster, child: &Child, answer: &DynamicObject) {
        let entry = Entry {
            cluster_uid: cluster.uid(),
            document: fingerprint(&child.document),
            answer: part(answer, &child.document),
        };
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.insert(key(cluster, child), entry);
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, cluster: &ClusterName) {
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.retain(|key, _| key.cluster != *cluster);
    }
}

fn key(cluster: &LiveCluster, child: &Child) -> Key {
    Key {
        cluster: ClusterName::of(cluster),
        kind: child.kind,
        name: child.name().to_owned(),
    }
}

/// The maps of a document are sorted, so equal documents have equal texts.
fn fingerprint(document: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    document.to_string().hash(&mut hasher);
    hasher.finish()
}

/// The part of an object that a document speaks of. Lists are taken whole.
fn part(object: &DynamicObject, document: &Value) -> Value {
    let metadata = serde_json::to_value(&object.metadata).unwrap_or_default();
    let mut fields = match &object.data {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    fields.insert("metadata".to_owned(), metadata);
    let mut document = document.clone();
    if let Value::Object(document) = &mut document {
        document.remove("apiVersion");
        document.remove("kind");
    }
    select(&Value::Object(fields), &document)
}

fn select(object: &Value, document: &Value) -> Value {
    match (object, document) {
        (Value::Object(object), Value::Object(document)) => document
            .iter()
            .filter_map(|(key, inner)| {
                let value = object.get(key)?;
                Some((key.clone(), select(value, inner)))
            })
            .collect::<Map<_, _>>()
            .into(),
        _ => object.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(labels: &Value, cpu: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "c", "labels": labels, "resourceVersion": cpu},
            "data": {"cpu": cpu},
            "status": {"seen": cpu}
        }))
        .unwrap()
    }

    fn child(cpu: &str) -> Child {
        Child {
            kind: Kind::ConfigMap,
            role: None,
            document: json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "labels": {"a": "b"}}, "data": {"cpu": cpu}}),
        }
    }

    fn cluster() -> LiveCluster {
        let mut cluster = LiveCluster::new("demo", livecluster_api::LiveClusterSpec::default());
        cluster.metadata.uid = Some("u".to_owned());
        cluster
    }

    #[test]
    fn what_the_api_makes_of_a_document_is_no_difference() {
        let (memory, cluster) = (Memory::default(), cluster());
        let answer = object(&json!({"a": "b"}), "1");
        assert!(!memory.is_as_applied(&cluster, &child("1000m"), &answer));
        memory.applied(&cluster, &child("1000m"), &answer);
        assert!(memory.is_as_applied(&cluster, &child("1000m"), &answer));
        assert!(!memory.is_as_applied(&cluster, &child("2"), &answer));
        memory.forget(&ClusterName::of(&cluster));
        assert!(!memory.is_as_applied(&cluster, &child("1000m"), &answer));
    }

    #[test]
    fn an_edit_of_our_field_is_a_difference_and_of_another_is_none() {
        let (memory, cluster) = (Memory::default(), cluster());
        memory.applied(&cluster, &child("1"), &object(&json!({"a": "b"}), "1"));
        let edited = |labels: Value, cpu: &str| {
            !memory.is_as_applied(&cluster, &child("1"), &object(&labels, cpu))
        };
        assert!(!edited(json!({"a": "b", "theirs": "x"}), "1"));
        assert!(edited(json!({"a": "c"}), "1"));
        assert!(edited(json!({}), "1"));
        assert!(edited(json!({"a": "b"}), "3"));
    }
}
