//! A typing error in the image: what runs goes on, the status says what is wrong, and the right image mends it.

use std::time::Duration;

use anyhow::{Context, ensure};
use livecluster_api::LiveCluster;
use serde_json::json;

use crate::cluster::{Stage, conditions, describe, eventually, holds};
use crate::live::Viewer;

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    let made = stage.apply_ready("demo", json!({})).await?;
    let image = made
        .status
        .and_then(|status| status.image)
        .context("no image in the status")?;
    let origin = stage.reach_role("demo", "origin").await?;
    let edge = stage.reach_role("demo", "edge").await?;
    let encoder = stage.published(&origin.rtmp(STREAM)).await?;
    let mut viewers = vec![
        stage.watched(&edge.flv(STREAM)).await?,
        stage.watched(&edge.rtmp(STREAM)).await?,
    ];

    stage.say("an image that nobody has");
    stage
        .edit("demo", json!({"image": "livecluster.dev/nothing:none"}))
        .await?;
    progressing_names_the_image(&stage).await?;
    holds("all old nodes serve", Duration::from_secs(20), || async {
        viewers.iter().try_for_each(Viewer::is_still_there)?;
        all_are_ready(&stage).await
    })
    .await?;
    let late = stage.watched(&edge.flv(STREAM)).await?;
    drop(late);

    stage.say("the right image again");
    stage.edit("demo", json!({"image": image})).await?;
    let mended = stage
        .condition("demo", "Progressing", "False", Duration::from_secs(60))
        .await?;
    ensure!(
        conditions(&mended)
            .iter()
            .any(|it| it.type_ == "Ready" && it.status == "True"),
        "{}",
        describe(conditions(&mended))
    );
    encoder.never_noticed()?;
    for viewer in &mut viewers {
        viewer.sees_more(25, Duration::from_secs(5)).await?;
        viewer
            .sightings()
            .has_no_gap()
            .with_context(|| viewer.url().to_owned())?;
    }
    Ok(())
}

async fn progressing_names_the_image(stage: &Stage) -> anyhow::Result<()> {
    eventually(
        "the condition Progressing names livecluster.dev/nothing",
        Duration::from_secs(60),
        || async {
            let cluster: LiveCluster = stage.get("demo").await?;
            let found = conditions(&cluster);
            let progressing = found.iter().find(|it| it.type_ == "Progressing");
            ensure!(
                progressing.is_some_and(|it| it.message.contains("Image")
                    && it.message.contains("livecluster.dev/nothing")),
                "{}",
                describe(found)
            );
            Ok(())
        },
    )
    .await
}

/// The origin and both edges of before.
async fn all_are_ready(stage: &Stage) -> anyhow::Result<()> {
    let cluster: LiveCluster = stage.get("demo").await?;
    let status = cluster.status.context("no status")?;
    let ready = (status.origins.ready_replicas, status.edges.ready_replicas);
    ensure!(
        ready == (1, 2),
        "{} origins and {} edges are ready, not 1 and 2",
        ready.0,
        ready.1
    );
    Ok(())
}

const STREAM: &str = "live/livestream";
