//! Edges come and go by `kubectl scale` and by the spec; nobody who watches is cut off.

use std::time::Duration;

use anyhow::{Context, ensure};
use livecluster_api::LiveCluster;
use serde_json::json;

use crate::cluster::{Stage, eventually, holds};
use crate::live::Viewer;

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    stage
        .apply_ready("demo", json!({"edges": {"replicas": 1}}))
        .await?;
    let origin = stage.reach_role("demo", "origin").await?;
    let encoder = stage.published(&origin.rtmp(STREAM)).await?;
    let first = stage.reach_role("demo", "edge").await?;
    let earliest = stage.watched(&first.flv(STREAM)).await?;

    stage.say("three edges by kubectl scale");
    stage.kubectl(&["scale", "lc/demo", "--replicas=3"]).await?;
    edges(&stage, 3).await?;
    let mut viewers = Vec::new();
    for pod in stage.pods("demo", "edge").await? {
        let edge = stage.reach_pod(&pod).await?;
        viewers.push(stage.watched(&edge.flv(STREAM)).await?);
        viewers.push(stage.watched(&edge.rtmp(STREAM)).await?);
    }
    viewers.push(earliest);

    stage.say("one edge by the spec; the viewers of the other two stay");
    stage
        .edit("demo", json!({"edges": {"replicas": 1}}))
        .await?;
    eventually("two edges are leaving", Duration::from_secs(30), || async {
        let leaving = status(&stage).await?.edges.terminating_replicas;
        ensure!(leaving == 2, "{leaving} of them");
        Ok(())
    })
    .await?;
    holds("every viewer stays", Duration::from_secs(20), || async {
        viewers.iter().try_for_each(Viewer::is_still_there)
    })
    .await?;
    for viewer in &mut viewers {
        viewer.sees_more(25, Duration::from_secs(5)).await?;
        let seen = viewer.sightings();
        seen.has_no_gap().with_context(|| viewer.url().to_owned())?;
    }

    stage.say("the viewers leave, and so do the edges");
    drop(viewers);
    edges(&stage, 1).await?;
    encoder.never_noticed()
}

/// Waits until there are so many edges, all ready, and none is leaving.
async fn edges(stage: &Stage, wanted: i32) -> anyhow::Result<()> {
    let expected = format!("{wanted} edges");
    eventually(&expected, Duration::from_secs(90), || async {
        let edges = status(stage).await?.edges;
        ensure!(
            (
                edges.replicas,
                edges.ready_replicas,
                edges.terminating_replicas
            ) == (wanted, wanted, 0),
            "{edges:?}"
        );
        Ok(())
    })
    .await
}

async fn status(stage: &Stage) -> anyhow::Result<livecluster_api::LiveClusterStatus> {
    let cluster: LiveCluster = stage.get("demo").await?;
    cluster.status.context("no status")
}

const STREAM: &str = "live/livestream";
