//! The operator is uninstalled while a stream runs: the stream lives, and nothing is left when the LiveCluster is deleted.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use crate::cluster::{Stage, command, eventually, holds};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    let result = leave(&stage).await;
    stage.cluster.release.install(&[]).await?;
    result
}

async fn leave(stage: &Stage) -> anyhow::Result<()> {
    let release = &stage.cluster.release;
    stage.apply_ready("the-last", json!({})).await?;
    let edge = stage.reach_role("the-last", "edge").await?;
    let encoder = stage.published(&edge.rtmp("live/livestream")).await?;
    let viewer = stage.watched(&edge.flv("live/livestream")).await?;

    stage.say("helm uninstall");
    release
        .helm(&["uninstall", &release.name, "--wait"])
        .await?;
    holds("the stream lives", Duration::from_secs(15), || async {
        viewer.is_still_there()?;
        encoder.never_noticed()
    })
    .await?;
    let kept = stage.kubectl(&["get", "lc", "-o", "name"]).await?;
    ensure!(
        kept.trim() == "livecluster.livecluster.dev/the-last",
        "expected helm uninstall to keep the LiveCluster the-last, seen {kept:?}"
    );
    nothing_left(
        stage,
        &format!("app.kubernetes.io/instance={}", release.name),
        &["customresourcedefinition"],
    )
    .await?;
    drop((viewer, encoder));
    stage
        .kubectl(&["delete", "lc/the-last", "--timeout=60s"])
        .await?;
    nothing_left(stage, CHILDREN, &[]).await?;

    if stage.may_break("crds.keep=false, which takes every LiveCluster away") {
        stage.say("with crds.keep=false the definition goes too, and all LiveClusters with it");
        release.install(&["crds.keep=false"]).await?;
        stage
            .apply_ready("the-last", json!({"edges": {"replicas": 1}}))
            .await?;
        release
            .helm(&["uninstall", &release.name, "--wait"])
            .await?;
        let line = [
            "kubectl",
            "wait",
            "--for=delete",
            "crd/liveclusters.livecluster.dev",
            "--timeout=60s",
        ];
        command(&line, "").await?.success()?;
        nothing_left(stage, CHILDREN, &[]).await?;
    }
    Ok(())
}

/// Waits until no object of any kind in any namespace has these labels, but for these kinds.
async fn nothing_left(stage: &Stage, selector: &str, but: &[&str]) -> anyhow::Result<()> {
    let listed = command(
        &["kubectl", "api-resources", "--verbs=list", "-o", "name"],
        "",
    )
    .await?
    .success()?;
    let kinds: Vec<&str> = listed
        .lines()
        .filter(|kind| !kind.ends_with("metrics.k8s.io") && !kind.starts_with("events"))
        .filter(|kind| !but.iter().any(|but| kind.starts_with(but)))
        .collect();
    let kinds = kinds.join(",");
    let expected = format!("nothing with {selector}");
    eventually(&expected, Duration::from_secs(90), || async {
        let left = stage
            .kubectl(&["get", &kinds, "-A", "-l", selector, "-o", "name"])
            .await?;
        ensure!(left.is_empty(), "left: {}", left.replace('\n', " "));
        Ok(())
    })
    .await
}

const CHILDREN: &str =
    "app.kubernetes.io/managed-by=livecluster-operator,app.kubernetes.io/instance=the-last";
