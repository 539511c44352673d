//! The changes of one reconciliation: applies, scales and prunes the objects of a cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Client, ResourceExt};
use livecluster_api::names::{self, CONTAINER, ROLES};
use livecluster_api::{ClusterName, LiveCluster};
use media_config::Role;
use tokio::time::Instant;

use super::apply::{Applied, Applier, ApplyError};
use super::apply_cache::ApplyCache;
use super::prune::prune;
use super::rollout::hold;
use super::scaling::{self, Scaling};
use super::upgrade_queue::UpgradeQueue;
use crate::desired::child::ChildKind;
use crate::desired::defaults::Defaults;
use crate::desired::{Desired, desired, identity};
use crate::k8s::call_error::CallError;
use crate::k8s::clock::now;
use crate::observe::api_keys::{self, ApiKeys};
use crate::observe::gateway_api::GatewayApi;
use crate::observe::live_object::LiveObject;
use crate::observe::observed::Observed;
use crate::observe::stream_scraper::StreamScraper;
use crate::status::input::{Reason, ReconcileError, RolloutHold, StatusInput};

/// A reconciliation in progress.
pub(super) struct Reconciliation<'a> {
    pub(super) client: &'a Client,
    pub(super) cache: &'a ApplyCache,
    pub(super) defaults: &'a Defaults,
    pub(super) api_keys: &'a ApiKeys,
    pub(super) gateway_api: &'a GatewayApi,
    pub(super) upgrades: &'a UpgradeQueue,
    pub(super) scraper: &'a StreamScraper,
    pub(super) cluster: &'a LiveCluster,
    pub(super) live: Vec<LiveObject>,
    pub(super) input: StatusInput,
}

impl Reconciliation<'_> {
    /// Applies, scales and prunes the objects of the cluster. What cannot be applied keeps no edge from retiring, or from taking new
    /// clients again.
    pub(super) async fn apply(&mut self) -> Result<(), ApplyError> {
        if self.cluster.spec.paused {
            self.input.image = running_image(&self.input.observed);
            if self.input.observed.full_edges() > 0 {
                // Nothing decides about them until it is resumed.
                scaling::open_edges(self.client, &ClusterName::of(self.cluster)).await?;
            }
            return Ok(());
        }
        self.scaling().label_edges().await?;
        let applied = self.apply_desired().await;
        if self.has_left_over() {
            return applied.map(drop);
        }
        self.scale().await?;
        let Some(desired) = applied? else {
            return Ok(());
        };
        let mounted = self.input.observed.mounted_config_maps();
        prune(self.client, self.cluster, &desired, &self.live, &mounted).await?;
        self.input.holds = ROLES
            .into_iter()
            .filter_map(|role| Some((role, self.hold(&desired, role)?)))
            .collect();
        self.note_rollout();
        Ok(())
    }

    /// Applies the desired objects and returns them; `None` when the spec or a missing permission leaves none.
    async fn apply_desired(&mut self) -> Result<Option<Desired>, ApplyError> {
        let Some(keys) = self.identity_keys().await? else {
            return Ok(None);
        };
        let deployments = &self.input.observed.deployments;
        let served = &self.input.observed.gateways.served;
        let desired = match desired(self.cluster, self.defaults, deployments, &keys, served) {
            Ok(desired) => desired,
            Err(error) => {
                self.input.errors.push(ReconcileError {
                    reason: Reason::InvalidSpec,
                    message: error.to_string(),
                });
                return Ok(None);
            }
        };
        self.input.image = Some(desired.image.clone());
        self.apply_children(&desired).await?;
        self.input.edited = self.cache.edited_repeatedly(self.cluster, Instant::now());
        Ok(Some(desired))
    }

    fn note_rollout(&self) {
        let name = ClusterName::of(self.cluster);
        let observed = &self.input.observed;
        let mut roles = ROLES.iter().map(|role| observed.role(self.cluster, *role));
        if self.is_settled() {
            self.upgrades.settle(&name);
        } else if roles.any(|role| role.is_rolling()) {
            self.upgrades.found_rolling(&name);
        }
    }

    /// Returns the key set for the Pods. Until the API server's keys have been read, it is the one that they have; `None` when there
    /// is none and the API server refuses.
    async fn identity_keys(&mut self) -> Result<Option<String>, ApplyError> {
        let name = names::identity(self.cluster);
        let is_it = |live: &&LiveObject| {
            live.kind == ChildKind::ConfigMap && live.object.name_any() == name
        };
        let published = self.live.iter().find(is_it);
        let published =
            published.and_then(|live| live.object.data["data"][identity::KEYS].as_str());
        let read = match (self.api_keys.newest(), published) {
            (Some(newest), _) => Ok(newest),
            (None, Some(published)) => return Ok(Some(published.to_owned())),
            (None, None) => self.api_keys.read_once(self.client).await,
        };
        match read {
            Ok(keys) => Ok(Some(api_keys::merge(published, &keys, now().as_second()))),
            Err(error) if error.status().is_some() => {
                self.input.errors.push(ReconcileError {
                    reason: Reason::Forbidden,
                    message: format!(
                        "{error}; the operator needs the ClusterRole system:service-account-issuer-discovery"
                    ),
                });
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn is_settled(&self) -> bool {
        let observed = &self.input.observed;
        let mut roles = ROLES.iter().map(|role| observed.role(self.cluster, *role));
        self.input.holds.is_empty() && roles.all(|role| role.is_settled())
    }

    fn applier(&self) -> Applier<'_> {
        Applier {
            client: self.client,
            cache: self.cache,
            cluster: self.cluster,
        }
    }

    fn hold(&self, desired: &Desired, role: Role) -> Option<RolloutHold> {
        hold(
            self.cluster,
            &self.input.observed,
            desired,
            role,
            self.upgrades,
            &Time(now()),
        )
    }

    fn has_left_over(&self) -> bool {
        let errors = &self.input.errors;
        errors.iter().any(|error| error.reason == Reason::LeftOver)
    }

    /// Applies every child that is not on hold. One that is refused or fails does not keep the others from being applied, unless the
    /// garbage collector is still busy with a deleted cluster of the same name. Only Pods wait for what they mount: a rollout would
    /// replace some that run by others that cannot start.
    async fn apply_children(&mut self, desired: &Desired) -> Result<(), ApplyError> {
        let mut failed = None;
        let mut lacks_mounts = false;
        for child in &desired.children {
            let live = self
                .live
                .iter()
                .find(|live| live.kind == child.kind && live.object.name_any() == child.name());
            let is_held = child
                .held_with
                .is_some_and(|role| live.is_some() && self.hold(desired, role).is_some());
            if is_held || (lacks_mounts && child.kind == ChildKind::Deployment) {
                continue;
            }
            if self.has_left_over() {
                break;
            }
            let applied = self.applier().apply(child, live).await;
            let is_refused = matches!(&applied, Err(_) | Ok(Applied::Rejected(_)));
            if is_refused && !self.is_still_served(child.kind).await? {
                continue;
            }
            lacks_mounts |= is_refused && child.kind.is_mounted();
            match applied {
                Ok(Applied::Unchanged) => {}
                Ok(Applied::Changed(object)) => self.input.observed.update(child.kind, &object),
                Ok(Applied::Rejected(error)) => self.input.errors.push(error),
                Err(error) if error.is_about_one_object() => drop(failed.get_or_insert(error)),
                Err(error) => return Err(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Returns whether the API server serves a kind: it may have lost one of the Gateway API since it was asked. The status then has
    /// the kinds that it serves now.
    async fn is_still_served(&mut self, kind: ChildKind) -> Result<bool, CallError> {
        let ChildKind::Route(route) = kind else {
            return Ok(true);
        };
        self.gateway_api.expire().await;
        let served = self.gateway_api.served(self.client, self.cluster).await?;
        let is_served = served.routes().contains(&route);
        self.input.observed.gateways.served = served;
        Ok(is_served)
    }

    fn scaling(&mut self) -> Scaling<'_> {
        Scaling {
            applier: Applier {
                client: self.client,
                cache: self.cache,
                cluster: self.cluster,
            },
            observed: &mut self.input.observed,
        }
    }

    /// Changes the number of Pods of each role, if it has to change.
    async fn scale(&mut self) -> Result<(), ApplyError> {
        let wanted = self.input.wanted(self.cluster, Role::Edge).into();
        let now = Instant::now();
        let clients = self.scraper.clients(self.cluster, now);
        let joins = self.scraper.join_fleet(self.cluster, now);
        let mut scaling = self.scaling();
        scaling.scale_edges(wanted, clients.as_ref(), joins).await?;
        Ok(scaling.scale_origins(clients.as_ref()).await?)
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
