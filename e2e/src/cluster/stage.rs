//! One scenario's own namespace, and what a scenario does in it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use livecluster_api::LiveCluster;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Cluster, Finished, Reach, command, eventually, reach};

/// One scenario's own namespace.
#[derive(Clone)]
pub struct Stage {
    /// What all scenarios share.
    pub cluster: Arc<Cluster>,
    /// The scenario's name.
    pub scenario: &'static str,
    /// The namespace.
    pub namespace: String,
    pub(super) began: Instant,
}

impl Stage {
    /// Says what the scenario does now.
    pub fn say(&self, what: impl std::fmt::Display) {
        println!(
            "{:4}s  {}: {what}",
            self.began.elapsed().as_secs(),
            self.scenario
        );
    }

    /// Whether this is a kind cluster, whose machines may be looked into and broken. If not, says what is left out of the proof.
    pub fn may_break(&self, what: &str) -> bool {
        let kind = self.cluster.kind.is_some();
        if !kind {
            self.say(format!("left out, as it needs a kind cluster: {what}"));
        }
        kind
    }

    /// The same scenario in another namespace.
    pub fn elsewhere(&self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self.clone()
        }
    }

    /// The objects of a kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    /// Runs `kubectl -n NAMESPACE ARGUMENTS` with this standard input.
    ///
    /// # Errors
    /// When kubectl cannot be run.
    pub async fn try_kubectl(&self, arguments: &[&str], input: &str) -> anyhow::Result<Finished> {
        let mut line = vec!["kubectl", "-n", &self.namespace];
        line.extend(arguments);
        command(&line, input).await
    }

    /// Runs `kubectl -n NAMESPACE ARGUMENTS`; what it printed.
    ///
    /// # Errors
    /// When kubectl fails.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.try_kubectl(arguments, "").await?.success()
    }

    /// `kubectl apply -f -` with this manifest, strictly validated.
    ///
    /// # Errors
    /// When kubectl fails.
    pub async fn kubectl_apply(&self, manifest: &str) -> anyhow::Result<String> {
        let line = ["apply", "--validate=strict", "-f", "-"];
        self.try_kubectl(&line, manifest).await?.success()
    }

    /// Applies a LiveCluster of just this spec, as a user's manifest does.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply(&self, name: &str, spec: Value) -> anyhow::Result<LiveCluster> {
        let manifest = json!({
            "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
            "metadata": {"name": name}, "spec": spec,
        });
        let parameters = PatchParams::apply("e2e").validation_strict();
        self.api()
            .patch(name, &parameters, &Patch::Apply(manifest))
            .await
            .with_context(|| format!("cannot apply LiveCluster {name}"))
    }

    /// Applies a LiveCluster and waits until it is ready.
    ///
    /// # Errors
    /// When the API server refuses it, or it is not ready in time.
    pub async fn apply_ready(&self, name: &str, spec: Value) -> anyhow::Result<LiveCluster> {
        self.apply(name, spec).await?;
        self.ready(name).await
    }

    /// Changes a part of a LiveCluster's spec.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn edit(&self, name: &str, spec: Value) -> anyhow::Result<LiveCluster> {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.api()
            .patch(name, &PatchParams::default(), &patch)
            .await
            .with_context(|| format!("cannot change LiveCluster {name}"))
    }

    /// Waits until a LiveCluster is ready for its newest generation.
    ///
    /// # Errors
    /// When it is not within two minutes; the error holds its conditions.
    pub async fn ready(&self, name: &str) -> anyhow::Result<LiveCluster> {
        self.condition(name, "Ready", "True", Duration::from_secs(120))
            .await
    }

    /// Waits until a condition of a LiveCluster has this status, said about its newest generation.
    ///
    /// # Errors
    /// When it has not within `limit`.
    pub async fn condition(
        &self,
        name: &str,
        kind: &str,
        status: &str,
        limit: Duration,
    ) -> anyhow::Result<LiveCluster> {
        let expected = format!("LiveCluster {name} with {kind}={status}");
        eventually(&expected, limit, || async {
            let object: LiveCluster = self.api().get(name).await?;
            let conditions = conditions(&object);
            let found = conditions.iter().find(|condition| condition.type_ == kind);
            ensure!(
                found.is_some_and(|condition| condition.status == status
                    && condition.observed_generation == object.metadata.generation),
                "generation {:?}, {}",
                object.metadata.generation,
                describe(conditions)
            );
            Ok(object)
        })
        .await
    }

    /// Edits a LiveCluster and waits until its edges' Service shows it: the operator is at work, whoever leads. The API server
    /// may have come back just now, so the edit itself is tried again. Each call needs a `mark` of its own.
    ///
    /// # Errors
    /// When the API server takes no edit within half a minute, or the operator has not carried it out a minute and a half later.
    pub async fn operator_works(&self, name: &str, mark: &str) -> anyhow::Result<()> {
        let spec = json!({"edges": {"service": {"annotations": {"mark": mark}}}});
        eventually("an edit is taken", Duration::from_secs(30), || {
            self.edit(name, spec.clone())
        })
        .await?;
        let expected = format!("the operator gives Service {name}-edge the annotation mark={mark}");
        eventually(&expected, Duration::from_secs(90), || async {
            let service: Service = self.get(&format!("{name}-edge")).await?;
            let seen = service.annotations().get("mark");
            ensure!(
                seen.is_some_and(|seen| seen == mark),
                "annotation mark={seen:?}"
            );
            Ok(())
        })
        .await
    }

    /// The pods of a LiveCluster's role that are not leaving, by name.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn pods(&self, cluster: &str, role: &str) -> anyhow::Result<Vec<Pod>> {
        let selector = labels(cluster, role).into_iter().collect();
        let mut pods = self
            .api::<Pod>()
            .list(&ListParams::default().labels_from(&selector))
            .await?
            .items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }

    /// Makes a role of a LiveCluster reachable from this host, all of its pods behind one address.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn reach_role(&self, cluster: &str, role: &str) -> anyhow::Result<Reach> {
        reach::expose(
            self,
            &format!("reach-{cluster}-{role}"),
            labels(cluster, role),
        )
        .await
    }

    /// Makes one pod reachable from this host.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn reach_pod(&self, pod: &Pod) -> anyhow::Result<Reach> {
        let name = pod.name_any();
        let label = json!({"metadata": {"labels": {REACHED: name}}});
        self.api::<Pod>()
            .patch(&name, &PatchParams::default(), &Patch::Merge(label))
            .await?;
        let selector = BTreeMap::from([(REACHED.to_owned(), name.clone())]);
        reach::expose(self, &format!("pod-{name}"), selector).await
    }

    /// Makes each pod of a LiveCluster's role reachable from this host, in the order of [`Stage::pods`].
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn reach_pods(&self, cluster: &str, role: &str) -> anyhow::Result<Vec<Reach>> {
        let mut reached = Vec::new();
        for pod in self.pods(cluster, role).await? {
            reached.push(self.reach_pod(&pod).await?);
        }
        Ok(reached)
    }

    /// Where a Service with node ports is reached from this host.
    ///
    /// # Errors
    /// When there is no such Service, or it has no node ports.
    pub async fn reach_service(&self, name: &str) -> anyhow::Result<Reach> {
        reach::of_service(self, &self.api::<Service>().get(name).await?)
    }

    /// An object in this namespace, by its kind.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get<K>(&self, name: &str) -> anyhow::Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        self.api().get(name).await.map_err(|error| match error {
            // Shown as it is, it says everything twice.
            kube::Error::Api(status) => anyhow!("{}", status.message),
            other => anyhow::Error::new(other).context(format!("cannot get {name}")),
        })
    }
}

/// What a LiveCluster's status says.
pub fn conditions(object: &LiveCluster) -> &[Condition] {
    object
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default()
}

/// Whether Kubernetes calls a pod ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Conditions in one line.
pub fn describe(conditions: &[Condition]) -> String {
    let each = conditions.iter().map(|condition| {
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

fn labels(cluster: &str, role: &str) -> BTreeMap<String, String> {
    [
        ("name", "media-node"),
        ("instance", cluster),
        ("component", role),
    ]
    .map(|(key, value)| (format!("app.kubernetes.io/{key}"), value.to_owned()))
    .into()
}

/// The label by which a scenario's Service finds one pod.
const REACHED: &str = "e2e.livecluster.dev/pod";
