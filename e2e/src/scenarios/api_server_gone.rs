//! Kubernetes itself is down, or the operator is: streams know nothing of it, and the operator goes on by itself afterwards.

use std::time::Duration;

use serde_json::json;

use crate::cluster::{Stage, holds};
use crate::live::{Encoder, Viewer};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    stage.apply_ready("demo", json!({})).await?;
    let origin = stage.reach_role("demo", "origin").await?;
    let edge = stage.reach_role("demo", "edge").await?;
    let encoder = stage.published(&origin.rtmp(STREAM)).await?;
    let viewer = stage.watched(&edge.flv(STREAM)).await?;

    stage.say("the API server is away for a minute");
    stage.cluster.api_server(false).await?;
    let away = async {
        holds("the stream goes on", Duration::from_secs(60), || async {
            viewer.is_still_there()?;
            encoder.never_noticed()
        })
        .await?;
        // Newcomers, too: names, addresses and routes are all there.
        let second = Encoder::publish(&edge.rtmp("live/second")).await?;
        let mut newcomer = Viewer::watch(&origin.rtmp("live/second")).await?;
        newcomer.sees_more(50, Duration::from_secs(10)).await?;
        second.never_noticed()
    };
    let result = away.await;
    stage.cluster.api_server(true).await?;
    result?;
    stage.operator_works("demo", "back").await?;

    stage.say("the operator is away");
    let release = &stage.cluster.release;
    let (namespace, deployment) = (release.namespace.as_str(), release.deployment());
    let away = async {
        stage.cluster.scale(namespace, &deployment, 0).await?;
        let third = Encoder::publish(&edge.rtmp("live/third")).await?;
        let watching = stage.watched(&origin.flv("live/third")).await?;
        watching.is_still_there()?;
        third.never_noticed()
    };
    let result = away.await;
    // Other scenarios need it, whatever happened here.
    stage.cluster.scale(namespace, &deployment, 2).await?;
    result?;
    stage.operator_works("demo", "again").await?;

    encoder.never_noticed()?;
    viewer.is_still_there()?;
    viewer.sightings().has_no_gap()
}

const STREAM: &str = "live/livestream";
