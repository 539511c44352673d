//! Changes the number of Pods. Edges retire before they are removed, so that no client is cut off.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use livecluster_api::names::{RETIRING_SINCE, SERVING};
use media_config::Role;
use serde_json::{Value, json};

use super::apply::{Applier, SCALE_FIELD_MANAGER};
use crate::k8s::call_error::CallError;
use crate::observe::observed::Observed;
use crate::observe::pods::{is_ready, is_terminating, retiring_since};
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
    /// Sets the replicas of the origins.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(super) async fn scale_origins(&mut self) -> Result<(), CallError> {
        let cluster = self.applier.cluster;
        let Some(deployment) = self.observed.deployment(cluster, Role::Origin) else {
            return Ok(());
        };
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        let wanted = i32::from(cluster.spec.replicas(Role::Origin));
        let name = deployment.name_any();
        self.set_replicas(&name, replicas, wanted).await
    }

    /// Takes the next step to the wanted number of edges. `clients` are those of each Pod by UID; nothing retires before they
    /// are known.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(super) async fn scale_edges(
        &mut self,
        wanted: i32,
        clients: Option<&HashMap<String, u64>>,
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
        self.change_pods(&plan).await?;
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
            retiring_since: retiring_since(pod),
            clients: pod
                .uid()
                .and_then(|uid| clients.and_then(|clients| clients.get(&uid).copied())),
        });
        EdgeFleet {
            wanted,
            replicas,
            pods: edges.collect(),
            retire_timeout: Duration::from_secs(cluster.spec.edges.retire_timeout_seconds.into()),
            is_rolling: role.is_rolling() && !role.is_stuck,
        }
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
        let namespace = self.applier.cluster.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.applier.client.clone(), &namespace);
        let params = PatchParams {
            field_manager: Some(SCALE_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let patched = api.patch(name, &params, &patch).await;
        match patched.map_err(CallError::on("patch", "Pod", name)) {
            Ok(pod) => self.observed.update_pod(pod),
            // It was deleted meanwhile.
            Err(error) if error.status().is_some_and(|status| status.is_not_found()) => {}
            Err(error) => return Err(error),
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

fn retiring(since: Timestamp) -> Value {
    json!({"labels": {SERVING: "false"}, "annotations": {RETIRING_SINCE: since.to_string()}})
}

fn serving() -> Value {
    json!({
        "labels": {SERVING: "true"},
        "annotations": {RETIRING_SINCE: null, DELETION_COST: null}
    })
}
