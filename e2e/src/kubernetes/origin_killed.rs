//! An origin dies, by `kill -9` and by the loss of its Pod. Viewers stay connected and watch on; an encoder that publishes to an edge
//! does not notice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::try_join;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use crate::cluster::{Namespace, container, is_ready};
use crate::media::judge::assert_ordered;
use crate::media::{Encoder, Viewer};
use crate::wait::{DEADLINE, eventually};

/// What viewers may wait longer than until Kubernetes has another origin ready.
const LONGER: Duration = Duration::from_secs(10);

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    // Another origin is ready within seconds, but not on a host with other load.
    let patient = json!({"stream": {"continuitySeconds": DEADLINE.as_secs()}});
    namespace.apply_ready("demo", patient).await?;
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

    let mut longest = Duration::ZERO;
    if namespace.may_break("kill -9 of the origin's process") {
        namespace.say("kill -9 of the origin's process");
        let pod = origin_pod(&namespace).await?;
        namespace.signal(&pod, "KILL").await?;
        longest = watch_on(&namespace, &pod, &mut viewers).await?;
    }
    namespace.say("the origin's Pod is lost");
    let pod = origin_pod(&namespace).await?;
    let line = format!("delete pod {} --force --grace-period=0", pod.name_any());
    namespace.kubectl(&line).await?;
    longest = watch_on(&namespace, &pod, &mut viewers).await?.max(longest);

    by_edge.assert_undisturbed()?;
    for (viewer, encoder) in &viewers {
        let (url, seen) = (viewer.url(), viewer.seen());
        let stall = seen.longest_stall();
        namespace.say(format_args!("{url}: {stall:?} without a video frame"));
        ensure!(
            stall < longest + LONGER,
            "{url}: {stall:?} without a video frame, and another origin is ready after {longest:?}"
        );
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

/// Waits until every viewer has received five more seconds on the same connection. Returns the time until another origin is ready than
/// the one that died, or the same one in another container.
async fn watch_on(
    namespace: &Namespace,
    died: &Pod,
    viewers: &mut [(Viewer, &Encoder)],
) -> Result<Duration> {
    let start = Instant::now();
    let another = async {
        eventually("another origin is ready", DEADLINE, || async {
            let pod = origin_pod(namespace).await?;
            let ready = is_ready(&pod) && container(&pod) != container(died);
            ensure!(ready, "{}", pod.name_any());
            Ok(start.elapsed())
        })
        .await
    };
    let viewers = viewers.iter_mut().map(|(viewer, _)| viewer);
    let (after, ()) = try_join!(another, Viewer::all_see_more(viewers, 25 * 5, DEADLINE))?;
    let seconds = after.as_secs();
    namespace.say(format_args!("another origin is ready after {seconds} s"));
    Ok(after)
}
