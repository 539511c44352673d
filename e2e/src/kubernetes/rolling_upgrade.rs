//! A new image with twenty viewers: origins and edges roll independently. The status says who serves them until when. No viewer is cut
//! off before the drain time is nearly over, and one that is disconnected finds the stream again immediately, as any player does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use livecluster_api::LiveCluster;
use livecluster_api::conditions::PROGRESSING;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Namespace, STREAM, condition};
use crate::media::judge::assert_ordered;
use crate::media::{Recording, Seen, Viewer};
use crate::process::run as run_line;
use crate::wait::{DEADLINE, MEDIA, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let drain = json!({"drainTimeoutSeconds": DRAIN.as_secs()});
    let spec = json!({"origins": drain, "edges": drain});
    namespace.apply_ready("demo", spec).await?;
    let image = namespace.status("demo").await?.image;
    let image = image.context("no image")?;
    let next = next_image(&namespace, &image).await?;
    let edge = namespace.reach_role("demo", "edge").await?;
    let url = edge.rtmp(STREAM);
    let encoder = namespace.published_persistently(&url).await?;
    let enough = CancellationToken::new();
    let mut viewers = JoinSet::new();
    let urls = vec![[edge.http(STREAM), edge.rtmp(STREAM)]; 10].concat();
    for first in namespace.all_watched(&urls).await? {
        viewers.spawn(watch_on(first, enough.clone()));
    }

    namespace.say(format_args!("from {image} to {next}"));
    let start = Instant::now();
    namespace.edit("demo", json!({"image": next})).await?;
    namespace.shows_plan("demo", "edge", DRAIN).await?;
    all_new(&namespace, &next).await?;
    let seconds = start.elapsed().as_secs();
    namespace.say(format_args!("all Pods are new after {seconds} s"));

    let mut late = namespace.watched(&edge.http(STREAM)).await?;
    late.sees_more(50, MEDIA).await?;
    enough.cancel();
    let mut moves = 0;
    while let Some(seen) = viewers.join_next().await {
        let seen = seen??;
        moves += seen.len() - 1;
        check(&encoder.sent(), &seen, start)?;
    }
    let interruptions = encoder.interruptions();
    namespace.say(format_args!(
        "the viewers connected again {moves} times; the encoder: {interruptions:?}"
    ));
    ensure!(moves > 0, "no viewer connected again: nothing was rolled");
    Ok(())
}

/// Watches on until it is enough. Returns what was seen on each connection.
async fn watch_on(mut viewer: Viewer, enough: CancellationToken) -> Result<Vec<Seen>> {
    let mut seen = Vec::new();
    loop {
        let ended = |seen: &Seen| seen.end.is_some();
        let limit = Duration::from_secs(900);
        tokio::select! {
            () = enough.cancelled() => {
                seen.push(viewer.seen());
                return Ok(seen);
            }
            ended = viewer.until("the end", limit, ended) => ended?,
        }
        seen.push(viewer.seen());
        let url = viewer.url().to_owned();
        let (expected, watch) = (format!("{url} again"), || Viewer::watch(&url));
        viewer = eventually(&expected, DEADLINE, watch).await?;
    }
}

fn check(sent: &Recording, connections: &[Seen], start: Instant) -> Result<()> {
    for seen in connections {
        assert_ordered(sent, &seen.recording)?;
        if let Some((at, how)) = &seen.end {
            let after = at.saturating_duration_since(start);
            ensure!(how.is_ok(), "a viewer was cut off after {after:?}: {how:?}");
            let late = after > DRAIN / 2;
            ensure!(
                late,
                "a viewer was disconnected after {after:?} of {DRAIN:?}"
            );
        }
    }
    Ok(())
}

/// Loads the same program under another name.
async fn next_image(namespace: &Namespace, image: &str) -> Result<String> {
    let kind = namespace.cluster.kind.as_deref();
    let kind = kind.context("this scenario loads an image: it needs a kind cluster")?;
    let next = format!("{image}-next");
    run_line(&format!("docker tag {image} {next}")).await?;
    run_line(&format!("kind load docker-image {next} --name {kind}")).await?;
    Ok(next)
}

async fn all_new(namespace: &Namespace, next: &str) -> Result<()> {
    let expected = "all Pods are new, and no old one is left";
    eventually(expected, DEADLINE, || async {
        let cluster: LiveCluster = namespace.get("demo").await?;
        let done = condition(&cluster, PROGRESSING).is_some_and(|it| it.status == "False");
        let status = cluster.status.unwrap_or_default();
        let terminating = status.edges.terminating_replicas + status.origins.terminating_replicas;
        let new = status.image.as_deref() == Some(next);
        ensure!(done && new && terminating == 0, "{status:?}");
        Ok(())
    })
    .await
}

const DRAIN: Duration = Duration::from_secs(30);
