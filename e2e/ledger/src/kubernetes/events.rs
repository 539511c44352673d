//! What happens in the rows on Kubernetes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::node_of;
use e2e::process;
use e2e::wait::eventually;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use livecluster_api::conditions::PROGRESSING;
use serde_json::json;
use tokio::time::sleep;

use super::{KubernetesScene, LIMIT, NAME};

pub(super) async fn kill_origin(scene: &KubernetesScene) -> Result<()> {
    scene.namespace.signal(&scene.carrier, "KILL").await?;
    scene.recovered().await
}

pub(super) async fn lose_origin(scene: &KubernetesScene) -> Result<()> {
    lose(scene, &scene.carrier).await?;
    scene.recovered().await
}

pub(super) async fn lose_edge(scene: &KubernetesScene) -> Result<()> {
    lose(scene, scene.edges.last().context("no edge")?).await?;
    scene.recovered().await
}

pub(super) async fn lose_encoders_edge(scene: &KubernetesScene) -> Result<()> {
    lose(scene, scene.edges.first().context("no edge")?).await?;
    scene.recovered().await
}

/// Kills the process of a Pod and deletes the Pod, so that another one replaces it.
async fn lose(scene: &KubernetesScene, pod: &Pod) -> Result<()> {
    scene.namespace.signal(pod, "KILL").await?;
    let line = format!("delete pod {} --force --grace-period=0", pod.name_any());
    scene.namespace.kubectl(&line).await.map(drop)
}

pub(super) async fn rolling_update(scene: &KubernetesScene) -> Result<()> {
    let namespace = &scene.namespace;
    let change = json!({"stream": {"lingerSeconds": 9}});
    namespace.edit(NAME, change).await?;
    let limit = Duration::from_secs(300);
    namespace
        .until_condition(NAME, PROGRESSING, "False", limit)
        .await?;
    eventually("no Pod is terminating", LIMIT, || async {
        let status = namespace.status(NAME).await?;
        let terminating = status.edges.terminating_replicas + status.origins.terminating_replicas;
        ensure!(terminating == 0, "{terminating} Pods are terminating");
        Ok(())
    })
    .await
}

pub(super) async fn drain_node(scene: &KubernetesScene) -> Result<()> {
    let node = node_of(&scene.carrier).context("no node")?;
    let options = "--ignore-daemonsets --delete-emptydir-data --timeout=150s";
    let drained = process::run(&format!("kubectl drain {node} {options}")).await;
    process::run(&format!("kubectl uncordon {node}")).await?;
    drained?;
    scene.recovered().await
}

pub(super) async fn freeze_node(scene: &KubernetesScene) -> Result<()> {
    let node = node_of(&scene.carrier).context("no node")?;
    let cluster = &scene.namespace.cluster;
    cluster.freeze(node).await?;
    sleep(Duration::from_secs(8)).await;
    cluster.thaw(node).await?;
    scene.recovered().await
}

pub(super) async fn no_dns(scene: &KubernetesScene) -> Result<()> {
    let without = async {
        scene.namespace.stop_dns().await?;
        lose(scene, &scene.carrier).await?;
        sleep(Duration::from_secs(5)).await;
        anyhow::Ok(())
    };
    let result = without.await;
    scene.namespace.start_dns().await?;
    result?;
    scene.recovered().await
}

pub(super) async fn no_operator(scene: &KubernetesScene) -> Result<()> {
    let without = async {
        scene.namespace.stop_operator().await?;
        lose(scene, &scene.carrier).await?;
        scene.recovered().await
    };
    let result = without.await;
    scene.namespace.start_operator().await?;
    result
}
