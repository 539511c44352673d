//! The operator's own writes of the status: the watch reports each of them as a change, which needs no reconciliation.

use std::collections::{HashMap, VecDeque};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use livecluster_api::ClusterName;
use parking_lot::Mutex;

/// Writes of one cluster that the watch has not reported. It reports them within milliseconds, unless it starts anew.
const MAX_UNREPORTED: usize = 8;

/// The versions of clusters that the operator has written and the watch has not reported yet.
#[derive(Debug, Default)]
pub(super) struct OwnWrites {
    versions: Mutex<HashMap<ClusterName, VecDeque<String>>>,
}

impl OwnWrites {
    /// Notes a write of the status. `read` is the metadata that the status was computed from, `written` that of the answer. A write
    /// that met another change is not noted: the watch may report both as one.
    pub(super) fn insert(&self, cluster: &ClusterName, read: &ObjectMeta, written: &ObjectMeta) {
        let Some(version) = &written.resource_version else {
            return;
        };
        if read.resource_version.as_ref() == Some(version) || content(read) != content(written) {
            return;
        }
        let mut versions = self.versions.lock();
        let unreported = versions.entry(cluster.clone()).or_default();
        unreported.push_back(version.clone());
        if unreported.len() > MAX_UNREPORTED {
            unreported.pop_front();
        }
    }

    /// Returns whether a change that the watch reports is a write of the operator, and forgets it.
    pub(super) fn take(&self, changed: &ObjectMeta, cluster: &ClusterName) -> bool {
        let mut versions = self.versions.lock();
        let Some(unreported) = versions.get_mut(cluster) else {
            return false;
        };
        let is_it = |version: &String| changed.resource_version.as_ref() == Some(version);
        let position = unreported.iter().position(is_it);
        // The watch reports the versions of an object in their order.
        drop(position.map(|position| unreported.drain(..=position)));
        position.is_some()
    }

    /// Drops the state of a deleted cluster.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.versions.lock().remove(cluster);
    }
}

/// Returns the metadata without what every write changes.
fn content(metadata: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        resource_version: None,
        managed_fields: None,
        ..metadata.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(version: &str, generation: i64) -> ObjectMeta {
        ObjectMeta {
            resource_version: Some(version.to_owned()),
            generation: Some(generation),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn own_write_is_known_once_and_every_other_change_never() {
        let (own, demo) = (OwnWrites::default(), ClusterName::new("media", "demo"));
        own.insert(&demo, &metadata("1", 1), &metadata("2", 1));
        let other = ClusterName::new("media", "other");
        assert!(!own.take(&metadata("2", 1), &other));
        assert!(!own.take(&metadata("3", 1), &demo));
        assert!(own.take(&metadata("2", 1), &demo));
        assert!(!own.take(&metadata("2", 1), &demo));
    }

    #[test]
    fn write_that_met_another_change_is_not_noted() {
        let (own, demo) = (OwnWrites::default(), ClusterName::new("media", "demo"));
        own.insert(&demo, &metadata("1", 1), &metadata("3", 2));
        assert!(!own.take(&metadata("3", 2), &demo));
        // A write without an effect: the version is that of another change.
        own.insert(&demo, &metadata("3", 2), &metadata("3", 2));
        assert!(!own.take(&metadata("3", 2), &demo));
    }

    #[test]
    fn writes_that_the_watch_never_reports_are_bounded() {
        let (own, demo) = (OwnWrites::default(), ClusterName::new("media", "demo"));
        for version in 2..100 {
            own.insert(&demo, &metadata("1", 1), &metadata(&version.to_string(), 1));
        }
        assert_eq!(own.versions.lock()[&demo].len(), MAX_UNREPORTED);
        assert!(own.take(&metadata("99", 1), &demo));
        assert!(own.versions.lock()[&demo].is_empty());
    }
}
