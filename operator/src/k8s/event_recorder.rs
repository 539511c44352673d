//! Events on transitions: what `kubectl describe lc` and an operator's alarms show.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use livecluster_api::ClusterName;

use crate::k8s::client::Calls;

/// Publishes events.
///
/// kube counts a repeated event up, and shows what the first one said. So events that say something else are given to
/// a recorder of their own, which knows of no first one.
pub struct Publisher {
    client: Client,
    calls: Calls,
    reporter: Reporter,
    recorders: Mutex<HashMap<Key, (Option<String>, Recorder)>>,
}

/// Namespace and name of a cluster, and the reason of its event.
type Key = (ClusterName, String);

impl Publisher {
    /// Publishes in the name of `reporter`.
    pub fn new(client: Client, calls: Calls, reporter: Reporter) -> Self {
        Self {
            client,
            calls,
            reporter,
            recorders: Mutex::default(),
        }
    }

    /// Publishes an event, or loses it: a cluster is not worse off for want of an event.
    pub async fn publish(&self, event: &Event, about: &ObjectReference) {
        let recorder = self.recorder(event, about);
        let call = recorder.publish(event, about);
        if let Err(error) = self.calls.call("create", "Event", "", call).await
            && !error.is_namespace_end()
        {
            tracing::warn!(%error, reason = event.reason, "an event is lost");
        }
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, gone: &ClusterName) {
        let mut recorders = self
            .recorders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        recorders.retain(|(cluster, _), _| cluster != gone);
    }

    fn recorder(&self, event: &Event, about: &ObjectReference) -> Recorder {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let cluster = ClusterName::new(part(&about.namespace), part(&about.name));
        let mut recorders = self
            .recorders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let fresh = || Recorder::new(self.client.clone(), self.reporter.clone());
        let (note, recorder) = recorders
            .entry((cluster, event.reason.clone()))
            .or_insert_with(|| (event.note.clone(), fresh()));
        if *note != event.note {
            *note = event.note.clone();
            *recorder = fresh();
        }
        recorder.clone()
    }
}

/// Reasons that somebody should look at.
const TROUBLES: [&str; 11] = [
    "ContainerCannotStart",
    "CrashLooping",
    "Forbidden",
    "ImageUnavailable",
    "InvalidSpec",
    "NameConflict",
    "ProgressDeadlineExceeded",
    "QuotaExceeded",
    "ReplicaFailure",
    "SecretNotFound",
    "ServiceAccountNotFound",
];

/// What happened between two statuses, worth telling once.
///
/// `Ready` tells when it flips, `Progressing` when it is about something else, and every condition when somebody
/// should look. Two conditions that say the same are told once.
pub fn transitions(old: &[Condition], new: &[Condition]) -> Vec<Event> {
    let mut told: Vec<(EventType, &str, &str)> = Vec::new();
    // More nodes are wanted than a moment ago: nothing is wrong.
    let is_scaling = new.iter().any(|new| new.reason.starts_with("Scaling"));
    for condition in new {
        let before = old.iter().find(|old| old.type_ == condition.type_);
        if let Some((kind, reason)) = transition(before, condition, is_scaling)
            && !told.contains(&(kind, reason, &condition.message))
        {
            told.push((kind, reason, &condition.message));
        }
    }
    told.into_iter()
        .map(|(type_, reason, message)| Event {
            type_,
            reason: reason.to_owned(),
            note: Some(message.chars().take(LONGEST_NOTE).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        })
        .collect()
}

/// Kubernetes takes 1,024 bytes; a character may have four.
const LONGEST_NOTE: usize = 256;

fn transition<'a>(
    before: Option<&Condition>,
    now: &'a Condition,
    is_scaling: bool,
) -> Option<(EventType, &'a str)> {
    let is_new = before.is_none_or(|before| before.reason != now.reason);
    let flips = before.is_some_and(|before| before.status != now.status);
    let reason = now.reason.as_str();
    let is_trouble =
        TROUBLES.contains(&reason) || (reason == "Unschedulable" && now.status == "False");
    if is_trouble {
        return is_new.then_some((EventType::Warning, reason));
    }
    match (now.type_.as_str(), now.status.as_str()) {
        ("Ready", "True") if flips => Some((EventType::Normal, "Ready")),
        ("Ready", _) if flips && is_scaling => Some((EventType::Normal, reason)),
        ("Ready", _) if flips => Some((EventType::Warning, reason)),
        // At the first look nothing has been rolled out yet.
        ("Progressing", _) if is_new && before.is_some() => Some((EventType::Normal, reason)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn condition(text: &str) -> Condition {
        let words: Vec<_> = text.splitn(4, ' ').map(str::to_owned).collect();
        let [type_, status, reason, message] = words.try_into().unwrap();
        Condition {
            type_,
            status,
            reason,
            message,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: None,
        }
    }

    fn told(old: &[&str], new: &[&str]) -> Vec<String> {
        let list = |texts: &[&str]| texts.iter().map(|text| condition(text)).collect::<Vec<_>>();
        transitions(&list(old), &list(new))
            .into_iter()
            .map(|event| format!("{:?} {}", event.type_, event.reason))
            .collect()
    }

    #[test]
    fn nothing_happened_when_nothing_changed() {
        let same = [
            "Ready True Available x",
            "Progressing False RolloutComplete x",
        ];
        assert!(told(&same, &same).is_empty());
    }

    #[test]
    fn a_cluster_that_starts_is_no_alarm() {
        let first = [
            "Ready False OriginsUnavailable 0 of 1",
            "Progressing True Creating x",
        ];
        assert!(told(&[], &first).is_empty());
        let ready = [
            "Ready True Available 1 of 1",
            "Progressing False RolloutComplete x",
        ];
        assert_eq!(
            told(&first, &ready),
            ["Normal Ready", "Normal RolloutComplete"]
        );
    }

    #[test]
    fn a_cluster_that_was_ready_is_an_alarm() {
        let (before, after) = (
            ["Ready True Available x"],
            ["Ready False EdgesUnavailable x"],
        );
        assert_eq!(told(&before, &after), ["Warning EdgesUnavailable"]);
        assert!(told(&after, &after).is_empty());
    }

    #[test]
    fn a_cluster_that_grows_is_no_alarm() {
        let before = [
            "Ready True Available x",
            "Progressing False RolloutComplete x",
        ];
        let after = [
            "Ready False EdgesUnavailable x",
            "Progressing True ScalingEdges x",
        ];
        assert_eq!(
            told(&before, &after),
            ["Normal EdgesUnavailable", "Normal ScalingEdges"]
        );
    }

    #[test]
    fn a_trouble_is_told_once_though_two_conditions_show_it() {
        let before = ["Ready False Starting x", "Progressing True Creating x"];
        let after = [
            "Ready False NameConflict a",
            "Progressing False NameConflict a",
        ];
        assert_eq!(told(&before, &after), ["Warning NameConflict"]);
    }
}
