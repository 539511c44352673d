//! One reconciliation of one cluster: observe, apply, update the status.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::controller::Action;
use kube::runtime::events::Reporter;
use kube::{Api, Client, Resource, ResourceExt};
use livecluster_api::names::{CONTAINER, ROLES};
use livecluster_api::{ClusterName, LiveCluster, LiveClusterStatus};
use media_config::Role;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::apply::{Applied, Applier, ApplyError};
use super::apply_cache::ApplyCache;
use super::autoscaling::Autoscalers;
use super::ownership::FIELD_MANAGER;
use super::prune::prune;
use super::requeue::{REJECTED_INTERVAL, RequeueBackoff};
use super::rollout::hold;
use super::scaling::Scaling;
use crate::desired::defaults::Defaults;
use crate::desired::{Desired, desired};
use crate::k8s::call_error::CallError;
use crate::k8s::event_recorder::EventRecorder;
use crate::monitoring::metrics::OperatorMetrics;
use crate::observe::cluster::{UnreadableCluster, parse};
use crate::observe::live_object::LiveObject;
use crate::observe::observed::Observed;
use crate::observe::read;
use crate::observe::stream_scraper::{self, StreamScraper};
use crate::status::input::{Reason, ReconcileError, RolloutHold, StatusInput};
use crate::status::status;
use crate::status::transitions::transitions;
use crate::status::unreadable::{present_conditions, unreadable_conditions, unreadable_status};

/// Reconciles clusters, and holds what outlives a reconciliation.
pub struct Reconciler {
    /// The leader's client.
    pub client: Client,
    /// The samples of the clusters' Pods.
    pub scraper: StreamScraper,
    /// The autoscalers of the clusters' edges.
    pub autoscalers: Autoscalers,
    /// Records events.
    pub events: EventRecorder,
    /// The operator's metrics.
    pub metrics: OperatorMetrics,
    defaults: Defaults,
    check_secrets: bool,
    cache: ApplyCache,
    backoff: RequeueBackoff,
}

impl Reconciler {
    /// Returns a reconciler. It verifies references to Secrets if `check_secrets` is true.
    pub fn new(
        client: Client,
        reporter: Reporter,
        metrics: OperatorMetrics,
        defaults: Defaults,
        check_secrets: bool,
    ) -> Self {
        Self {
            scraper: StreamScraper::default(),
            autoscalers: Autoscalers::default(),
            events: EventRecorder::new(client.clone(), reporter),
            client,
            metrics,
            defaults,
            check_secrets,
            cache: ApplyCache::default(),
            backoff: RequeueBackoff::default(),
        }
    }

    /// Makes the objects of a cluster match its spec, as far as possible now, and updates its status.
    ///
    /// # Guarantees
    /// An unchanged cluster causes no write. Of a paused cluster only the status is written.
    ///
    /// # Errors
    /// See [`ApplyError`]. The reconciliation is to be retried.
    pub async fn reconcile(&self, name: &ClusterName) -> Result<Action, ApplyError> {
        let Some(object) = read::cluster(&self.client, name).await? else {
            self.forget(name);
            return Ok(Action::await_change());
        };
        if object.metadata.deletion_timestamp.is_some() {
            return self.report_deletion(object).await;
        }
        let parsed = parse(object);
        self.metrics.set_unreadable(name, parsed.is_err());
        let cluster = match parsed {
            Ok(cluster) => cluster,
            Err(unreadable) => {
                self.report_unreadable(&unreadable).await?;
                return Ok(Action::requeue(REJECTED_INTERVAL));
            }
        };
        let ((live, observed), references) = futures::try_join!(
            read::children(&self.client, &cluster),
            read::references(&self.client, &cluster, self.check_secrets)
        )?;
        self.scraper
            .set_targets(&cluster, stream_scraper::targets(&observed));
        let autoscaling = self.autoscalers.update(&cluster, &observed);
        let mut reconciliation = Reconciliation {
            reconciler: self,
            cluster: &cluster,
            live,
            input: StatusInput {
                observed,
                autoscaling,
                references,
                streams: self.scraper.reported(&cluster),
                ..StatusInput::default()
            },
        };
        reconciliation.apply().await?;
        let input = reconciliation.input;
        let has_changed = self.update_status(&cluster, &input).await?;
        let interval = self.backoff.interval(&cluster, &input, has_changed);
        Ok(Action::requeue(interval))
    }

    /// Drops the state of a deleted cluster.
    pub fn forget(&self, name: &ClusterName) {
        self.scraper.forget(name);
        self.autoscalers.forget(name);
        self.events.forget(name);
        self.metrics.remove(name);
        self.cache.forget(name);
        self.backoff.forget(name);
    }

    /// Writes the status if it has changed, and records events for its transitions. Returns whether anything but the numbers
    /// of streams and viewers has changed.
    async fn update_status(
        &self,
        cluster: &LiveCluster,
        input: &StatusInput,
    ) -> Result<bool, CallError> {
        let new = status(cluster, input, &Time(now()));
        self.update_metrics(cluster, &new);
        let wanted = input.wanted(cluster, Role::Edge);
        self.metrics
            .set_wanted_edges(&ClusterName::of(cluster), wanted);
        if cluster.status.as_ref() == Some(&new) {
            return Ok(false);
        }
        self.write_status(&cluster.metadata, json!(new)).await?;
        let old = cluster.status.as_ref();
        let old = old.map_or(&[][..], |status| &status.conditions);
        let about = cluster.object_ref(&());
        self.record_transitions(&about, old, &new.conditions).await;
        let old = cluster.status.clone().unwrap_or_default();
        let streams = new.streams.clone();
        Ok(LiveClusterStatus { streams, ..old } != new)
    }

    /// Reports a cluster that is being deleted. The garbage collector deletes its objects. With foreground deletion the
    /// cluster exists until its last Pod has drained.
    async fn report_deletion(&self, object: DynamicObject) -> Result<Action, ApplyError> {
        if let Ok(cluster) = parse(object) {
            let (_, observed) = read::children(&self.client, &cluster).await?;
            let input = StatusInput {
                is_deleting: true,
                observed,
                ..StatusInput::default()
            };
            match self.update_status(&cluster, &input).await {
                Err(error) if error.status().is_some_and(|status| status.is_not_found()) => {}
                updated => drop(updated?),
            }
        }
        Ok(Action::await_change())
    }

    /// Reports a cluster that cannot be read. Its objects stay as they are.
    async fn report_unreadable(&self, cluster: &UnreadableCluster) -> Result<(), CallError> {
        let metadata = &cluster.object.metadata;
        tracing::warn!(
            namespace = metadata.namespace,
            name = metadata.name,
            field = cluster.field,
            "this version cannot read the LiveCluster"
        );
        self.metrics
            .set_ready(&ClusterName::of(&cluster.object), false);
        let old = present_conditions(cluster);
        let new = unreadable_conditions(cluster, &Time(now()));
        if old == new {
            return Ok(());
        }
        let status = unreadable_status(cluster, &new);
        self.write_status(metadata, status).await?;
        let about = cluster
            .object
            .object_ref(&ApiResource::erase::<LiveCluster>(&()));
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

    async fn write_status(&self, cluster: &ObjectMeta, status: Value) -> Result<(), CallError> {
        let name = cluster.name.as_deref().unwrap_or_default();
        let namespace = cluster.namespace.as_deref().unwrap_or_default();
        // The answer is the whole resource, which may have values that this version cannot read.
        let resource = ApiResource::erase::<LiveCluster>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        let document = Patch::Apply(json!({
            "apiVersion": LiveCluster::api_version(&()),
            "kind": LiveCluster::kind(&()),
            // The UID keeps the status from a new cluster of the same name.
            "metadata": {"name": name, "uid": cluster.uid},
            "status": status
        }));
        let params = PatchParams::apply(FIELD_MANAGER)
            .force()
            .validation_strict();
        api.patch_status(name, &params, &document)
            .await
            .map_err(CallError::on("apply", "LiveCluster/status", name))?;
        Ok(())
    }

    fn update_metrics(&self, cluster: &LiveCluster, status: &LiveClusterStatus) {
        let name = ClusterName::of(cluster);
        let is_ready = status.conditions.iter().any(|condition| {
            condition.type_ == livecluster_api::conditions::READY && condition.status == "True"
        });
        self.metrics.set_ready(&name, is_ready);
        if let Some(streams) = &status.streams {
            self.metrics
                .set_streams(&name, streams.active, streams.viewers);
        }
    }
}

/// A reconciliation in progress.
struct Reconciliation<'a> {
    reconciler: &'a Reconciler,
    cluster: &'a LiveCluster,
    live: Vec<LiveObject>,
    input: StatusInput,
}

impl Reconciliation<'_> {
    /// Applies, scales and prunes the objects of the cluster.
    async fn apply(&mut self) -> Result<(), ApplyError> {
        if self.cluster.spec.paused {
            self.input.image = running_image(&self.input.observed);
            return Ok(());
        }
        let defaults = &self.reconciler.defaults;
        let desired = match desired(self.cluster, defaults, &self.input.observed.deployments) {
            Ok(desired) => desired,
            Err(error) => {
                self.input.errors.push(ReconcileError {
                    reason: Reason::InvalidSpec,
                    message: error.to_string(),
                });
                return Ok(());
            }
        };
        self.input.image = Some(desired.image.clone());
        self.scaling().label_edges().await?;
        self.apply_children(&desired).await?;
        if self.has_left_over() {
            return Ok(());
        }
        self.scale().await?;
        prune(&self.reconciler.client, self.cluster, &desired, &self.live).await?;
        self.input.holds = ROLES
            .into_iter()
            .filter_map(|role| Some((role, self.hold(&desired, role)?)))
            .collect();
        Ok(())
    }

    fn applier(&self) -> Applier<'_> {
        Applier {
            client: &self.reconciler.client,
            cache: &self.reconciler.cache,
            cluster: self.cluster,
        }
    }

    fn hold(&self, desired: &Desired, role: Role) -> Option<RolloutHold> {
        hold(
            self.cluster,
            &self.input.observed,
            desired,
            role,
            &Time(now()),
        )
    }

    fn has_left_over(&self) -> bool {
        let errors = &self.input.errors;
        errors.iter().any(|error| error.reason == Reason::LeftOver)
    }

    /// Applies every child that is not on hold. A rejected child does not keep the others from being applied, unless the
    /// garbage collector is still busy with a deleted cluster of the same name.
    async fn apply_children(&mut self, desired: &Desired) -> Result<(), ApplyError> {
        for child in &desired.children {
            let live = self
                .live
                .iter()
                .find(|live| live.kind == child.kind && live.object.name_any() == child.name());
            let is_held = child
                .role
                .is_some_and(|role| live.is_some() && self.hold(desired, role).is_some());
            if is_held {
                continue;
            }
            if self.has_left_over() {
                break;
            }
            match self.applier().apply(child, live).await? {
                Applied::Unchanged => {}
                Applied::Changed(object) => self.input.observed.update(child.kind, &object),
                Applied::Rejected(error) => self.input.errors.push(error),
            }
        }
        Ok(())
    }

    fn scaling(&mut self) -> Scaling<'_> {
        Scaling {
            applier: Applier {
                client: &self.reconciler.client,
                cache: &self.reconciler.cache,
                cluster: self.cluster,
            },
            observed: &mut self.input.observed,
        }
    }

    /// Changes the number of Pods of each role, if it has to change.
    async fn scale(&mut self) -> Result<(), ApplyError> {
        let wanted = self.input.wanted(self.cluster, Role::Edge).into();
        let clients = self
            .reconciler
            .scraper
            .clients(self.cluster, Instant::now());
        let mut scaling = self.scaling();
        scaling.scale_edges(wanted, clients.as_ref()).await?;
        Ok(scaling.scale_origins().await?)
    }
}

/// Returns the image in the first Deployment's template: a paused cluster keeps it.
fn running_image(observed: &Observed) -> Option<String> {
    let deployment = observed.deployments.first()?;
    let template = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let container = template
        .containers
        .iter()
        .find(|container| container.name == CONTAINER)?;
    container.image.clone()
}

/// Returns the time in whole seconds, as conditions have it.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests;
