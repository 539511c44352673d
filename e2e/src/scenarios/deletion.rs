//! A LiveCluster is deleted in each of the ways that Kubernetes has, and made again at once.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::json;

use crate::cluster::{Stage, eventually, holds};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    for cascade in ["background", "foreground"] {
        stage.say(format!("deleted with --cascade={cascade}"));
        stage.apply_ready("demo", small()).await?;
        stage
            .kubectl(&[
                "delete",
                "lc/demo",
                &format!("--cascade={cascade}"),
                "--timeout=60s",
            ])
            .await?;
        nothing_left(&stage).await?;
    }

    stage.say("deleted and made again at once");
    let old = stage.apply_ready("demo", small()).await?;
    stage
        .kubectl(&["delete", "lc/demo", "--wait=false"])
        .await?;
    let new = eventually(
        "a new LiveCluster of that name",
        Duration::from_secs(20),
        || async {
            let new = stage.apply("demo", small()).await?;
            ensure!(new.uid() != old.uid(), "the old one is still there");
            Ok(new)
        },
    )
    .await?;
    stage.ready("demo").await?;
    for name in ["demo-origin", "demo-edge"] {
        let deployment: Deployment = stage.get(name).await?;
        let owners = deployment.owner_references();
        ensure!(
            owners.len() == 1 && Some(&owners[0].uid) == new.metadata.uid.as_ref(),
            "{name} belongs to {owners:?}, not to the new LiveCluster"
        );
    }

    stage.say("deleted with --cascade=orphan: the nodes and their streams stay");
    let origin = stage.reach_role("demo", "origin").await?;
    let edge = stage.reach_role("demo", "edge").await?;
    let encoder = stage.published(&origin.rtmp("live/livestream")).await?;
    let viewer = stage.watched(&edge.flv("live/livestream")).await?;
    stage
        .kubectl(&["delete", "lc/demo", "--cascade=orphan"])
        .await?;
    holds("the stream goes on", Duration::from_secs(10), || async {
        viewer.is_still_there()?;
        encoder.never_noticed()?;
        let left: Deployment = stage.get("demo-edge").await?;
        ensure!(
            left.owner_references().is_empty(),
            "Deployment demo-edge still has owners: {:?}",
            left.owner_references()
        );
        Ok(())
    })
    .await
}

/// Waits until nothing carries the cluster's label any more, pods included.
async fn nothing_left(stage: &Stage) -> anyhow::Result<()> {
    let kinds = "deployments,replicasets,pods,services,configmaps,serviceaccounts,poddisruptionbudgets,networkpolicies,endpointslices";
    eventually(
        "nothing of the cluster is left",
        Duration::from_secs(60),
        || async {
            let line = [
                "get",
                kinds,
                "-l",
                "app.kubernetes.io/instance=demo",
                "-o",
                "name",
            ];
            let left = stage.kubectl(&line).await.context("list what is left")?;
            ensure!(left.is_empty(), "left: {}", left.replace('\n', " "));
            Ok(())
        },
    )
    .await
}

fn small() -> serde_json::Value {
    json!({"edges": {"replicas": 1}})
}
