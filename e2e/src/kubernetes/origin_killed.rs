//! An origin dies, by `kill -9` and by the loss of its Pod. Viewers stay connected and watch on; an encoder that publishes to an edge
//! does not notice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use crate::cluster::Namespace;
use crate::media::judge::assert_ordered;
use crate::media::{Encoder, Viewer};

/// A container is up again within seconds; DNS and a new Pod may take longer. Viewers are kept for 30 s.
const STALL: Duration = Duration::from_secs(25);

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    namespace.apply_ready("demo", json!({})).await?;
    let origin = namespace.reach_role("demo", "origin").await?;
    let edges = namespace.reach_pods("demo", "edge").await?;
    let (first, second) = (&edges[0], &edges[1]);

    let by_edge = namespace.published(&first.rtmp("live/by-edge")).await?;
    let direct = origin.rtmp("live/direct");
    let direct = namespace.published_persistently(&direct).await?;
    let mut viewers = Vec::new();
    for (url, encoder) in [
        (first.http("live/by-edge"), &by_edge),
        (second.http("live/by-edge"), &by_edge),
        (second.rtmp("live/by-edge"), &by_edge),
        (first.http("live/direct"), &direct),
        (second.rtmp("live/direct"), &direct),
    ] {
        viewers.push((namespace.watched(&url).await?, encoder));
    }

    if namespace.may_break("kill -9 of the origin's process") {
        namespace.say("kill -9 of the origin's process");
        let pod = origin_pod(&namespace).await?;
        namespace.signal(&pod, "KILL").await?;
        watch_on(&mut viewers).await?;
    }
    namespace.say("the origin's Pod is lost");
    let name = origin_pod(&namespace).await?.name_any();
    let line = format!("delete pod {name} --force --grace-period=0");
    namespace.kubectl(&line).await?;
    watch_on(&mut viewers).await?;

    by_edge.assert_undisturbed()?;
    for (viewer, encoder) in &viewers {
        let (url, seen) = (viewer.url(), viewer.seen());
        let stall = seen.longest_stall();
        namespace.say(format_args!("{url}: {stall:?} without a video frame"));
        ensure!(stall < STALL, "{url}: expected no stall of {STALL:?}");
        let ordered = assert_ordered(&encoder.sent(), &seen.recording);
        ordered.with_context(|| url.to_owned())?;
    }
    // Viewers on the encoder's edge read its own log, whatever happens to origins.
    viewers[0].0.assert_uninterrupted(&by_edge)
}

async fn origin_pod(namespace: &Namespace) -> Result<Pod> {
    let origins = namespace.pods("demo", "origin").await?;
    origins.into_iter().next().context("no origin")
}

/// Waits until every viewer has received five more seconds on the same connection.
async fn watch_on(viewers: &mut [(Viewer, &Encoder)]) -> Result<()> {
    let viewers = viewers.iter_mut().map(|(viewer, _)| viewer);
    let limit = STALL + Duration::from_secs(5);
    Viewer::all_see_more(viewers, 25 * 5, limit).await
}
