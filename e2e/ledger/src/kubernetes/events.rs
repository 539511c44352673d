//! What happens in the rows on Kubernetes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::certificate::CertificateFiles;
use e2e::cluster::{Namespace, node_of};
use e2e::process;
use e2e::wait::eventually;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use livecluster_api::conditions::PROGRESSING;
use serde_json::json;
use tokio::time::sleep;

use super::{CERTIFICATE, KubernetesScene, LIMIT, NAME};

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

/// Deletes the Pods of all edges. Each drains while another one starts in its place.
pub(super) async fn delete_edges(scene: &KubernetesScene) -> Result<()> {
    let names: Vec<String> = scene.edges.iter().map(ResourceExt::name_any).collect();
    let line = format!("delete pods {}", names.join(" "));
    scene.namespace.kubectl(&line).await?;
    scene.recovered().await
}

pub(super) async fn lose_edges(scene: &KubernetesScene) -> Result<()> {
    try_join_all(scene.edges.iter().map(|edge| lose(scene, edge))).await?;
    scene.recovered().await
}

pub(super) async fn scale_edges(scene: &KubernetesScene) -> Result<()> {
    for count in [4, 1] {
        let line = format!("scale lc/{NAME} --replicas={count}");
        scene.namespace.kubectl(&line).await?;
        let (expected, limit) = (format!("{count} edges"), Duration::from_secs(180));
        let scaled = scene
            .namespace
            .until_status(NAME, &expected, limit, |status| {
                let edges = &status.edges;
                (edges.replicas, edges.ready_replicas) == (count, count)
                    && status.draining_pods == 0
            });
        scaled.await?;
        // Viewers join all of them.
        sleep(Duration::from_secs(3)).await;
    }
    Ok(())
}

pub(super) async fn rolling_update(scene: &KubernetesScene) -> Result<()> {
    begin_update(scene).await?;
    updated(scene).await
}

pub(super) async fn update_encrypted(scene: &KubernetesScene) -> Result<()> {
    rolling_update(scene).await
}

pub(super) async fn update_without_operator(scene: &KubernetesScene) -> Result<()> {
    begin_update(scene).await?;
    sleep(Duration::from_secs(3)).await;
    let without = scene.namespace.stop_operator().await;
    sleep(Duration::from_secs(10)).await;
    scene.namespace.start_operator().await?;
    without?;
    updated(scene).await
}

async fn begin_update(scene: &KubernetesScene) -> Result<()> {
    let change = json!({"stream": {"lingerSeconds": 9}});
    scene.namespace.edit(NAME, change).await.map(drop)
}

/// Waits until all Pods have what was edited.
async fn updated(scene: &KubernetesScene) -> Result<()> {
    let namespace = &scene.namespace;
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

/// Writes the Secret with a new certificate.
pub(super) async fn write_certificate(namespace: &Namespace) -> Result<()> {
    let address = namespace.cluster.front().address.clone();
    let files = CertificateFiles::make(namespace.stage.folder(), "certificate", &address);
    namespace
        .apply_certificate(CERTIFICATE, &files.await?)
        .await
}

pub(super) async fn renew_certificate(scene: &KubernetesScene) -> Result<()> {
    write_certificate(&scene.namespace).await?;
    // The kubelet copies the Secret immediately into Pods that change.
    let annotate = "annotate pods --all e2e.livecluster.dev/certificate=renewed";
    scene.namespace.kubectl(annotate).await?;
    sleep(Duration::from_secs(10)).await;
    kill_origin(scene).await
}

pub(super) async fn no_api_server(scene: &KubernetesScene) -> Result<()> {
    let cluster = &scene.namespace.cluster;
    cluster.stop_api_server().await?;
    let without = async {
        let namespace = &scene.namespace;
        namespace.signal(&scene.carrier, "KILL").await?;
        sleep(Duration::from_secs(10)).await;
        let edge = scene.edges.last().context("no edge")?;
        namespace.signal(edge, "KILL").await?;
        sleep(Duration::from_secs(20)).await;
        anyhow::Ok(())
    };
    let result = without.await;
    cluster.start_api_server().await?;
    result?;
    scene.recovered().await
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
