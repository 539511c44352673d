//! The report of a reconciliation: status, events and metrics of a cluster.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, Status};
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::{Api, Resource};
use livecluster_api::{ClusterName, LiveCluster, LiveClusterStatus, OperatorName, conditions};
use media_config::Role;
use serde_json::{Value, json};

use super::super::apply::ApplyError;
use super::super::claim;
use super::super::ownership::FIELD_MANAGER;
use super::Reconciler;
use crate::desired::gateway_kind::ServedGatewayApi;
use crate::k8s::call_error::CallError;
use crate::k8s::clock::now;
use crate::observe::cluster::{UnreadableCluster, parse};
use crate::observe::read;
use crate::status::input::StatusInput;
use crate::status::status;
use crate::status::transitions::{self, transitions};
use crate::status::unreadable::{present_conditions, unreadable_conditions, unreadable_status};
use crate::status::{AT_MAXIMUM, draining_event};

/// Part of the API server's answer to an apply with a field that the definition does not have. It leaves such a field out of a merge.
const NOT_DECLARED: &str = "field not declared in schema";

/// How often a status is written where other clients change the cluster meanwhile, before the reconciliation fails.
const STATUS_ATTEMPTS: usize = 3;

impl Reconciler {
    /// Writes the status if it has changed, and records events for its transitions. Returns whether anything but the numbers
    /// of streams and viewers has changed.
    pub(super) async fn update_status(
        &self,
        cluster: &LiveCluster,
        input: &StatusInput,
    ) -> Result<bool, CallError> {
        let new = status(cluster, input, &Time(now()));
        let wanted = input.wanted(cluster, Role::Edge);
        self.metrics
            .set_wanted_edges(&ClusterName::of(cluster), wanted);
        self.metrics
            .set_full_edges(&ClusterName::of(cluster), input.observed.full_edges());
        self.replace_status(cluster, &new).await
    }

    /// Writes the status of a reconciliation that fails, if those before have failed, too.
    pub(super) async fn report_failure(&self, cluster: &LiveCluster, failed: &LiveClusterStatus) {
        if self.failures.is_persistent(&ClusterName::of(cluster)) {
            let reported = self.replace_status(cluster, failed).await;
            drop(reported.inspect_err(|error| tracing::warn!(%error, "failure not reported")));
        }
    }

    /// Writes a status if it has changed, see [`Self::update_status`].
    async fn replace_status(
        &self,
        cluster: &LiveCluster,
        new: &LiveClusterStatus,
    ) -> Result<bool, CallError> {
        self.update_metrics(cluster, new);
        let present = cluster.status.as_ref();
        let name = ClusterName::of(cluster);
        if present == Some(new) || self.partial_statuses.is_written(&name, new, present) {
            return Ok(false);
        }
        let about = cluster.object_ref(&());
        self.write_status(&cluster.metadata, &about, json!(new))
            .await?;
        let old = cluster.status.clone().unwrap_or_default();
        self.record_transitions(&about, &old.conditions, &new.conditions)
            .await;
        if let Some(event) = draining_event(&old.draining, &new.draining) {
            self.events.record(&event, &about).await;
        }
        let numbers = LiveClusterStatus {
            streams: new.streams.clone(),
            draining: new.draining.clone(),
            ..old
        };
        Ok(numbers != *new)
    }

    /// Reports a cluster that another operator reconciles, once, and leaves it alone.
    pub(super) async fn report_foreign(
        &self,
        object: &DynamicObject,
        owner: &OperatorName,
        is_new: bool,
    ) {
        let name = ClusterName::of(object);
        self.drop_state(&name);
        self.metrics.set_foreign(&name, true);
        if is_new {
            let note = claim::message(owner, &self.claims.identity.name);
            tracing::warn!(cluster = %name, note, "another operator reconciles the LiveCluster");
            let event = transitions::event(EventType::Warning, "OtherOperator", &note);
            let about = object.object_ref(&ApiResource::erase::<LiveCluster>(&()));
            self.events.record(&event, &about).await;
        }
    }

    /// Reports a cluster that another operator has reconciled until now.
    pub(super) async fn report_takeover(&self, object: &DynamicObject, former: &OperatorName) {
        let note = claim::takeover_message(former, &self.claims.identity.name);
        tracing::warn!(cluster = %ClusterName::of(object), note, "the LiveCluster is taken over");
        let event = transitions::event(EventType::Normal, "TakenOver", &note);
        let about = object.object_ref(&ApiResource::erase::<LiveCluster>(&()));
        self.events.record(&event, &about).await;
    }

    /// Reports a cluster that is being deleted. The garbage collector deletes its objects, or leaves them where they are orphaned:
    /// all edges take new clients then. With foreground deletion the cluster exists until its last Pod has drained.
    pub(super) async fn report_deletion(
        &self,
        object: DynamicObject,
    ) -> Result<Action, ApplyError> {
        self.release(&ClusterName::of(&object)).await;
        if let Ok(cluster) = parse(object) {
            let served = ServedGatewayApi::default();
            let (_, observed) = read::children(&self.client, &cluster, served).await?;
            let input = StatusInput {
                is_deleting: true,
                observed,
                ..StatusInput::default()
            };
            match self.update_status(&cluster, &input).await {
                Err(error) if error.status().is_some_and(is_gone) => {}
                updated => drop(updated?),
            }
        }
        Ok(Action::await_change())
    }

    /// Reports a cluster that cannot be read. Its objects stay as they are.
    pub(super) async fn report_unreadable(
        &self,
        cluster: &UnreadableCluster,
    ) -> Result<(), CallError> {
        let metadata = &cluster.object.metadata;
        tracing::warn!(
            namespace = metadata.namespace,
            name = metadata.name,
            field = cluster.field,
            "this version cannot read the LiveCluster"
        );
        let name = ClusterName::of(&cluster.object);
        self.metrics.set_ready(&name, false);
        self.metrics.set_degraded(&name, true);
        let old = present_conditions(cluster);
        let new = unreadable_conditions(cluster, &Time(now()));
        if old == new {
            return Ok(());
        }
        let status = unreadable_status(cluster, &new);
        let about = cluster
            .object
            .object_ref(&ApiResource::erase::<LiveCluster>(&()));
        self.write_status(metadata, &about, status).await?;
        self.record_transitions(&about, &old, &new).await;
        Ok(())
    }

    async fn record_transitions(
        &self,
        about: &ObjectReference,
        old: &[Condition],
        new: &[Condition],
    ) {
        for event in transitions(old, new) {
            tracing::info!(
                namespace = about.namespace,
                name = about.name,
                reason = event.reason,
                note = event.note,
                "transition"
            );
            self.events.record(&event, about).await;
        }
    }

    /// Writes a status, unless there is a new cluster of that name: for the status of a custom resource the API server ignores a UID.
    async fn write_status(
        &self,
        cluster: &ObjectMeta,
        about: &ObjectReference,
        status: Value,
    ) -> Result<(), CallError> {
        let name = cluster.name.as_deref().unwrap_or_default();
        let namespace = cluster.namespace.as_deref().unwrap_or_default();
        // The answer is the whole resource, which may have values that this version cannot read.
        let resource = ApiResource::erase::<LiveCluster>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        let mut version = cluster.resource_version.clone();
        let mut write = patch_status(&api, name, version.as_deref(), &status).await;
        for _ in 1..STATUS_ATTEMPTS {
            if !is_conflict(&write.written) {
                break;
            }
            let present = api.get_metadata(name).await;
            let present = present.map_err(CallError::on("get", "LiveCluster", name))?;
            if present.metadata.uid != cluster.uid {
                break;
            }
            version = present.metadata.resource_version;
            write = patch_status(&api, name, version.as_deref(), &status).await;
        }
        let StatusWrite { written, outdated } = write;
        if let Some(refusal) = &outdated {
            self.report_outdated_definition(about, refusal).await;
        }
        let written = written.map_err(CallError::on("apply", "LiveCluster/status", name))?;
        let name = ClusterName::new(namespace, name);
        self.own_writes.insert(&name, cluster, &written.metadata);
        match outdated {
            Some(_) => self
                .partial_statuses
                .insert(&name, status, written.data["status"].clone()),
            None => self.partial_statuses.forget(&name),
        }
        Ok(())
    }

    /// Reports that the CustomResourceDefinition is older than this operator: fields of the status are left out.
    async fn report_outdated_definition(&self, about: &ObjectReference, refusal: &str) {
        let note = format!(
            "the CustomResourceDefinition is older than this operator, whose chart has the newer one: {refusal}"
        );
        tracing::warn!(
            namespace = about.namespace,
            name = about.name,
            note,
            "parts of the status cannot be written"
        );
        let event = transitions::event(EventType::Warning, "OutdatedDefinition", &note);
        self.events.record(&event, about).await;
    }

    fn update_metrics(&self, cluster: &LiveCluster, status: &LiveClusterStatus) {
        let name = ClusterName::of(cluster);
        let find = |kind: &str| status.conditions.iter().find(|found| found.type_ == kind);
        let is_true = |kind| find(kind).is_some_and(|condition| condition.status == "True");
        self.metrics.set_ready(&name, is_true(conditions::READY));
        let is_deleting = cluster.metadata.deletion_timestamp.is_some();
        let is_stopped = is_deleting || cluster.spec.replicas(Role::Origin) == 0;
        self.metrics.set_stopped(&name, is_stopped);
        self.metrics
            .set_degraded(&name, is_true(conditions::DEGRADED));
        let autoscaling = find(conditions::AUTOSCALING_ACTIVE);
        let is_at_maximum = autoscaling.is_some_and(|found| found.reason == AT_MAXIMUM);
        self.metrics.set_edges_at_maximum(&name, is_at_maximum);
        if let Some(streams) = &status.streams {
            self.metrics
                .set_streams(&name, streams.active, streams.viewers);
        }
    }
}

/// What became of a status.
struct StatusWrite {
    written: kube::Result<DynamicObject>,
    /// The API server's answer where the CustomResourceDefinition lacks a field: the others are written.
    outdated: Option<String>,
}

/// Applies a status to this version of a cluster.
async fn patch_status(
    api: &Api<DynamicObject>,
    name: &str,
    version: Option<&str>,
    status: &Value,
) -> StatusWrite {
    let document = Patch::Apply(json!({
        "apiVersion": LiveCluster::api_version(&()),
        "kind": LiveCluster::kind(&()),
        "metadata": {"name": name, "resourceVersion": version},
        "status": status
    }));
    let params = PatchParams::apply(FIELD_MANAGER)
        .force()
        .validation_strict();
    let written = api.patch_status(name, &params, &document).await;
    let outdated = match &written {
        Err(kube::Error::Api(refusal)) if refusal.message.contains(NOT_DECLARED) => {
            refusal.message.clone()
        }
        _ => {
            return StatusWrite {
                written,
                outdated: None,
            };
        }
    };
    let metadata = json!({"resourceVersion": version});
    let patch = Patch::Merge(json!({"metadata": metadata, "status": status}));
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    StatusWrite {
        written: api.patch_status(name, &params, &patch).await,
        outdated: Some(outdated),
    }
}

/// Returns whether the cluster has changed since it was read.
fn is_conflict(written: &kube::Result<DynamicObject>) -> bool {
    matches!(written, Err(kube::Error::Api(refusal)) if refusal.is_conflict())
}

/// Returns whether a cluster that was being deleted is gone, or has a successor of the same name.
fn is_gone(refusal: &Status) -> bool {
    refusal.is_not_found() || refusal.is_conflict()
}
