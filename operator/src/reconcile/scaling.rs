//! Changes the number of Pods. Edges retire before they are removed, so that no client is cut off; of the origins the emptiest are removed.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use livecluster_api::ClusterName;
use livecluster_api::names::{self, FULL, RETIRING_SINCE, SERVING};
use media_config::Role;
use serde_json::{Value, json};

use super::apply::{Applier, SCALE_FIELD_MANAGER};
use crate::k8s::call_error::CallError;
use crate::observe::observed::Observed;
use crate::observe::pods::{
    is_full, is_ready, is_retiring, is_running, is_terminating, retiring_since,
};
use crate::scale::joins::{JoinFleet, full_edges};
use crate::scale::retirement::{self, EdgeFleet, EdgePod, RetirementPlan};

/// Annotation of a Pod: a ReplicaSet with fewer replicas deletes the Pods of the lowest cost first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// The lowest cost.
const LOWEST_COST: &str = "-2147483648";

/// Scales the Deployments of one cluster.
pub(super) struct Scaling<'a> {
    pub(super) applier: Applier<'a>,
    pub(super) observed: &'a mut Observed,
}

impl Scaling<'_> {
    /// Sets the replicas of the origins. Of more than are wanted, those with the fewest clients are removed, whose encoders have to
    /// reconnect: `clients` are those of each Pod by UID, and no origin is removed before they are known.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(super) async fn scale_origins(
        &mut self,
        clients: Option<&HashMap<String, u64>>,
    ) -> Result<(), CallError> {
        let cluster = self.applier.cluster;
        let Some(deployment) = self.observed.deployment(cluster, Role::Origin) else {
            return Ok(());
        };
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        let wanted = i32::from(cluster.spec.replicas(Role::Origin));
        let name = deployment.name_any();
        if (1..replicas.unwrap_or(1)).contains(&wanted) {
            let Some(clients) = clients else {
                return Ok(());
            };
            self.prefer_empty_origins(clients).await?;
        }
        self.set_replicas(&name, replicas, wanted).await
    }

    /// Lets the ReplicaSet remove the origins with the fewest clients first.
    async fn prefer_empty_origins(
        &mut self,
        clients: &HashMap<String, u64>,
    ) -> Result<(), CallError> {
        let cost = |pod: &Pod| {
            let clients = pod.uid().and_then(|uid| clients.get(&uid).copied());
            // One that does not respond may have many.
            let cost = clients.map_or(i32::MAX, |it| i32::try_from(it).unwrap_or(i32::MAX));
            cost.to_string()
        };
        let pods = self.observed.pods(Role::Origin);
        let costs: Vec<(String, String)> = pods
            .filter(|pod| !is_terminating(pod))
            .map(|pod| (pod.name_any(), cost(pod)))
            .collect();
        for (name, cost) in costs {
            let annotations = json!({"annotations": {DELETION_COST: cost}});
            self.patch(&name, annotations).await?;
        }
        Ok(())
    }

    /// Takes the next step to the wanted number of edges, and lets only those take new clients that have room. `clients` are
    /// those of each Pod by UID, `joins` is who takes new ones; nothing retires and no edge is full before they are known.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(super) async fn scale_edges(
        &mut self,
        wanted: i32,
        clients: Option<&HashMap<String, u64>>,
        joins: Option<JoinFleet>,
    ) -> Result<(), CallError> {
        let cluster = self.applier.cluster;
        let Some(deployment) = self.observed.deployment(cluster, Role::Edge) else {
            return Ok(());
        };
        let name = deployment.name_any();
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        let fleet = self.fleet(wanted, replicas.unwrap_or(1), clients);
        let chooses = fleet.replicas > wanted && !fleet.pods.is_empty();
        if chooses && clients.is_none() {
            return Ok(());
        }
        let plan = retirement::plan(&fleet, self.observed.at);
        let (open, full) = joins
            .map(|joins| self.join_changes(&plan, joins))
            .unwrap_or_default();
        // Some leave the Service after others have returned: it is never without any.
        for name in &open {
            tracing::info!(name, "edge takes new clients again");
            self.patch(name, serving()).await?;
        }
        self.change_pods(&plan).await?;
        for name in &full {
            tracing::info!(name, "edge is full: emptier ones take the new clients");
            self.patch(name, json!({"labels": {SERVING: FULL}})).await?;
        }
        self.set_replicas(&name, replicas, plan.replicas).await
    }

    /// Lets edges take clients whose label is missing: an older version of the operator made them, or the label was removed
    /// by hand.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(super) async fn label_edges(&mut self) -> Result<(), CallError> {
        let pods = self.observed.pods(Role::Edge);
        let unlabeled: Vec<String> = pods
            .filter(|pod| !is_terminating(pod) && !pod.labels().contains_key(SERVING))
            .map(ResourceExt::name_any)
            .collect();
        for name in unlabeled {
            self.patch(&name, serving()).await?;
        }
        Ok(())
    }

    fn fleet(
        &self,
        wanted: i32,
        replicas: i32,
        clients: Option<&HashMap<String, u64>>,
    ) -> EdgeFleet {
        let cluster = self.applier.cluster;
        let role = self.observed.role(cluster, Role::Edge);
        let pods = self.observed.pods(Role::Edge);
        let edges = pods.filter(|pod| !is_terminating(pod)).map(|pod| EdgePod {
            name: pod.name_any(),
            is_ready: is_ready(pod),
            is_running: is_running(pod),
            retiring_since: retiring_since(pod),
            is_chosen: pod.annotations().get(DELETION_COST).map(String::as_str)
                == Some(LOWEST_COST),
            clients: pod
                .uid()
                .and_then(|uid| clients.and_then(|clients| clients.get(&uid).copied())),
        });
        EdgeFleet {
            wanted,
            replicas,
            pods: edges.collect(),
            retire_timeout: Duration::from_secs(cluster.spec.edges.retire_timeout_seconds.into()),
            is_rolling: role.is_rolling(),
            is_stuck: role.is_stuck,
        }
    }

    /// Returns the names of the edges that are to take new clients again, and of those that become full.
    fn join_changes(
        &self,
        plan: &RetirementPlan,
        mut fleet: JoinFleet,
    ) -> (Vec<String>, Vec<String>) {
        let retires = |pod: &Pod| is_retiring(pod) || plan.retire.contains(&pod.name_any());
        let pods = self.observed.pods(Role::Edge);
        let staying: Vec<&Pod> = pods
            .filter(|pod| !is_terminating(pod) && !retires(pod))
            .collect();
        let uids: Vec<String> = staying.iter().filter_map(|pod| pod.uid()).collect();
        fleet.edges.retain(|edge| uids.contains(&edge.uid));
        let full = full_edges(&fleet);
        let to_be_full = |pod: &Pod| pod.uid().is_some_and(|uid| full.contains(&uid));
        let changed = staying
            .into_iter()
            .filter(|pod| is_full(pod) != to_be_full(pod));
        let (open, full): (Vec<&Pod>, Vec<&Pod>) = changed.partition(|pod| is_full(pod));
        let names = |pods: Vec<&Pod>| pods.into_iter().map(ResourceExt::name_any).collect();
        (names(open), names(full))
    }

    async fn change_pods(&mut self, plan: &RetirementPlan) -> Result<(), CallError> {
        let now = self.observed.at;
        for name in &plan.retire {
            tracing::info!(name, "edge retires");
            self.patch(name, retiring(now)).await?;
        }
        for name in &plan.restore {
            tracing::info!(name, "edge no longer retires");
            self.patch(name, serving()).await?;
        }
        for name in &plan.remove {
            let cost = json!({"annotations": {DELETION_COST: LOWEST_COST}});
            self.patch(name, cost).await?;
        }
        Ok(())
    }

    async fn patch(&mut self, name: &str, metadata: Value) -> Result<(), CallError> {
        let cluster = ClusterName::of(self.applier.cluster);
        let patched = patch(self.applier.client, &cluster, name, metadata).await?;
        if let Some(pod) = patched {
            self.observed.update_pod(pod);
        }
        Ok(())
    }

    async fn set_replicas(
        &mut self,
        name: &str,
        replicas: Option<i32>,
        wanted: i32,
    ) -> Result<(), CallError> {
        if replicas != Some(wanted) {
            self.applier.scale(name, wanted).await?;
            self.observed.update_scale(name, wanted);
        }
        Ok(())
    }
}

/// Lets all full edges of a cluster take new clients.
///
/// # Errors
/// See [`CallError`].
pub(super) async fn open_edges(client: &Client, cluster: &ClusterName) -> Result<(), CallError> {
    let selector = format!(
        "{},{}={},{SERVING}={FULL}",
        names::MANAGED,
        names::INSTANCE,
        cluster.name
    );
    let api: Api<Pod> = Api::namespaced(client.clone(), &cluster.namespace);
    let full = api.list(&ListParams::default().labels(&selector)).await;
    for pod in full.map_err(CallError::on("list", "Pod", ""))? {
        patch(client, cluster, &pod.name_any(), serving()).await?;
    }
    Ok(())
}

/// Patches the metadata of a Pod and returns it, or `None` when it was deleted meanwhile.
async fn patch(
    client: &Client,
    cluster: &ClusterName,
    name: &str,
    metadata: Value,
) -> Result<Option<Pod>, CallError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &cluster.namespace);
    let params = PatchParams {
        field_manager: Some(SCALE_FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    let patched = api.patch(name, &params, &patch).await;
    match patched.map_err(CallError::on("patch", "Pod", name)) {
        Ok(pod) => Ok(Some(pod)),
        Err(error) if error.status().is_some_and(|status| status.is_not_found()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the metadata of an edge that retires, since the next whole second: people read until when.
fn retiring(now: Timestamp) -> Value {
    let since = Timestamp::from_second(now.as_second() + 1).unwrap_or(now);
    json!({"labels": {SERVING: "false"}, "annotations": {RETIRING_SINCE: since.to_string()}})
}

fn serving() -> Value {
    json!({
        "labels": {SERVING: "true"},
        "annotations": {RETIRING_SINCE: null, DELETION_COST: null}
    })
}
