//! One reconciliation of one cluster: observe, apply, update the status.

mod report;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Client;
use kube::runtime::controller::Action;
use kube::runtime::events::Reporter;
use livecluster_api::{ClusterName, LiveCluster};

use super::apply::ApplyError;
use super::apply_cache::ApplyCache;
use super::autoscaling::Autoscalers;
use super::claim::{Claim, ClusterClaims, OperatorIdentity};
use super::failures::Failures;
use super::own_writes::OwnWrites;
use super::partial_statuses::PartialStatuses;
use super::reconciliation::Reconciliation;
use super::requeue::{FOREIGN_INTERVAL, REJECTED_INTERVAL, RequeueBackoff};
use super::scaling;
use super::upgrade_queue::{UpgradePace, UpgradeQueue};
use crate::desired::defaults::Defaults;
use crate::k8s::call_error::CallError;
use crate::k8s::clock::now;
use crate::k8s::event_recorder::EventRecorder;
use crate::monitoring::metrics::OperatorMetrics;
use crate::observe::api_keys::ApiKeys;
use crate::observe::cluster::parse;
use crate::observe::gateway_api::GatewayApi;
use crate::observe::live_object::LiveObject;
use crate::observe::node_tokens::NodeTokens;
use crate::observe::observed::Observed;
use crate::observe::read;
use crate::observe::references::References;
use crate::observe::scrape_target;
use crate::observe::stream_scraper::StreamScraper;
use crate::status::input::StatusInput;
use crate::status::{status, unobserved_status};

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
    partial_statuses: PartialStatuses,
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
            partial_statuses: PartialStatuses::default(),
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
    /// An unchanged cluster causes no write. Of a paused cluster only the status is written, and full
    /// edges take new clients again.
    ///
    /// # Errors
    /// See [`ApplyError`]. The reconciliation is to be retried.
    pub async fn reconcile(&self, name: &ClusterName) -> Result<Action, ApplyError> {
        let Some(mut object) = read::cluster(&self.client, name).await? else {
            self.release(name).await;
            self.forget(name);
            return Ok(Action::await_change());
        };
        let claimed = self
            .claims
            .claim(&self.client, &self.own_writes, &mut object);
        match claimed.await? {
            Claim::Ours { former } => {
                self.metrics.set_foreign(name, false);
                if let Some(former) = former {
                    self.report_takeover(&object, &former).await;
                }
            }
            Claim::Foreign { owner, is_new } => {
                self.report_foreign(&object, &owner, is_new).await;
                return Ok(Action::requeue(FOREIGN_INTERVAL));
            }
            Claim::OtherClass => {
                self.release(name).await;
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
                self.release(name).await;
                self.report_unreadable(&unreadable).await?;
                Ok(Action::requeue(REJECTED_INTERVAL))
            }
        }
    }

    /// Applies the objects of a cluster, and updates its status when that succeeds.
    async fn apply_and_report(&self, cluster: &LiveCluster) -> Result<Action, ApplyError> {
        let (live, observed, references) = match self.observe(cluster).await {
            Ok(observed) => observed,
            Err(error) => {
                let failed = unobserved_status(cluster, &error.to_string(), &Time(now()));
                self.report_failure(cluster, &failed).await;
                let name = ClusterName::of(cluster);
                if self.failures.is_persistent(&name) {
                    self.release(&name).await;
                }
                return Err(error.into());
            }
        };
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
            input.failure = Some(error.to_string());
            let failed = status(cluster, &input, &Time(now()));
            self.report_failure(cluster, &failed).await;
            return Err(error);
        }
        let has_changed = self.update_status(cluster, &input).await?;
        let interval = self.backoff.interval(cluster, &input, has_changed);
        Ok(Action::requeue(interval))
    }

    /// Reads the objects of a cluster, and looks up those that its spec refers to.
    async fn observe(
        &self,
        cluster: &LiveCluster,
    ) -> Result<(Vec<LiveObject>, Observed, References), CallError> {
        let served = self.gateway_api.served(&self.client, cluster).await?;
        let ((live, observed), references) = futures::try_join!(
            read::children(&self.client, cluster, served),
            read::references(&self.client, cluster, self.check_secrets)
        )?;
        Ok((live, observed, references))
    }

    /// Returns whether a change of a cluster is a write of this operator, which needs no reconciliation.
    pub(super) fn is_own_write(&self, changed: &ObjectMeta) -> bool {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let name = ClusterName::new(part(&changed.namespace), part(&changed.name));
        self.own_writes.take(changed, &name)
    }

    /// Returns the clusters of other operators that have stopped: this one is to reconcile them.
    pub async fn abandoned_clusters(&self) -> Vec<ClusterName> {
        self.claims.abandoned(&self.client).await
    }

    /// Lets all edges of all clusters take new clients, for the time in which no operator works.
    pub async fn release_all(&self) {
        for cluster in self.scraper.clusters() {
            self.release(&cluster).await;
        }
    }

    /// Stops to decide which edges of a cluster take new clients: all of them do. A label of a Pod does not expire by itself.
    pub(super) async fn release(&self, cluster: &ClusterName) {
        if self.scraper.has_full_edges(cluster) {
            let opened = scaling::open_edges(&self.client, cluster).await;
            drop(opened.inspect_err(
                |error| tracing::warn!(%cluster, %error, "failed to open the full edges"),
            ));
        }
        self.scraper.forget(cluster);
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
        self.partial_statuses.forget(name);
        self.cache.forget(name);
        self.upgrades.forget(name);
        self.backoff.forget(name);
    }
}

#[cfg(test)]
mod tests;
