//! One pass over one cluster: read, make it so, say so.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use livecluster_api::names::{CONTAINER, ROLES};
use livecluster_api::{ClusterName, LiveCluster, LiveClusterStatus};
use media_config::Role;
use serde_json::json;

use crate::desired::{Defaults, Desired, desired};
use crate::k8s::client::{CallError, Calls, MANAGER};
use crate::k8s::event_recorder::{Publisher, transitions};
use crate::monitoring::metrics::Metrics;
use crate::observe::observed::Observed;
use crate::observe::read::Reader;
use crate::observe::stream_scraper::{self, Streams};
use crate::reconcile::apply::{Applied, Applier, ApplyError, Live};
use crate::reconcile::apply_cache::Memory;
use crate::reconcile::rollout::{Hold, hold};
use crate::status::reconcile_error::{Cause, Problem};
use crate::status::{Facts, status};

/// What every pass needs.
pub struct Operator {
    /// The way to the API.
    pub client: Client,
    /// Limits and counts calls.
    pub calls: Calls,
    /// What shapes the objects beside the clusters.
    pub defaults: Defaults,
    /// Whether Secrets that a spec names are looked for.
    pub check_secrets: bool,
    /// What was applied before.
    pub memory: Memory,
    /// What the nodes say.
    pub streams: Streams,
    /// Publishes events.
    pub publisher: Publisher,
    /// The numbers.
    pub metrics: Metrics,
}

/// When to look at a cluster again, if nothing happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is gone: when another one comes.
    Never,
    /// After this time.
    After(Duration),
}

/// Nothing is expected to happen: look whether an event was lost.
const IDLE: Duration = Duration::from_secs(300);
/// Nodes come or go.
const BUSY: Duration = Duration::from_secs(10);
/// Somebody else's object is in the way, or something is missing: no watch tells when that ends.
const WAITING: Duration = Duration::from_secs(15);
/// The API refused something: only a change of the spec or of the API helps.
const REFUSED: Duration = Duration::from_secs(60);

impl Operator {
    /// Makes a cluster what its spec says, as far as that goes now, and its status what it is.
    ///
    /// # Guarantees
    /// Nothing is written when nothing changed. A paused cluster gets a status and nothing else.
    ///
    /// # Errors
    /// When the pass could not be finished and is worth another try.
    pub async fn pass(&self, name: &ClusterName) -> Result<Next, ApplyError> {
        let reader = self.reader();
        let Some(cluster) = reader.cluster(&name.namespace, &name.name).await? else {
            self.forget(name);
            return Ok(Next::Never);
        };
        if cluster.metadata.deletion_timestamp.is_some() {
            // Its objects go with it. With foreground deletion it is still here while they go.
            self.forget(&ClusterName::of(&cluster));
            return Ok(Next::Never);
        }
        let ((live, observed), references) = futures::try_join!(
            reader.children(&cluster),
            reader.references(&cluster, self.check_secrets)
        )?;
        self.streams
            .watch(&cluster, stream_scraper::targets(&observed));
        let mut pass = Pass {
            operator: self,
            cluster: &cluster,
            live,
            facts: Facts {
                observed,
                references,
                streams: self.streams.reported(&cluster),
                ..Facts::default()
            },
        };
        pass.make_so().await?;
        let facts = pass.facts;
        self.say_so(&cluster, &facts).await?;
        Ok(Next::After(next(&cluster, &facts)))
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            client: &self.client,
            calls: &self.calls,
        }
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, name: &ClusterName) {
        self.streams.forget(name);
        self.publisher.forget(name);
        self.metrics.forget([&name.namespace, &name.name]);
        self.memory.forget(name);
    }

    /// Writes the status when there is something new to say.
    async fn say_so(&self, cluster: &LiveCluster, facts: &Facts) -> Result<(), CallError> {
        let new = status(cluster, facts, &Time(now()));
        self.show(cluster, &new);
        if cluster.status.as_ref() == Some(&new) {
            return Ok(());
        }
        self.write(cluster, &new).await?;
        let old = cluster
            .status
            .as_ref()
            .map_or(&[][..], |old| &old.conditions);
        for event in transitions(old, &new.conditions) {
            tracing::info!(
                namespace = cluster.namespace(),
                name = cluster.name_any(),
                reason = event.reason,
                note = event.note,
                "transition"
            );
            self.publisher
                .publish(&event, &cluster.object_ref(&()))
                .await;
        }
        Ok(())
    }

    async fn write(
        &self,
        cluster: &LiveCluster,
        status: &LiveClusterStatus,
    ) -> Result<(), CallError> {
        let name = cluster.name_any();
        let api: Api<LiveCluster> = Api::namespaced(
            self.client.clone(),
            &cluster.namespace().unwrap_or_default(),
        );
        let document = Patch::Apply(json!({
            "apiVersion": LiveCluster::api_version(&()),
            "kind": LiveCluster::kind(&()),
            // Not the status of another cluster that has this name by now.
            "metadata": {"name": name, "uid": cluster.uid()},
            "status": status
        }));
        let params = PatchParams::apply(MANAGER).force().validation_strict();
        let call = api.patch_status(&name, &params, &document);
        self.calls
            .call("apply", "LiveCluster/status", &name, call)
            .await
            .map(drop)
    }

    fn show(&self, cluster: &LiveCluster, status: &LiveClusterStatus) {
        let ClusterName { namespace, name } = ClusterName::of(cluster);
        let is_ready = status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        self.metrics.cluster_ready([&namespace, &name], is_ready);
        if let Some(streams) = &status.streams {
            self.metrics
                .cluster_streams([&namespace, &name], streams.active, streams.viewers);
        }
    }
}

/// A pass in the middle.
struct Pass<'a> {
    operator: &'a Operator,
    cluster: &'a LiveCluster,
    live: Vec<Live>,
    facts: Facts,
}

impl Pass<'_> {
    async fn make_so(&mut self) -> Result<(), ApplyError> {
        if self.cluster.spec.paused {
            self.facts.image = running_image(&self.facts.observed);
            return Ok(());
        }
        let defaults = &self.operator.defaults;
        let wanted = match desired(self.cluster, defaults, &self.facts.observed.deployments) {
            Ok(wanted) => wanted,
            Err(error) => {
                self.facts.problems.push(Problem {
                    cause: Cause::InvalidSpec,
                    message: error.to_string(),
                });
                return Ok(());
            }
        };
        self.facts.image = Some(wanted.image.clone());
        self.apply(&wanted).await?;
        self.scale().await?;
        self.applier().prune(&wanted, &self.live).await?;
        self.facts.holds = ROLES
            .into_iter()
            .filter_map(|role| Some((role, self.hold(&wanted, role)?)))
            .collect();
        Ok(())
    }

    fn applier(&self) -> Applier<'_> {
        Applier {
            client: &self.operator.client,
            calls: &self.operator.calls,
            memory: &self.operator.memory,
            cluster: self.cluster,
        }
    }

    fn hold(&self, wanted: &Desired, role: Role) -> Option<Hold> {
        hold(self.cluster, &self.facts.observed, wanted, role)
    }

    /// Applies every document that may be applied now; a refused one does not keep the others from it.
    async fn apply(&mut self, wanted: &Desired) -> Result<(), ApplyError> {
        for child in &wanted.children {
            let live = self
                .live
                .iter()
                .find(|live| live.kind == child.kind && live.object.name_any() == child.name());
            let is_held = child
                .role
                .is_some_and(|role| live.is_some() && self.hold(wanted, role).is_some());
            if is_held {
                continue;
            }
            match self.applier().apply(child, live).await? {
                Applied::Unchanged => {}
                Applied::Written(object) => self.facts.observed.take(child.kind, &object),
                Applied::Refused(problem) => self.facts.problems.push(problem),
            }
        }
        Ok(())
    }

    /// Sets the number of nodes where it is another one.
    async fn scale(&mut self) -> Result<(), ApplyError> {
        for role in ROLES {
            let Some(deployment) = self.facts.observed.deployment(self.cluster, role) else {
                continue;
            };
            let name = deployment.name_any();
            let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            let wanted = i32::from(self.cluster.spec.replicas(role));
            if replicas == Some(wanted) {
                continue;
            }
            self.applier().scale(&name, wanted).await?;
            self.facts.observed.scaled(&name, wanted);
        }
        Ok(())
    }
}

/// The image that the nodes run, when the operator has no say.
fn running_image(observed: &Observed) -> Option<String> {
    let deployment = observed.deployments.first()?;
    let template = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let container = template
        .containers
        .iter()
        .find(|container| container.name == CONTAINER)?;
    container.image.clone()
}

fn next(cluster: &LiveCluster, facts: &Facts) -> Duration {
    let is_busy = ROLES.iter().any(|role| {
        let nodes = facts.observed.nodes(cluster, *role);
        !nodes.is_settled() || nodes.terminating > 0
    });
    let causes: Vec<_> = facts.problems.iter().map(|problem| problem.cause).collect();
    if causes.contains(&Cause::NameConflict) || !facts.references.missing.is_empty() {
        WAITING
    } else if !causes.is_empty() {
        REFUSED
    } else if !cluster.spec.paused && (is_busy || !facts.holds.is_empty()) {
        BUSY
    } else {
        IDLE + jitter(cluster)
    }
}

/// Up to a minute, another one for each cluster, so that many of them are not looked at in one moment.
fn jitter(cluster: &LiveCluster) -> Duration {
    let sum: u64 = cluster
        .uid()
        .unwrap_or_default()
        .bytes()
        .fold(0, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
    Duration::from_secs(sum % 60)
}

/// Conditions have whole seconds.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests;
