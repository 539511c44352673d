//! Faults, as they happen in production. They need the nodes' containers, so a kind cluster.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;

use super::{Cluster, Namespace, is_ready, node_of};
use crate::process::{self, Finished};
use crate::wait::{DEADLINE, eventually};

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

    /// Takes the cluster's DNS away.
    pub async fn stop_dns(&self) -> Result<()> {
        let system = self.other("kube-system");
        system.scale_down("coredns", "k8s-app=kube-dns").await
    }

    /// Gives the cluster its DNS back.
    pub async fn start_dns(&self) -> Result<()> {
        self.other("kube-system").scale_up("coredns").await
    }

    /// Takes the operator away.
    pub async fn stop_operator(&self) -> Result<()> {
        let release = &self.cluster.release;
        let system = self.other(&release.namespace);
        let selector = format!("app.kubernetes.io/instance={}", release.name);
        system.scale_down(&release.deployment(), &selector).await
    }

    /// Gives the operator back.
    pub async fn start_operator(&self) -> Result<()> {
        let release = &self.cluster.release;
        let system = self.other(&release.namespace);
        system.scale_up(&release.deployment()).await
    }

    /// Returns the node of each operator Pod that is ready.
    pub async fn operator_nodes(&self) -> Result<Vec<String>> {
        let release = &self.cluster.release;
        let labels = format!("app.kubernetes.io/instance={}", release.name);
        let pods = self.other(&release.namespace).api::<Pod>();
        let pods = pods.list(&ListParams::default().labels(&labels)).await?;
        let ready = pods.items.iter().filter(|pod| is_ready(pod));
        Ok(ready.filter_map(node_of).map(str::to_owned).collect())
    }

    /// Gives a Deployment no replicas, and waits until no Pod is left that the selector matches.
    async fn scale_down(&self, deployment: &str, selector: &str) -> Result<()> {
        self.kubectl(&format!("scale deployment/{deployment} --replicas=0"))
            .await?;
        let limit = DEADLINE.as_secs();
        let line = format!("wait --for=delete pods -l {selector} --timeout={limit}s");
        self.kubectl(&line).await.map(drop)
    }

    /// Gives a Deployment two replicas, and waits for them.
    async fn scale_up(&self, deployment: &str) -> Result<()> {
        self.kubectl(&format!("scale deployment/{deployment} --replicas=2"))
            .await?;
        let limit = DEADLINE.as_secs();
        let line = format!("rollout status deployment/{deployment} --timeout={limit}s");
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

    /// Takes the power of a node away.
    pub async fn power_off(&self, node: &str) -> Result<()> {
        self.docker(&format!("kill {node}")).await.map(drop)
    }

    /// Gives a node its power back.
    pub async fn power_on(&self, node: &str) -> Result<()> {
        self.docker(&format!("start {node}")).await.map(drop)
    }

    /// Lets all processes of a node hang.
    pub async fn freeze(&self, node: &str) -> Result<()> {
        self.docker(&format!("pause {node}")).await.map(drop)
    }

    /// Lets all processes of a node go on.
    pub async fn thaw(&self, node: &str) -> Result<()> {
        self.docker(&format!("unpause {node}")).await.map(drop)
    }

    /// Runs a script of a shell on a node, whose `$0`, `$1` and so on are the arguments.
    pub async fn shell(&self, node: &str, script: &str, arguments: &[&str]) -> Result<()> {
        self.may_break_nodes()?;
        let mut shell = process::command(&format!("docker exec {node} sh -c"));
        let finished = process::finish(shell.arg(script).args(arguments), "");
        finished.await?.success().map(drop)
    }

    async fn docker(&self, line: &str) -> Result<String> {
        self.may_break_nodes()?;
        process::run(&format!("docker {line}")).await
    }

    fn may_break_nodes(&self) -> Result<()> {
        let kind = self.kind.is_some();
        ensure!(kind, "this scenario breaks nodes: it needs a kind cluster");
        Ok(())
    }

    /// Stops the API server.
    pub async fn stop_api_server(&self) -> Result<()> {
        self.move_manifest(MANIFEST, ASIDE).await?;
        eventually("the API server does not answer", DEADLINE, || async {
            api_server_answer().await?.failure().map(drop)
        })
        .await
    }

    /// Starts the API server again, if it is stopped.
    pub async fn start_api_server(&self) -> Result<()> {
        self.move_manifest(ASIDE, MANIFEST).await?;
        eventually("the API server answers", DEADLINE, || async {
            api_server_answer().await?.success().map(drop)
        })
        .await
    }

    /// Moves the manifest of the API server, if it is there. The kubelet runs what is in the folder of [`MANIFEST`].
    async fn move_manifest(&self, from: &str, to: &str) -> Result<()> {
        let node = &self.front().name;
        let script = "[ ! -e $0 ] || mv $0 $1";
        self.shell(node, script, &[from, to]).await
    }
}

async fn api_server_answer() -> Result<Finished> {
    let mut probe = process::command("kubectl --request-timeout=5s get --raw /readyz");
    process::finish(&mut probe, "").await
}

const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const ASIDE: &str = "/etc/kubernetes/kube-apiserver.yaml";
