//! A viewer that reads nothing for a while loses pictures, goes on at a keyframe with whole packets, is counted, and costs the
//! others nothing.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::stage::Stage;
use crate::media::comparison::{From, compare};
use crate::media::process;
use crate::media::recording::{Packet, Recording};
use crate::media::rtmp::{Numbered, Publisher};
use crate::media::viewer::Viewer;

/// 10 Mbit/s.
const FILM: Numbered = Numbered {
    from: 0,
    step: 40,
    group: 50,
    keyframe: 200_000,
    picture: 50_000,
    mark: 3,
};

pub(super) async fn run(stage: Stage) -> Result<String> {
    let nodes = stage
        .nodes("playWaitSeconds: 20, continuitySeconds: 2, windowSeconds: 4")
        .await?;
    let edge = &nodes.all[1];
    let film = FILM.messages(25 * 30);
    let sent = Recording::of(&film);
    let url = edge.http("live/slow");
    let mut others = vec![Viewer::http(&url), Viewer::rtmp(&edge.rtmp("live/slow"))];
    let mut slow = Viewer::that_stops_reading(&url, 1 << 20, Duration::from_secs(18));
    let mut publisher = Publisher::open(&nodes.origin().rtmp("live/slow")).await?;
    publisher.play(&film).await?;
    publisher.finish().await?;

    for viewer in &mut others {
        viewer.end(Duration::from_secs(15)).await?;
        compare(&sent, &viewer.recording(), From::Within(5_000))
            .with_context(|| viewer.name().to_owned())?;
        let silence = viewer.look(|seen| seen.longest_silence);
        ensure!(
            silence < Duration::from_secs(1),
            "{} waited {silence:?}",
            viewer.name()
        );
    }
    slow.end(Duration::from_secs(15))
        .await
        .context("the slow one")?;
    let lost = gaps(&sent, &slow.recording()).context("the slow one")?;
    let mut curl = tokio::process::Command::new("curl");
    curl.args([
        "--silent",
        "--fail",
        "--max-time",
        "5",
        &edge.internal("/metrics"),
    ]);
    let metrics = process::run(&mut curl, Duration::from_secs(10)).await?;
    let lags = metrics
        .lines()
        .filter(|line| line.starts_with("live_viewer_lags_total"));
    let counted = lags
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum::<f64>();
    ensure!(counted >= 1.0, "the lag is not counted in\n{metrics}");
    nodes.stop().await?;
    Ok(format!(
        "the slow one lost {lost} of {} packets, {counted} lags counted",
        sent.media().len()
    ))
}

/// How many packets are missing; fails unless what came is in order, each once, and goes on at a keyframe after each gap.
fn gaps(sent: &Recording, received: &Recording) -> Result<usize> {
    let sent = sent.media();
    let mut at = 0;
    let mut lost = 0;
    let mut waits = false;
    received.is_monotonic()?;
    for packet in received.media() {
        let same = |sent: &Packet| sent.kind == packet.kind && sent.hash == packet.hash;
        let Some(step) = sent.iter().skip(at).position(same) else {
            bail!("{packet:?} came out of order, twice or damaged");
        };
        lost += step;
        waits |= step > 0;
        if waits {
            let is_video = packet.kind == media_wire::MediaKind::Video;
            ensure!(
                !is_video || packet.keyframe,
                "the picture goes on without a keyframe: {packet:?}"
            );
            waits = !is_video;
        }
        at += step + 1;
    }
    ensure!(
        at == sent.len(),
        "the last {} packets are missing",
        sent.len() - at
    );
    ensure!(lost > 0, "nothing was lost: the viewer was not slow");
    Ok(lost)
}
