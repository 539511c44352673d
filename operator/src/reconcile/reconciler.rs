//! One reconciliation of one cluster: observe, apply, update the status.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::controller::Action;
use kube::runtime::events::{EventType, Reporter};
use kube::{Api, Client, Resource};
use livecluster_api::{ClusterName, LiveCluster, LiveClusterStatus, OperatorName, conditions};
use media_config::Role;
use serde_json::{Value, json};

use super::apply::ApplyError;
use super::apply_cache::ApplyCache;
use super::autoscaling::Autoscalers;
use super::claim::{self, Claim, ClusterClaims, OperatorIdentity};
use super::failures::Failures;
use super::own_writes::OwnWrites;
use super::ownership::FIELD_MANAGER;
use super::reconciliation::Reconciliation;
use super::requeue::{FOREIGN_INTERVAL, REJECTED_INTERVAL, RequeueBackoff};
use super::scaling;
use super::upgrade_queue::{UpgradePace, UpgradeQueue};
use crate::desired::defaults::Defaults;
use crate::desired::gateway_kind::ServedGatewayApi;
use crate::k8s::call_error::CallError;
use crate::k8s::clock::now;
use crate::k8s::event_recorder::EventRecorder;
use crate::monitoring::metrics::OperatorMetrics;
use crate::observe::api_keys::ApiKeys;
use crate::observe::cluster::{UnreadableCluster, parse};
use crate::observe::gateway_api::GatewayApi;
use crate::observe::node_tokens::NodeTokens;
use crate::observe::read;
use crate::observe::scrape_target;
use crate::observe::stream_scraper::StreamScraper;
use crate::status::input::StatusInput;
use crate::status::status;
use crate::status::transitions::{self, transitions};
use crate::status::unreadable::{present_conditions, unreadable_conditions, unreadable_status};
use crate::status::{AT_MAXIMUM, draining_event};

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
    /// The API server's public keys.
    pub api_keys: ApiKeys,
    /// The operator's tokens for media nodes.
    pub node_tokens: NodeTokens,
    /// The kinds of the Gateway API that the Kubernetes cluster serves.
    pub gateway_api: GatewayApi,
    pub(super) failures: Failures,
    defaults: Defaults,
    check_secrets: bool,
    claims: ClusterClaims,
    own_writes: OwnWrites,
    cache: ApplyCache,
    upgrades: UpgradeQueue,
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
        identity: OperatorIdentity,
        pace: UpgradePace,
    ) -> Self {
        Self {
            scraper: StreamScraper::default(),
            autoscalers: Autoscalers::default(),
            events: EventRecorder::new(client.clone(), reporter),
            client,
            metrics,
            api_keys: ApiKeys::default(),
            node_tokens: NodeTokens::new(&defaults),
            gateway_api: GatewayApi::default(),
            failures: Failures::default(),
            defaults,
            check_secrets,
            claims: ClusterClaims::new(identity),
            own_writes: OwnWrites::default(),
            cache: ApplyCache::default(),
            upgrades: UpgradeQueue::new(pace),
            backoff: RequeueBackoff::default(),
        }
    }

    /// Returns a reconciler with the defaults of everything.
    #[cfg(test)]
    pub(crate) fn with_defaults(client: Client) -> Self {
        Self::with_options(client, Defaults::default())
    }

    /// Returns a reconciler with the defaults of everything but these options.
    #[cfg(test)]
    pub(crate) fn with_options(client: Client, options: Defaults) -> Self {
        Self::new(
            client,
            Reporter::from("test"),
            OperatorMetrics::new().unwrap(),
            options,
            true,
            OperatorIdentity::default(),
            UpgradePace {
                concurrency: 1,
                pause: std::time::Duration::ZERO,
            },
        )
    }

    /// Makes the objects of a cluster match its spec, as far as possible now, and updates its status.
    ///
    /// # Guarantees
    /// An unchanged cluster causes no write. Of a paused cluster only the status is written.
    ///
    /// # Errors
    /// See [`ApplyError`]. The reconciliation is to be retried.
    pub async fn reconcile(&self, name: &ClusterName) -> Result<Action, ApplyError> {
        let Some(mut object) = read::cluster(&self.client, name).await? else {
            self.forget(name);
            return Ok(Action::await_change());
        };
        let claimed = self
            .claims
            .claim(&self.client, &self.own_writes, &mut object);
        match claimed.await? {
            Claim::Ours => self.metrics.set_foreign(name, false),
            Claim::Foreign { owner, is_new } => {
                self.report_foreign(&object, &owner, is_new).await;
                return Ok(Action::requeue(FOREIGN_INTERVAL));
            }
            Claim::OtherClass => {
                self.forget(name);
                return Ok(Action::await_change());
            }
        }
        if object.metadata.deletion_timestamp.is_some() {
            return self.report_deletion(object).await;
        }
        let parsed = parse(object);
        self.metrics.set_unreadable(name, parsed.is_err());
        match parsed {
            Ok(cluster) => self.apply_and_report(&cluster).await,
            Err(unreadable) => {
                self.report_unreadable(&unreadable).await?;
                Ok(Action::requeue(REJECTED_INTERVAL))
            }
        }
    }

    /// Applies the objects of a cluster, and updates its status when that succeeds.
    async fn apply_and_report(&self, cluster: &LiveCluster) -> Result<Action, ApplyError> {
        let served = self.gateway_api.served(&self.client, cluster).await?;
        let ((live, observed), references) = futures::try_join!(
            read::children(&self.client, cluster, served),
            read::references(&self.client, cluster, self.check_secrets)
        )?;
        if cluster.spec.gateway.is_none() && observed.gateways.routes.is_empty() {
            self.gateway_api.set_without_routes(cluster);
        }
        self.scraper
            .set_targets(cluster, scrape_target::targets(&observed));
        let autoscaling = self.autoscalers.update(cluster, &observed);
        let mut reconciliation = Reconciliation {
            client: &self.client,
            cache: &self.cache,
            defaults: &self.defaults,
            api_keys: &self.api_keys,
            gateway_api: &self.gateway_api,
            upgrades: &self.upgrades,
            scraper: &self.scraper,
            cluster,
            live,
            input: StatusInput {
                observed,
                autoscaling,
                references,
                streams: self.scraper.reported(cluster),
                viewers: self.scraper.draining_viewers(cluster),
                ..StatusInput::default()
            },
        };
        let applied = reconciliation.apply().await;
        let mut input = reconciliation.input;
        if let Err(error) = applied {
            if self.failures.is_persistent(&ClusterName::of(cluster)) {
                input.failure = Some(error.to_string());
                let reported = self.update_status(cluster, &input).await;
                drop(reported.inspect_err(|error| tracing::warn!(%error, "failure not reported")));
            }
            return Err(error);
        }
        let has_changed = self.update_status(cluster, &input).await?;
        let interval = self.backoff.interval(cluster, &input, has_changed);
        Ok(Action::requeue(interval))
    }

    /// Returns whether a change of a cluster is a write of this operator, which needs no reconciliation.
    pub(super) fn is_own_write(&self, changed: &ObjectMeta) -> bool {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let name = ClusterName::new(part(&changed.namespace), part(&changed.name));
        self.own_writes.take(changed, &name)
    }

    /// Lets all edges take new clients, for the time in which no operator works.
    pub async fn open_edges(&self) {
        for cluster in self.scraper.clusters_with_full_edges() {
            let opened = scaling::open_edges(&self.client, &cluster).await;
            drop(opened.inspect_err(
                |error| tracing::warn!(%cluster, %error, "failed to open the full edges"),
            ));
        }
    }

    /// Drops the state of a deleted cluster.
    pub fn forget(&self, name: &ClusterName) {
        self.drop_state(name);
        self.claims.forget(name);
        self.own_writes.forget(name);
        self.failures.forget(name);
        self.events.forget(name);
    }

    fn drop_state(&self, name: &ClusterName) {
        self.scraper.forget(name);
        self.autoscalers.forget(name);
        self.node_tokens.forget(name);
        self.gateway_api.forget(name);
        self.metrics.remove(name);
        self.cache.forget(name);
        self.upgrades.forget(name);
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
        self.metrics
            .set_full_edges(&ClusterName::of(cluster), input.observed.full_edges());
        if cluster.status.as_ref() == Some(&new) {
            return Ok(false);
        }
        self.write_status(&cluster.metadata, json!(new)).await?;
        let old = cluster.status.clone().unwrap_or_default();
        let about = cluster.object_ref(&());
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
        Ok(numbers != new)
    }

    /// Reports a cluster that another operator reconciles, once, and leaves it alone.
    async fn report_foreign(&self, object: &DynamicObject, owner: &OperatorName, is_new: bool) {
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

    /// Reports a cluster that is being deleted. The garbage collector deletes its objects. With foreground deletion the
    /// cluster exists until its last Pod has drained.
    async fn report_deletion(&self, object: DynamicObject) -> Result<Action, ApplyError> {
        if let Ok(cluster) = parse(object) {
            let served = ServedGatewayApi::default();
            let (_, observed) = read::children(&self.client, &cluster, served).await?;
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
        let written = api
            .patch_status(name, &params, &document)
            .await
            .map_err(CallError::on("apply", "LiveCluster/status", name))?;
        let name = ClusterName::new(namespace, name);
        self.own_writes.insert(&name, cluster, &written.metadata);
        Ok(())
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

#[cfg(test)]
mod tests;
