//! The documents that were applied, with the API server's answers: an unchanged cluster causes no writes, and one that another client
//! changes again and again causes few.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use kube::ResourceExt;
use kube::core::DynamicObject;
use livecluster_api::{ClusterName, LiveCluster};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::ownership::editor;
use crate::desired::child::{Child, ChildKind};

/// Restorations of an object within [`RESTORE_WINDOW`]. Without a limit, the operator and another client that insists on its own
/// values would change the object without end.
const MAX_RESTORED: usize = 6;
/// Time in which an object is restored so often at most.
const RESTORE_WINDOW: Duration = Duration::from_secs(60);
/// Time after which an object that was restored so often is no longer reported. Between two bursts of restorations it is.
const REPORT_WINDOW: Duration = Duration::from_secs(150);

/// Holds, for each object, the document that was applied and the fields of the answer that the document contains.
///
/// An object is unchanged when the document and these fields are. So a value that the API server normalizes (`1000m`
/// becomes `1`) is not a change, a manual edit of one of our fields is one, and a manual edit of any other field is not.
/// The cache does not survive a restart: the operator then applies everything once more.
#[derive(Debug, Default)]
pub struct ApplyCache {
    applied: Mutex<HashMap<ChildKey, AppliedChild>>,
}

/// What an object is, compared with what was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChildState {
    /// It is what it was after the same document was applied.
    Unchanged,
    /// The document is another one, or was never applied.
    New,
    /// Another client has changed or deleted it. It is to be restored.
    Edited,
    /// The same, but it was restored often lately.
    EditedRepeatedly,
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
    /// When it was restored, the last times.
    restored: VecDeque<Instant>,
    /// The client that changed it last before.
    editor: Option<String>,
}

impl ApplyCache {
    /// Compares an object, `None` if it does not exist, with what was applied.
    pub(super) fn state(
        &self,
        cluster: &LiveCluster,
        child: &Child,
        object: Option<&DynamicObject>,
        now: Instant,
    ) -> ChildState {
        let applied = self.applied.lock();
        let entry = applied.get(&key(cluster, child)).filter(|entry| {
            entry.cluster_uid == cluster.uid() && entry.document == fingerprint(&child.document)
        });
        let Some(entry) = entry else {
            return ChildState::New;
        };
        if object.is_some_and(|it| entry.answer == applied_fields(it, &child.document)) {
            ChildState::Unchanged
        } else if entry.was_restored_often(now, RESTORE_WINDOW) {
            ChildState::EditedRepeatedly
        } else {
            ChildState::Edited
        }
    }

    /// Notes that an object is restored.
    pub(super) fn note_restored(
        &self,
        cluster: &LiveCluster,
        child: &Child,
        edited: Option<&DynamicObject>,
        now: Instant,
    ) {
        if let Some(entry) = self.applied.lock().get_mut(&key(cluster, child)) {
            entry.restored.truncate(MAX_RESTORED - 1);
            entry.restored.push_front(now);
            entry.editor = edited.and_then(editor);
        }
    }

    /// Stores the answer to a document.
    pub(super) fn insert(&self, cluster: &LiveCluster, child: &Child, answer: &DynamicObject) {
        let mut applied = self.applied.lock();
        let key = key(cluster, child);
        let (restored, editor) = match applied.remove(&key) {
            Some(before) => (before.restored, before.editor),
            None => Default::default(),
        };
        let entry = AppliedChild {
            cluster_uid: cluster.uid(),
            document: fingerprint(&child.document),
            answer: applied_fields(answer, &child.document),
            restored,
            editor,
        };
        applied.insert(key, entry);
    }

    /// Returns a message about each object of a cluster that other clients have changed again and again.
    pub(super) fn edited_repeatedly(&self, cluster: &LiveCluster, now: Instant) -> Vec<String> {
        let name = ClusterName::of(cluster);
        let applied = self.applied.lock();
        let edited = applied.iter().filter(|(key, entry)| {
            key.cluster == name && entry.was_restored_often(now, REPORT_WINDOW)
        });
        let mut messages: Vec<String> = edited.map(|(key, entry)| message(key, entry)).collect();
        messages.sort_unstable();
        messages
    }

    /// Drops the entries of a deleted cluster.
    pub fn forget(&self, cluster: &ClusterName) {
        self.applied.lock().retain(|key, _| key.cluster != *cluster);
    }
}

impl AppliedChild {
    fn was_restored_often(&self, now: Instant, window: Duration) -> bool {
        let oldest = self.restored.get(MAX_RESTORED - 1);
        oldest.is_some_and(|at| now.duration_since(*at) < window)
    }
}

fn message(key: &ChildKey, entry: &AppliedChild) -> String {
    let kind = key.kind.resource().kind;
    let editor = entry.editor.as_deref().unwrap_or("another client");
    format!(
        "{kind} {} is changed again and again, by {editor}; it is restored at most {MAX_RESTORED} times in {} seconds",
        key.name,
        RESTORE_WINDOW.as_secs()
    )
}

fn key(cluster: &LiveCluster, child: &Child) -> ChildKey {
    ChildKey {
        cluster: ClusterName::of(cluster),
        kind: child.kind,
        name: child.name().to_owned(),
    }
}

/// Returns a hash of a document. Its maps are sorted, so equal documents have equal texts.
pub(super) fn fingerprint(document: &Value) -> u64 {
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
            held_with: None,
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
        let state = |cpu: &str| cache.state(&cluster, &child(cpu), Some(&answer), Instant::now());
        assert_eq!(state("1000m"), ChildState::New);
        cache.insert(&cluster, &child("1000m"), &answer);
        assert_eq!(state("1000m"), ChildState::Unchanged);
        assert_eq!(state("2"), ChildState::New);
        cache.forget(&ClusterName::of(&cluster));
        assert_eq!(state("1000m"), ChildState::New);
    }

    #[test]
    fn edit_of_an_applied_field_is_a_change_and_of_another_is_not() {
        let (cache, cluster) = (ApplyCache::default(), cluster());
        cache.insert(&cluster, &child("1"), &object(&json!({"a": "b"}), "1"));
        let edited = |labels: Value, cpu: &str| {
            let object = object(&labels, cpu);
            let state = cache.state(&cluster, &child("1"), Some(&object), Instant::now());
            state == ChildState::Edited
        };
        assert!(!edited(json!({"a": "b", "theirs": "x"}), "1"));
        assert!(edited(json!({"a": "c"}), "1"));
        assert!(edited(json!({}), "1"));
        assert!(edited(json!({"a": "b"}), "3"));
        let deleted = cache.state(&cluster, &child("1"), None, Instant::now());
        assert_eq!(deleted, ChildState::Edited);
    }
}
