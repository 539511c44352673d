//! Breaking things, as they break in life. All but scaling needs the machines' containers, so a kind cluster.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{Cluster, Stage, command, eventually, is_ready};

impl Stage {
    /// Sends a signal to the only process of a pod, past its container's back.
    ///
    /// # Errors
    /// When the process is not found, or the cluster is not one of kind.
    pub async fn kill(&self, pod: &Pod, signal: &str) -> anyhow::Result<()> {
        let name = pod.name_any();
        let machine = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let machine = machine.with_context(|| format!("{name} is on no machine"))?;
        let statuses = pod
            .status
            .as_ref()
            .and_then(|status| status.container_statuses.as_ref());
        let container = statuses
            .and_then(|statuses| statuses.first()?.container_id.as_deref())
            .and_then(|id| id.strip_prefix("containerd://"))
            .with_context(|| format!("{name} has no container"))?;
        let tasks = self
            .cluster
            .on(machine, &["ctr", "-n", "k8s.io", "tasks", "ls"])
            .await?;
        let process = tasks
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find_map(|words| (words.first() == Some(&container)).then(|| words.get(1).copied()))
            .flatten()
            .with_context(|| format!("no process of container {container} in {tasks}"))?;
        let signal = format!("-{signal}");
        self.cluster
            .on(machine, &["kill", &signal, process])
            .await?;
        Ok(())
    }
}

impl Cluster {
    /// Runs a program on a machine; what it printed.
    ///
    /// # Errors
    /// When it fails, or the cluster is not one of kind.
    pub async fn on(&self, machine: &str, program: &[&str]) -> anyhow::Result<String> {
        let container = self.container(machine)?;
        let mut line = vec!["docker", "exec", &container];
        line.extend(program);
        command(&line, "").await?.success()
    }

    /// Pulls the plug of a machine, or puts it back.
    ///
    /// # Errors
    /// When Docker fails, or the cluster is not one of kind.
    pub async fn power(&self, machine: &str, on: bool) -> anyhow::Result<()> {
        let container = self.container(machine)?;
        let verb = if on { "start" } else { "kill" };
        command(&["docker", verb, &container], "")
            .await?
            .success()?;
        Ok(())
    }

    /// Scales a Deployment that all scenarios share to none, or back, and waits until its pods are gone, or ready.
    ///
    /// # Errors
    /// When they are not within three minutes: a machine that has lost sight of the API server for a minute may take another to
    /// hear of it.
    pub async fn scale(
        &self,
        namespace: &str,
        deployment: &str,
        replicas: u8,
    ) -> anyhow::Result<()> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let scale = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let scaled = api
            .patch(deployment, &PatchParams::default(), &scale)
            .await?;
        let selector = scaled.spec.unwrap_or_default().selector;
        let own = ListParams::default().labels_from(&selector.try_into()?);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let expected = format!("{replicas} pods of {deployment}, all of them ready");
        eventually(&expected, Duration::from_secs(180), || async {
            let pods = pods.list(&own).await?.items;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            let enough = pods.len() == usize::from(replicas) && ready == pods.len();
            ensure!(enough, "{} pods, {ready} of them ready", pods.len());
            Ok(())
        })
        .await
    }

    /// Takes the API server away, or brings it back.
    ///
    /// # Errors
    /// When it does not go or come in time, or the cluster is not one of kind.
    pub async fn api_server(&self, on: bool) -> anyhow::Result<()> {
        let machine = self.front().name.clone();
        let (from, to) = if on {
            (ASIDE, MANIFEST)
        } else {
            (MANIFEST, ASIDE)
        };
        self.on(&machine, &["mv", from, to]).await?;
        let expected = if on {
            "the API server is back"
        } else {
            "the API server is gone"
        };
        eventually(expected, Duration::from_secs(120), || async {
            let answer = command(
                &["kubectl", "--request-timeout=2s", "get", "--raw", "/readyz"],
                "",
            )
            .await?;
            if on {
                answer.success().map(drop)
            } else {
                answer.failure().map(drop)
            }
        })
        .await
    }
}

const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const ASIDE: &str = "/etc/kubernetes/kube-apiserver.yaml";
