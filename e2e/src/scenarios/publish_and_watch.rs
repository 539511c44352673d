//! The cluster that the project is about: one origin, two edges, published to and watched on every one of them.

use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

use crate::cluster::{Reach, Stage};
use crate::live::{Sightings, Viewer};
use crate::media::process;

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    stage.kubectl_apply(EXAMPLE).await?;
    stage.ready("http-flv").await?;
    let places = places(&stage).await?;
    let [origin, edge, .., service] = places.as_slice() else {
        anyhow::bail!("expected an origin, two edges and their Service, seen {places:?}");
    };

    publish_to(&stage, origin, "live/to-origin", &places).await?;
    publish_to(&stage, edge, "live/to-edge", &places).await?;
    real_programs(&stage, service, edge).await
}

/// Every node, and last the edges' Service.
async fn places(stage: &Stage) -> anyhow::Result<Vec<Reach>> {
    let mut places = Vec::new();
    for role in ["origin", "edge"] {
        places.extend(stage.reach_pods("http-flv", role).await?);
    }
    places.push(stage.reach_role("http-flv", "edge").await?);
    Ok(places)
}

/// Publishes at one place, watches by both protocols at all of them.
async fn publish_to(
    stage: &Stage,
    place: &Reach,
    stream: &str,
    places: &[Reach],
) -> anyhow::Result<()> {
    stage.say(format!(
        "{stream}: published at {}, watched everywhere",
        place.rtmp
    ));
    let encoder = stage.published(&place.rtmp(stream)).await?;
    let mut viewers = Vec::new();
    for place in places {
        for url in [place.flv(stream), place.rtmp(stream)] {
            viewers.push(Viewer::watch(&url).await?);
        }
    }
    for viewer in &mut viewers {
        let long = |seen: &Sightings| seen.pictures().count() >= 25 * 30;
        viewer
            .until("half a minute", Duration::from_secs(60), long)
            .await?;
    }
    let last = encoder.stop().await?;
    for viewer in &mut viewers {
        let all = format!("picture {last}, the last one");
        viewer
            .until(&all, Duration::from_secs(10), |seen| {
                seen.newest() == Some(last)
            })
            .await?;
        let seen = viewer.sightings();
        seen.is_well_formed().context(viewer.url().to_owned())?;
        seen.has_no_gap().context(viewer.url().to_owned())?;
    }
    Ok(())
}

/// ffmpeg publishes through the Service; ffprobe knows the codecs at an edge, and ffmpeg decodes five seconds without an error.
async fn real_programs(stage: &Stage, service: &Reach, edge: &Reach) -> anyhow::Result<()> {
    stage.say("ffmpeg publishes, ffprobe and ffmpeg watch");
    let publish = format!(
        "ffmpeg -nostdin -loglevel error -re -stream_loop -1 -i {CLIP} -c copy -f flv {}",
        service.rtmp("live/ffmpeg")
    );
    let _encoder = process::Process::start("ffmpeg", &mut command(&publish), &stage.folder()?)?;
    let url = edge.flv("live/ffmpeg");
    stage.plays(&url).await?;
    for url in [url, edge.rtmp("live/ffmpeg")] {
        let probe =
            format!("ffprobe -loglevel error -show_entries stream=codec_name -of csv=p=0 {url}");
        let mut codecs: Vec<_> = run_line(&probe).await?.lines().map(str::to_owned).collect();
        codecs.sort();
        anyhow::ensure!(
            codecs == ["aac", "h264"],
            "{url}: expected aac and h264, seen {codecs:?}"
        );
        let decode = format!("ffmpeg -nostdin -loglevel error -xerror -i {url} -t 5 -f null -");
        run_line(&decode).await?;
    }
    Ok(())
}

async fn run_line(line: &str) -> anyhow::Result<String> {
    process::run(&mut command(line), Duration::from_secs(60)).await
}

fn command(line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// The clip of `livecluster local --demo`.
const CLIP: &str = "operator/cli/demo/clip.flv";

const EXAMPLE: &str = include_str!("../../../crds/examples/http-flv.yaml");
