//! The documents that were applied, with the API server's answers: an unchanged cluster causes no writes.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use kube::ResourceExt;
use kube::core::DynamicObject;
use livecluster_api::{ClusterName, LiveCluster};
use serde_json::{Map, Value};

use crate::desired::child::{Child, ChildKind};

/// Holds, for each object, the document that was applied and the fields of the answer that the document contains.
///
/// An object is unchanged when the document and these fields are. So a value that the API server normalizes (`1000m`
/// becomes `1`) is not a change, a manual edit of one of our fields is one, and a manual edit of any other field is not.
/// The cache does not survive a restart: the operator then applies everything once more.
#[derive(Debug, Default)]
pub struct ApplyCache {
    applied: Mutex<HashMap<ChildKey, AppliedChild>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ChildKey {
    cluster: ClusterName,
    kind: ChildKind,
    name: String,
}

#[derive(Debug)]
struct AppliedChild {
    cluster_uid: Option<String>,
    /// Fingerprint of the document.
    document: u64,
    /// The fields of the answer that the document contains.
    answer: Value,
}

impl ApplyCache {
    /// Returns whether `object` is what it was after the same document was applied.
    pub(super) fn is_unchanged(
        &self,
        cluster: &LiveCluster,
        child: &Child,
        object: &DynamicObject,
    ) -> bool {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.get(&key(cluster, child)).is_some_and(|entry| {
            entry.cluster_uid == cluster.uid()
                && entry.document == fingerprint(&child.document)
                && entry.answer == applied_fields(object, &child.document)
        })
    }

    /// Stores the answer to a document.
    pub(super) fn insert(&self, cluster: &LiveCluster, child: &Child, answer: &DynamicObject) {
        let entry = AppliedChild {
            cluster_uid: cluster.uid(),
            document: fingerprint(&child.document),
            answer: applied_fields(answer, &child.document),
        };
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.insert(key(cluster, child), entry);
    }

    /// Drops the entries of a deleted cluster.
    pub fn forget(&self, cluster: &ClusterName) {
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.retain(|key, _| key.cluster != *cluster);
    }
}

fn key(cluster: &LiveCluster, child: &Child) -> ChildKey {
    ChildKey {
        cluster: ClusterName::of(cluster),
        kind: child.kind,
        name: child.name().to_owned(),
    }
}

/// Returns a hash of a document. Its maps are sorted, so equal documents have equal texts.
fn fingerprint(document: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    document.to_string().hash(&mut hasher);
    hasher.finish()
}

/// Returns the fields of an object that a document contains. Lists are compared whole.
fn applied_fields(object: &DynamicObject, document: &Value) -> Value {
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
            kind: ChildKind::ConfigMap,
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
    fn normalized_value_is_not_a_change() {
        let (cache, cluster) = (ApplyCache::default(), cluster());
        let answer = object(&json!({"a": "b"}), "1");
        assert!(!cache.is_unchanged(&cluster, &child("1000m"), &answer));
        cache.insert(&cluster, &child("1000m"), &answer);
        assert!(cache.is_unchanged(&cluster, &child("1000m"), &answer));
        assert!(!cache.is_unchanged(&cluster, &child("2"), &answer));
        cache.forget(&ClusterName::of(&cluster));
        assert!(!cache.is_unchanged(&cluster, &child("1000m"), &answer));
    }

    #[test]
    fn edit_of_an_applied_field_is_a_change_and_of_another_is_not() {
        let (cache, cluster) = (ApplyCache::default(), cluster());
        cache.insert(&cluster, &child("1"), &object(&json!({"a": "b"}), "1"));
        let edited = |labels: Value, cpu: &str| {
            !cache.is_unchanged(&cluster, &child("1"), &object(&labels, cpu))
        };
        assert!(!edited(json!({"a": "b", "theirs": "x"}), "1"));
        assert!(edited(json!({"a": "c"}), "1"));
        assert!(edited(json!({}), "1"));
        assert!(edited(json!({"a": "b"}), "3"));
    }
}
