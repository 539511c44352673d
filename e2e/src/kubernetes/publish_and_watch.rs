//! The project's first example: one origin and two edges. A stream published to any of them plays on each.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::try_join;

use crate::cluster::{Namespace, Reach};
use crate::media::judge::{ExpectedStart, assert_complete};
use crate::media::{Seen, Viewer};
use crate::process::{self, Process, run as run_line};
use crate::wait::{DEADLINE, MEDIA, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    namespace.kubectl_apply(EXAMPLE).await?;
    namespace.ready("http-flv").await?;
    // Every Pod, and the edges' Service.
    let mut places = namespace.reach_pods("http-flv", "origin").await?;
    places.extend(namespace.reach_pods("http-flv", "edge").await?);
    places.push(namespace.reach_role("http-flv", "edge").await?);
    let [origin, edge, _, service] = places.as_slice() else {
        bail!("expected an origin, two edges and their Service, seen {places:?}");
    };

    try_join!(
        publish_to(&namespace, origin, "live/to-origin", &places),
        publish_to(&namespace, edge, "live/to-edge", &places),
        ffmpeg(&namespace, service, edge),
    )?;
    Ok(())
}

/// Publishes half a minute at one place, and watches by both protocols at all of them.
async fn publish_to(
    namespace: &Namespace,
    place: &Reach,
    stream: &str,
    places: &[Reach],
) -> Result<()> {
    namespace.say(format_args!("{stream} is published at {}", place.rtmp));
    let encoder = namespace.published(&place.rtmp(stream)).await?;
    let mut viewers = Vec::new();
    for place in places {
        for url in [place.http(stream), place.rtmp(stream)] {
            viewers.push(Viewer::watch(&url).await?);
        }
    }
    for viewer in &mut viewers {
        let long = |seen: &Seen| seen.recording.video_frames().count() >= 25 * 30;
        let limit = Duration::from_secs(60);
        viewer.until("half a minute", limit, long).await?;
        viewer.assert_uninterrupted(&encoder)?;
    }
    let sent = encoder.stop().await?;
    for viewer in &mut viewers {
        let ended = |seen: &Seen| seen.recording.has_end_of(&sent);
        viewer.until("the last frame", MEDIA, ended).await?;
        let complete = assert_complete(&sent, &viewer.recording(), ExpectedStart::Keyframe);
        complete.with_context(|| viewer.url().to_owned())?;
    }
    Ok(())
}

/// ffmpeg publishes through the Service; at an edge ffprobe finds the codecs, and ffmpeg decodes five seconds without an error.
async fn ffmpeg(namespace: &Namespace, service: &Reach, edge: &Reach) -> Result<()> {
    namespace.say("ffmpeg publishes, ffprobe and ffmpeg watch");
    let url = service.rtmp("live/ffmpeg");
    let mut publish = process::command(&format!(
        "ffmpeg -nostdin -loglevel error -re -stream_loop -1 -i {CLIP} -c copy -f flv {url}"
    ));
    let _encoder = Process::start("ffmpeg", &mut publish, namespace.stage.folder())?;
    let url = edge.http("live/ffmpeg");
    let expected = format!("{url} plays");
    eventually(&expected, DEADLINE, || async {
        let mut viewer = Viewer::watch(&url).await?;
        viewer.sees_more(1, MEDIA).await
    })
    .await?;
    for url in [url, edge.rtmp("live/ffmpeg")] {
        let probe = "ffprobe -loglevel error -show_entries stream=codec_name -of csv=p=0";
        let found = run_line(&format!("{probe} {url}")).await?;
        let mut codecs: Vec<_> = found.lines().collect();
        codecs.sort_unstable();
        ensure!(codecs == ["aac", "h264"], "{url}: {codecs:?}");
        let decode = "ffmpeg -nostdin -loglevel error -xerror -i";
        run_line(&format!("{decode} {url} -t 5 -f null -")).await?;
    }
    Ok(())
}

/// The clip of `livecluster local --demo`.
const CLIP: &str = "operator/cli/demo/clip.flv";

const EXAMPLE: &str = include_str!("../../../crds/examples/http-flv.yaml");
