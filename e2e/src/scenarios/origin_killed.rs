//! An origin dies, by `kill -9` and by the loss of its pod. Viewers stay connected and go on seeing; an encoder that publishes
//! to an edge does not even notice.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use crate::cluster::Stage;
use crate::live::Viewer;

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    stage.apply_ready("demo", json!({})).await?;
    let origin = stage.reach_role("demo", "origin").await?;
    let edges = stage.pods("demo", "edge").await?;
    let (first, second) = (
        stage.reach_pod(&edges[0]).await?,
        stage.reach_pod(&edges[1]).await?,
    );

    let by_edge = stage.published(&first.rtmp("live/by-edge")).await?;
    let direct = stage
        .published_stubbornly(&origin.rtmp("live/direct"))
        .await?;
    let mut viewers = Vec::new();
    for url in [
        first.flv("live/by-edge"),
        second.flv("live/by-edge"),
        second.rtmp("live/by-edge"),
        first.flv("live/direct"),
        second.rtmp("live/direct"),
    ] {
        viewers.push(stage.watched(&url).await?);
    }

    if stage.may_break("kill -9 of the origin's process") {
        stage.say("kill -9 of the origin's process");
        stage.kill(&origin_pod(&stage).await?, "KILL").await?;
        go_on(&mut viewers).await?;
    }
    stage.say("the origin's pod is gone from one moment to the next");
    let name = origin_pod(&stage).await?.name_any();
    stage
        .kubectl(&["delete", "pod", &name, "--force", "--grace-period=0"])
        .await?;
    go_on(&mut viewers).await?;

    by_edge.never_noticed()?;
    for viewer in &viewers {
        let seen = viewer.sightings();
        let stall = seen.longest_stall(Instant::now());
        stage.say(format!(
            "{}: {} ms without a picture",
            viewer.url(),
            stall.as_millis()
        ));
        ensure!(
            stall < STALL,
            "{}: expected no stall longer than {STALL:?}, seen {stall:?}",
            viewer.url()
        );
        seen.is_well_formed()
            .and_then(|()| seen.has_nothing_twice())
            .with_context(|| viewer.url().to_owned())?;
    }
    // Those beside the encoder read its edge's own log, whatever happens to origins.
    let beside = viewers[0].sightings();
    beside
        .has_no_gap()
        .context("the viewer on the encoder's edge")?;
    drop(direct);
    Ok(())
}

async fn origin_pod(stage: &Stage) -> anyhow::Result<Pod> {
    let origins = stage.pods("demo", "origin").await?;
    origins.into_iter().next().context("no origin")
}

/// Everybody sees five more seconds, without having been disconnected.
async fn go_on(viewers: &mut [Viewer]) -> anyhow::Result<()> {
    for viewer in viewers {
        viewer
            .sees_more(25 * 5, STALL + Duration::from_secs(5))
            .await?;
    }
    Ok(())
}

/// A container is up again within seconds; DNS and a new pod may take longer. Viewers are kept for 30 s.
const STALL: Duration = Duration::from_secs(25);
