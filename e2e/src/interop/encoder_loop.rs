//! The encoder's loop of the SRS guide: ffmpeg ends, a second passes, it starts again. Viewers on every node stay, time goes
//! on, every packet of every round comes once, and what ffmpeg wrote without decoding decodes without an error.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::audience::Audience;
use super::nodes::Nodes;
use super::stage::Stage;
use crate::media::clip::Clip;
use crate::media::comparison::compare_rounds;
use crate::media::ffmpeg;
use crate::media::recording::Recording;

/// How often the encoder comes back.
const RESTARTS: usize = 5;

/// Seconds of each round.
const ROUND: &str = "4";

/// Viewers wait so long for the encoder to come back; the loop pauses for one second.
const CONTINUITY: Duration = Duration::from_secs(6);

pub(super) async fn run(stage: Stage) -> Result<String> {
    let settings = format!(
        "playWaitSeconds: 20, continuitySeconds: {}",
        CONTINUITY.as_secs()
    );
    let nodes = stage.nodes(&settings).await?;
    let plain = stage.clip("h264-aac").await?;
    let reordered = stage.clip("h264-bframes-aac").await?;
    let sound = stage.clip("aac-only").await?;
    let at = |round: usize| round % nodes.all.len();
    let outcomes = futures::try_join!(
        watch(&stage, &nodes, "same-node", |_| (0, &plain)),
        watch(&stage, &nodes, "same-edge", |_| (1, &reordered)),
        // The encoder comes back to another node, and with another encoding.
        watch(&stage, &nodes, "moves", |round| (
            at(round),
            if round % 2 == 0 { &plain } else { &reordered }
        )),
        watch(&stage, &nodes, "sound", |_| (2, &sound)),
    )?;
    nodes.stop().await?;
    let packets = outcomes.0 + outcomes.1 + outcomes.2 + outcomes.3;
    Ok(format!(
        "4 streams over {RESTARTS} restarts, {packets} packets compared on 6 viewers each"
    ))
}

async fn watch<'a>(
    stage: &Stage,
    nodes: &Nodes,
    name: &str,
    round: impl Fn(usize) -> (usize, &'a Clip),
) -> Result<usize> {
    let stream = format!("live/{name}");
    let mut audience = Audience::early(nodes, &stream, 0);
    let mut players = Vec::new();
    for (way, url) in [
        ("http", nodes.all[2].http(&stream)),
        ("rtmp", nodes.all[1].rtmp(&stream)),
    ] {
        let recorder = &stage.tools.ffmpegs.debian;
        players.push(ffmpeg::record(
            recorder,
            &format!("{name}-{way}"),
            &url,
            stage.folder(),
        )?);
    }
    let mut rounds = Vec::new();
    for number in 0..=RESTARTS {
        let (node, clip) = round(number);
        let options = ["-re", "-t", ROUND];
        rounds.push(ffmpeg::published_with(clip, &options[1..], stage.folder()).await?);
        let url = nodes.all[node].rtmp(&stream);
        let file = format!("{name}-publish-{number}");
        let mut encoder = ffmpeg::publish_with(&file, clip, &options, &url, stage.folder())?;
        encoder
            .success(Duration::from_secs(20))
            .await
            .with_context(|| file)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        audience
            .is_connected()
            .with_context(|| format!("after round {number}"))?;
    }
    let mut packets = 0;
    audience.ended(CONTINUITY + Duration::from_secs(10)).await?;
    for viewer in audience.viewers() {
        let recording = viewer.recording();
        recording
            .is_monotonic()
            .with_context(|| viewer.name().to_owned())?;
        packets += compare_rounds(&rounds, &recording).with_context(|| viewer.name().to_owned())?;
    }
    for (player, file) in &mut players {
        player
            .success(Duration::from_secs(20))
            .await
            .context("ffmpeg as a player")?;
        let recording = Recording::read(file)?;
        recording
            .is_monotonic()
            .with_context(|| file.display().to_string())?;
        ensure!(
            recording.packets.len() > rounds.len() * 80,
            "{} has {} packets",
            file.display(),
            recording.packets.len()
        );
        ffmpeg::decode(&stage.tools.ffmpegs.debian, file).await?;
    }
    Ok(packets)
}
