//! Records events about LiveClusters: `kubectl describe lc` shows them.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, Recorder, Reporter};
use livecluster_api::ClusterName;
use parking_lot::Mutex;

use crate::k8s::call_error::CallError;

/// Records events.
///
/// kube's recorder counts an event with a known reason as a repetition, and keeps the first note. So an event with
/// another note gets a new recorder.
pub struct EventRecorder {
    client: Client,
    reporter: Reporter,
    recorders: Mutex<Recorders>,
}

/// The recorder of each cluster and reason, with the note that it recorded last.
type Recorders = HashMap<(ClusterName, String), (Option<String>, Recorder)>;

impl EventRecorder {
    /// Returns a recorder of events from `reporter`.
    pub fn new(client: Client, reporter: Reporter) -> Self {
        Self {
            client,
            reporter,
            recorders: Mutex::default(),
        }
    }

    /// Records an event. A failure is logged only: a cluster works as well without its event.
    pub async fn record(&self, event: &Event, about: &ObjectReference) {
        let recorder = self.recorder(event, about);
        let recorded = recorder.publish(event, about).await;
        if let Err(error) = recorded.map_err(CallError::on("create", "Event", ""))
            && !error.is_namespace_terminating()
        {
            tracing::warn!(%error, reason = event.reason, "event not recorded");
        }
    }

    /// Drops the state of a deleted cluster.
    pub fn forget(&self, deleted: &ClusterName) {
        self.recorders
            .lock()
            .retain(|(cluster, _), _| cluster != deleted);
    }

    fn recorder(&self, event: &Event, about: &ObjectReference) -> Recorder {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let cluster = ClusterName::new(part(&about.namespace), part(&about.name));
        let new = || Recorder::new(self.client.clone(), self.reporter.clone());
        let mut recorders = self.recorders.lock();
        let (note, recorder) = recorders
            .entry((cluster, event.reason.clone()))
            .or_insert_with(|| (event.note.clone(), new()));
        if *note != event.note {
            *note = event.note.clone();
            *recorder = new();
        }
        recorder.clone()
    }
}
