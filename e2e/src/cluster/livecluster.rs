//! LiveClusters in a scenario's namespace: applied, changed, and waited for.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use livecluster_api::conditions::READY;
use livecluster_api::{DrainingPod, LiveCluster, LiveClusterStatus};
use serde_json::{Value, json};

use super::namespace::{despite_overload, is_overloaded};
use super::{Namespace, is_ready, node_of};
use crate::wait::{DEADLINE, eventually};

impl Namespace {
    /// Applies a LiveCluster of just this spec, as a user's manifest does.
    pub async fn apply(&self, name: &str, spec: Value) -> Result<LiveCluster> {
        let manifest = json!({
            "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
            "metadata": {"name": name}, "spec": spec,
        });
        let parameters = PatchParams::apply("e2e").validation_strict();
        self.patch(name, &parameters, &Patch::Apply(manifest))
            .await
            .with_context(|| format!("apply LiveCluster {name}"))
    }

    /// Applies a LiveCluster and waits until it is ready.
    pub async fn apply_ready(&self, name: &str, spec: Value) -> Result<LiveCluster> {
        self.apply(name, spec).await?;
        self.ready(name).await
    }

    /// Changes a part of a LiveCluster's spec.
    pub async fn edit(&self, name: &str, spec: Value) -> Result<LiveCluster> {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.patch(name, &PatchParams::default(), &patch)
            .await
            .with_context(|| format!("change LiveCluster {name}"))
    }

    async fn patch(
        &self,
        name: &str,
        parameters: &PatchParams,
        patch: &Patch<Value>,
    ) -> Result<LiveCluster> {
        let api = self.api();
        let attempt = || async { Ok(api.patch(name, parameters, patch).await?) };
        despite_overload(attempt, is_overloaded).await
    }

    /// Waits until a LiveCluster is ready for its newest generation.
    pub async fn ready(&self, name: &str) -> Result<LiveCluster> {
        self.until_condition(name, READY, "True", DEADLINE).await
    }

    /// Returns an edge on a node, and one on another, of a LiveCluster with two. The scheduler prefers different nodes, unless one is full,
    /// as of what other scenarios leave: then an edge is replaced.
    pub async fn edges_apart(&self, name: &str, node: &str) -> Result<(Pod, Pod)> {
        for _ in 0..SPREAD_ATTEMPTS {
            let edges = self.pods(name, "edge").await?;
            let on = edges.iter().find(|edge| node_of(edge) == Some(node));
            let off = edges.iter().find(|edge| node_of(edge) != Some(node));
            if let (Some(on), Some(off)) = (on, off) {
                return Ok((on.clone(), off.clone()));
            }
            let nodes: Vec<_> = edges.iter().map(node_of).collect();
            self.say(format_args!("the edges are on {nodes:?}"));
            let last = edges.last().context("no edges")?.name_any();
            self.kubectl(&format!("delete pod {last} --grace-period=1"))
                .await?;
            eventually("another edge", DEADLINE, || async {
                let again = self.pods(name, "edge").await?;
                let ready = again.iter().filter(|edge| is_ready(edge)).count();
                ensure!(ready == edges.len(), "{ready} of {}", edges.len());
                Ok(())
            })
            .await?;
        }
        bail!("no two edges of which one is on {node}, {SPREAD_ATTEMPTS} times")
    }

    /// Waits until a condition of a LiveCluster has this status for the newest generation.
    pub async fn until_condition(
        &self,
        name: &str,
        kind: &str,
        status: &str,
        limit: Duration,
    ) -> Result<LiveCluster> {
        let expected = format!("LiveCluster {name} with {kind}={status}");
        eventually(&expected, limit, || async {
            let object: LiveCluster = self.api().get(name).await?;
            let generation = object.metadata.generation;
            ensure!(
                condition(&object, kind).is_some_and(|condition| condition.status == status
                    && condition.observed_generation == generation),
                "generation {generation:?}, {}",
                describe(&object)
            );
            Ok(object)
        })
        .await
    }

    /// Returns a LiveCluster's status.
    pub async fn status(&self, name: &str) -> Result<LiveClusterStatus> {
        let object: LiveCluster = self.get(name).await?;
        object.status.context("no status")
    }

    /// Waits until a LiveCluster's status satisfies a condition.
    pub async fn until_status(
        &self,
        name: &str,
        expected: &str,
        limit: Duration,
        condition: impl Fn(&LiveClusterStatus) -> bool,
    ) -> Result<LiveClusterStatus> {
        eventually(expected, limit, || async {
            let status = self.status(name).await?;
            ensure!(condition(&status), "{status:?}");
            Ok(status)
        })
        .await
    }

    /// Waits until the status says which terminating Pod of a role serves its viewers until when, and an event says the same.
    /// Returns the Pod that is removed first.
    pub async fn shows_plan(&self, name: &str, role: &str, drain: Duration) -> Result<DrainingPod> {
        let prefix = format!("{name}-{role}-");
        let pod = eventually("a plan for the viewers", DEADLINE, || async {
            let status = self.status(name).await?;
            let mut draining = status.draining.iter();
            let serves = draining.find(|it| it.pod.starts_with(&prefix) && it.viewers > Some(0));
            let pod = serves.with_context(|| format!("draining: {:?}", status.draining))?;
            Ok(pod.clone())
        })
        .await?;
        let until = pod.until.as_ref().context("no end of the drain")?.0;
        let left = until.duration_since(Timestamp::now()).as_secs_f64();
        // Kubernetes gives a Pod a few seconds more than the media node takes.
        let within = left > 0.0 && left <= drain.as_secs_f64() + 30.0;
        ensure!(
            pod.reason == "Terminating" && within,
            "{left} s are left: {pod:?}"
        );
        let line = "get events --field-selector reason=Draining -o jsonpath={.items[*].note}{.items[*].message}";
        let expected = format!("{} serves its ", pod.pod);
        eventually(&expected, DEADLINE, || async {
            let notes = self.kubectl(line).await?;
            ensure!(notes.contains(&expected), "events: {notes}");
            Ok(())
        })
        .await?;
        self.say(format_args!(
            "{} serves {} viewers for {left:.0} s at most",
            pod.pod,
            pod.viewers.unwrap_or_default()
        ));
        Ok(pod)
    }

    /// Fails unless the operator carries out an edit of a LiveCluster: an annotation of its edges' Service. The
    /// API server may have restarted just now, so the edit itself is tried again. Each call needs a `mark` of its own.
    pub async fn assert_operator_works(&self, name: &str, mark: &str) -> Result<()> {
        let spec = json!({"edges": {"service": {"annotations": {"mark": mark}}}});
        let edit = || self.edit(name, spec.clone());
        eventually("an edit is accepted", DEADLINE, edit).await?;
        let expected = format!("Service {name}-edge has the annotation mark={mark}");
        eventually(&expected, DEADLINE, || async {
            let service: Service = self.get(&format!("{name}-edge")).await?;
            let seen = service.annotations().get("mark");
            ensure!(seen.is_some_and(|seen| seen == mark), "mark={seen:?}");
            Ok(())
        })
        .await
    }
}

const SPREAD_ATTEMPTS: usize = 5;

/// A LiveCluster's condition of this type.
pub fn condition<'a>(object: &'a LiveCluster, kind: &str) -> Option<&'a Condition> {
    condition_of(object.status.as_ref()?, kind)
}

/// The condition of this type in a LiveCluster's status.
pub fn condition_of<'a>(status: &'a LiveClusterStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|it| it.type_ == kind)
}

/// Since when a LiveCluster has the status of its condition `Ready`.
pub fn ready_since(object: &LiveCluster) -> Option<Timestamp> {
    condition(object, READY).map(|it| it.last_transition_time.0)
}

/// The conditions of a LiveCluster in one line.
pub fn describe(object: &LiveCluster) -> String {
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    let each = conditions.map(|condition| {
        format!(
            "{}={} {} ({:?}): {}",
            condition.type_,
            condition.status,
            condition.reason,
            condition.observed_generation,
            condition.message
        )
    });
    format!("conditions [{}]", each.collect::<Vec<_>>().join("; "))
}
