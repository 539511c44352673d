//! One scenario's own namespace: kubectl, objects and Pods.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Cluster;
use super::repairs::Repairs;
use crate::certificate::CertificateFiles;
use crate::process::{self, Finished, finish};
use crate::stage::Stage;
use crate::wait::{DEADLINE, eventually};

/// One scenario's own namespace.
#[derive(Clone)]
pub struct Namespace {
    /// What every scenario has.
    pub stage: Stage,
    /// What all scenarios on the cluster share.
    pub cluster: Arc<Cluster>,
    /// Its name.
    pub name: String,
    pub(super) repairs: Repairs<Self>,
}

impl Namespace {
    /// Names a namespace, which may exist or not.
    pub fn new(stage: Stage, cluster: Arc<Cluster>, name: String) -> Self {
        Self {
            stage,
            cluster,
            name,
            repairs: Repairs::default(),
        }
    }

    /// Creates it. What an earlier run left in it is deleted first.
    pub async fn create(&self) -> Result<()> {
        let name = &self.name;
        let line = format!("get namespace/{name} --ignore-not-found -o name");
        if !self.kubectl(&line).await?.is_empty() {
            self.delete().await?;
            let line = format!("wait --for=delete namespace/{name} --timeout=400s");
            self.kubectl(&line).await?;
        }
        create_restricted(name, "scenario").await
    }

    /// Creates another namespace of the same scenario, which is deleted when that has ended.
    pub async fn create_other(&self, suffix: &str) -> Result<Self> {
        let other = self.other(&format!("{}-{suffix}", self.name));
        let name = other.name.clone();
        self.repaired_by(move |it| {
            let other = it.other(&name);
            async move { other.delete().await }
        });
        other.create().await?;
        Ok(other)
    }

    /// Deletes it, without waiting until it is gone. Its Pods go first: Kubernetes looks at a namespace with Pods in it again only
    /// after half of the time that they may take to terminate.
    pub async fn delete(&self) -> Result<()> {
        self.kubectl("delete lc,deployments --all --wait=false")
            .await?;
        eventually("no Pods", DEADLINE, || async {
            let (pods, all) = (self.api::<Pod>(), ListParams::default());
            let immediately = DeleteParams::default().grace_period(0);
            pods.delete_collection(&immediately, &all).await?;
            let left = pods.list(&all).await?.items.len();
            ensure!(left == 0, "{left} Pods are left");
            Ok(())
        })
        .await?;
        let line = format!("delete namespace/{} --wait=false", self.name);
        self.kubectl(&line).await.map(drop)
    }

    /// Another namespace of the same scenario.
    pub fn other(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self.clone()
        }
    }

    /// Prints what the scenario does now.
    pub fn say(&self, what: impl std::fmt::Display) {
        self.stage.say(what);
    }

    /// Whether the cluster's nodes may be inspected and broken. If not, prints what is left out of the proof.
    pub fn may_break(&self, what: &str) -> bool {
        let kind = self.cluster.kind.is_some();
        if !kind {
            self.say(format_args!("left out, as it needs a kind cluster: {what}"));
        }
        kind
    }

    /// Runs kubectl in this namespace, with a line that is split at spaces and this standard input.
    pub async fn try_kubectl(&self, line: &str, input: &str) -> Result<Finished> {
        self.finish_kubectl(line, &[], input).await
    }

    async fn finish_kubectl(&self, line: &str, last: &[&str], input: &str) -> Result<Finished> {
        let line = format!("kubectl -n {} {line}", self.name);
        let attempt = || async { finish(process::command(&line).args(last), input).await };
        let is_overloaded = |it: &Result<Finished>| {
            let failed = it.as_ref().ok().filter(|it| !it.status.success());
            failed.is_some_and(|it| names_overload(&it.stderr))
        };
        despite_overload(attempt, is_overloaded).await
    }

    /// Runs kubectl in this namespace, with a line that is split at spaces. Returns its standard output.
    pub async fn kubectl(&self, line: &str) -> Result<String> {
        self.try_kubectl(line, "").await?.success()
    }

    /// Applies a manifest with `kubectl apply`, strictly validated.
    pub async fn kubectl_apply(&self, manifest: &str) -> Result<()> {
        let applied = self.try_kubectl("apply --validate=strict -f -", manifest);
        applied.await?.success().map(drop)
    }

    /// Applies the Secret of a certificate.
    pub async fn apply_certificate(&self, name: &str, files: &CertificateFiles) -> Result<()> {
        let pem = |path: &Path| std::fs::read_to_string(path).context("read a PEM file");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": name},
            "stringData": {"tls.crt": pem(&files.certificate)?, "tls.key": pem(&files.key)?},
        });
        self.kubectl_apply(&secret.to_string()).await
    }

    /// Patches an object such as `service/demo-edge` with `kubectl patch`.
    pub async fn kubectl_patch(&self, object: &str, patch: &Value) -> Result<()> {
        let line = format!("patch {object} --type=merge -p");
        let patch = patch.to_string();
        let patched = self.finish_kubectl(&line, &[&patch], "").await?;
        patched.success().map(drop)
    }

    /// The objects of a kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.cluster.client.clone(), &self.name)
    }

    /// Returns an object in this namespace.
    pub async fn get<K>(&self, name: &str) -> Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        let api = self.api();
        let get = || async {
            api.get(name).await.map_err(|error| match error {
                // Its own text repeats the message.
                kube::Error::Api(status) => anyhow!("{}", status.message),
                other => anyhow::Error::new(other).context(format!("cannot get {name}")),
            })
        };
        despite_overload(get, is_overloaded).await
    }

    /// Returns the Pods of a LiveCluster's role that are not terminating, by name.
    pub async fn pods(&self, cluster: &str, role: &str) -> Result<Vec<Pod>> {
        let selector = super::reach::labels(cluster, role).into_iter().collect();
        let parameters = ListParams::default().labels_from(&selector);
        let api = self.api::<Pod>();
        let list = || async { Ok(api.list(&parameters).await?) };
        let mut pods = despite_overload(list, is_overloaded).await?.items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }
}

/// Tries again what the API server failed because it was overloaded, as where its disk is busy. Other errors are those of the attempt.
pub(super) async fn despite_overload<T, F: Future<Output = Result<T>>>(
    attempt: impl Fn() -> F,
    is_overloaded: impl Fn(&Result<T>) -> bool,
) -> Result<T> {
    for _ in 0..RETRIES {
        let result = attempt().await;
        if !is_overloaded(&result) {
            return result;
        }
        sleep(PAUSE).await;
    }
    attempt().await
}

/// Whether a request failed because the API server was overloaded.
pub(super) fn is_overloaded<T>(result: &Result<T>) -> bool {
    let error = result.as_ref().err();
    error.is_some_and(|error| names_overload(&format!("{error:#}")))
}

fn names_overload(message: &str) -> bool {
    OVERLOADED.iter().any(|it| message.contains(it))
}

/// What the API server or its client says when it, or its etcd, does not answer in time. The request may have been carried out.
const OVERLOADED: [&str; 7] = [
    "etcdserver: request timed out",
    "etcdserver: leader changed",
    "request did not complete within requested timeout",
    "was unable to return a response in the time allotted",
    "TLS handshake timeout",
    "client connection lost",
    "has received too many requests",
];

/// Each takes as long as the API server needs to fail it: together half a minute.
const RETRIES: usize = 4;
const PAUSE: Duration = Duration::from_secs(2);

/// Whether a Pod is ready.
pub fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Creates a namespace that enforces the strictest of the Pod Security Standards, for a `scenario` or the `operator`.
pub(super) async fn create_restricted(name: &str, purpose: &str) -> Result<()> {
    let manifest = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted", PURPOSE: purpose},
        },
    })
    .to_string();
    let mut apply = process::command("kubectl apply --server-side -f -");
    let applied = finish(&mut apply, &manifest);
    applied.await?.success().map(drop)
}

/// The label with the purpose of a namespace.
pub(super) const PURPOSE: &str = "livecluster.dev/e2e";

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::bail;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_an_overloaded_api_server_failed_is_tried_again() {
        let attempts = Cell::new(0);
        let late_at_first = || async {
            attempts.update(|it| it + 1);
            ensure!(attempts.get() > 2, "etcdserver: request timed out");
            Ok(attempts.get())
        };
        let answer = despite_overload(late_at_first, is_overloaded).await;
        assert_eq!(answer.unwrap(), 3);

        attempts.set(0);
        let invalid = || async {
            attempts.update(|it| it + 1);
            bail!("invalid")
        };
        let answer: Result<()> = despite_overload(invalid, is_overloaded).await;
        assert_eq!(answer.unwrap_err().to_string(), "invalid");
        assert_eq!(attempts.get(), 1);
    }
}
