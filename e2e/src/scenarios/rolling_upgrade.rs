//! A new image while twenty people watch: both roles roll independently; nobody is cut off before the drain time is nearly
//! over, and whoever is let go finds the stream again at once, as any player does.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use livecluster_api::LiveCluster;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Stage, command, conditions, eventually};
use crate::live::{CLEAN, Sightings, Viewer};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    let spec = json!({
        "origins": {"drainTimeoutSeconds": DRAIN.as_secs()},
        "edges": {"drainTimeoutSeconds": DRAIN.as_secs()},
    });
    let made = stage.apply_ready("demo", spec).await?;
    let image = made
        .status
        .and_then(|status| status.image)
        .context("no image")?;
    let next = next_image(&stage, &image).await?;
    let edge = stage.reach_role("demo", "edge").await?;
    let encoder = stage.published_stubbornly(&edge.rtmp(STREAM)).await?;
    let enough = CancellationToken::new();
    let mut people = JoinSet::new();
    for number in 0..20 {
        let url = if number % 2 == 0 {
            edge.flv(STREAM)
        } else {
            edge.rtmp(STREAM)
        };
        let first = stage.watched(&url).await?;
        people.spawn(watch_on(first, enough.clone()));
    }

    stage.say(format!("from {image} to {next}"));
    let began = Instant::now();
    stage.edit("demo", json!({"image": next})).await?;
    all_new(&stage, &next).await?;
    stage.say(format!(
        "all nodes are new after {} s",
        began.elapsed().as_secs()
    ));

    let mut late = stage.watched(&edge.flv(STREAM)).await?;
    late.sees_more(50, Duration::from_secs(10)).await?;
    enough.cancel();
    let mut moves = 0;
    while let Some(person) = people.join_next().await {
        let seen = person??;
        moves += seen.len() - 1;
        check(&seen, began)?;
    }
    stage.say(format!(
        "the viewers connected again {moves} times in all; the encoder: {:?}",
        encoder.lost()
    ));
    ensure!(moves > 0, "nobody had to move: nothing was rolled");
    Ok(())
}

/// Watches on until it is enough; what was seen on each connection.
async fn watch_on(mut viewer: Viewer, enough: CancellationToken) -> anyhow::Result<Vec<Sightings>> {
    let mut seen = Vec::new();
    loop {
        tokio::select! {
            () = enough.cancelled() => {
                seen.push(viewer.sightings());
                return Ok(seen);
            }
            ended = viewer.ends(Duration::from_secs(900)) => {
                ended?;
                seen.push(viewer.sightings());
            }
        }
        let url = viewer.url().to_owned();
        let expected = format!("{url} again");
        viewer = eventually(&expected, Duration::from_secs(20), || Viewer::watch(&url)).await?;
    }
}

fn check(connections: &[Sightings], began: Instant) -> anyhow::Result<()> {
    for seen in connections {
        seen.is_well_formed()
            .and_then(|()| seen.has_nothing_twice())?;
        if let Some((at, how)) = &seen.end {
            let after = at.saturating_duration_since(began);
            ensure!(
                how == CLEAN,
                "a viewer was cut off {after:?} after the change: {how}"
            );
            ensure!(
                after > DRAIN / 2,
                "a viewer was let go {after:?} after the change, with {DRAIN:?} to drain"
            );
        }
    }
    Ok(())
}

/// The same program under another name.
async fn next_image(stage: &Stage, image: &str) -> anyhow::Result<String> {
    let kind = stage
        .cluster
        .kind
        .as_deref()
        .context("this scenario loads an image, so it needs a kind cluster")?;
    let next = format!("{image}-next");
    command(&["docker", "tag", image, &next], "")
        .await?
        .success()?;
    command(&["kind", "load", "docker-image", &next, "--name", kind], "")
        .await?
        .success()?;
    Ok(next)
}

async fn all_new(stage: &Stage, next: &str) -> anyhow::Result<()> {
    eventually(
        "all nodes are new, and no old one is left",
        Duration::from_secs(180),
        || async {
            let cluster: LiveCluster = stage.get("demo").await?;
            let found = conditions(&cluster);
            let done = found
                .iter()
                .any(|it| it.type_ == "Progressing" && it.status == "False");
            let status = cluster.status.clone().unwrap_or_default();
            let leaving = status.edges.terminating_replicas + status.origins.terminating_replicas;
            ensure!(
                done && status.image.as_deref() == Some(next) && leaving == 0,
                "{status:?}"
            );
            Ok(())
        },
    )
    .await
}

const STREAM: &str = "live/livestream";
const DRAIN: Duration = Duration::from_secs(30);
