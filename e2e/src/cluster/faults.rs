//! Faults, as they happen in production. They need the nodes' containers, so a kind cluster.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{Cluster, Namespace, node_of};
use crate::process;
use crate::wait::eventually;

impl Namespace {
    /// Sends a signal to the only process of a Pod, which its container does not see.
    pub async fn signal(&self, pod: &Pod, signal: &str) -> Result<()> {
        let name = pod.name_any();
        let node = node_of(pod).with_context(|| format!("{name} is on no node"))?;
        let container = container(pod).with_context(|| format!("{name} has no container"))?;
        let tasks = self.cluster.on(node, "ctr -n k8s.io tasks ls").await?;
        let process = tasks.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(container)).then(|| words.next())?
        });
        let process = process.with_context(|| format!("no process of {container} in {tasks}"))?;
        let kill = format!("kill -{signal} {process}");
        self.cluster.on(node, &kill).await.map(drop)
    }

    /// Takes the cluster's DNS away, or gives it back.
    pub async fn set_dns(&self, on: bool) -> Result<()> {
        let system = self.other("kube-system");
        system.scale("coredns", "k8s-app=kube-dns", on).await
    }

    /// Takes the operator away, or gives it back.
    pub async fn set_operator(&self, on: bool) -> Result<()> {
        let release = &self.cluster.release;
        let system = self.other(&release.namespace);
        let selector = format!("app.kubernetes.io/instance={}", release.name);
        system.scale(&release.deployment(), &selector, on).await
    }

    /// Gives a Deployment two replicas or none, and waits for them, or until no Pod is left that the selector matches.
    async fn scale(&self, deployment: &str, selector: &str, on: bool) -> Result<()> {
        let replicas = if on { 2 } else { 0 };
        let line = format!("scale deployment/{deployment} --replicas={replicas}");
        self.kubectl(&line).await?;
        let line = if on {
            format!("rollout status deployment/{deployment} --timeout=180s")
        } else {
            format!("wait --for=delete pods -l {selector} --timeout=180s")
        };
        self.kubectl(&line).await.map(drop)
    }
}

/// The id of a Pod's container, which a restart changes.
pub fn container(pod: &Pod) -> Option<&str> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let id = statuses.first()?.container_id.as_deref()?;
    id.strip_prefix("containerd://")
}

impl Cluster {
    /// Runs a line that is split at spaces on a node. Returns its standard output.
    pub async fn on(&self, node: &str, line: &str) -> Result<String> {
        self.docker(&format!("exec {node} {line}")).await
    }

    /// Takes the power of a node away, or gives it back.
    pub async fn power(&self, node: &str, on: bool) -> Result<()> {
        let verb = if on { "start" } else { "kill" };
        self.docker(&format!("{verb} {node}")).await.map(drop)
    }

    /// Lets all processes of a node hang, or go on.
    pub async fn freeze(&self, node: &str, is_frozen: bool) -> Result<()> {
        let verb = if is_frozen { "pause" } else { "unpause" };
        self.docker(&format!("{verb} {node}")).await.map(drop)
    }

    async fn docker(&self, line: &str) -> Result<String> {
        let kind = self.kind.is_some();
        ensure!(kind, "this scenario breaks nodes: it needs a kind cluster");
        process::run(&format!("docker {line}")).await
    }

    /// Stops the API server, or starts it again.
    pub async fn api_server(&self, on: bool) -> Result<()> {
        let (from, to) = if on {
            (ASIDE, MANIFEST)
        } else {
            (MANIFEST, ASIDE)
        };
        let node = &self.front().name;
        self.on(node, &format!("mv {from} {to}")).await?;
        let expected = format!("the API server answers: {on}");
        eventually(&expected, Duration::from_secs(120), || async {
            let mut probe = process::command("kubectl --request-timeout=2s get --raw /readyz");
            let answer = process::finish(&mut probe, "").await?;
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
