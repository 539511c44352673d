//! librtmp, which most old players are built on, finds a genuine digest handshake and plays from every node.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::stage::Stage;
use crate::media::comparison::{From, compare};
use crate::media::ffmpeg;
use crate::media::process::Process;
use crate::media::recording::Recording;

pub(super) async fn run(stage: Stage) -> Result<String> {
    let nodes = stage
        .nodes("playWaitSeconds: 20, continuitySeconds: 2")
        .await?;
    let clip = stage.clip("h264-bframes-aac").await?;
    // librtmp drops what is too short to be a picture: the end of the sequence.
    let sent = ffmpeg::published(&clip, stage.folder())
        .await?
        .without(|packet| packet.size <= 5);
    let mut players = Vec::new();
    for node in &nodes.all {
        let file = stage.folder().join(format!("{}.flv", node.name));
        let mut command = Command::new("rtmpdump");
        command.args(["--verbose", "--live", "--rtmp", &node.rtmp("live/dump")]);
        // Only with a player's hash does it offer the digest form of the handshake.
        command
            .args(["--swfhash", &"ab".repeat(32), "--swfsize", "1000", "--flv"])
            .arg(&file);
        players.push((
            Process::start(&node.name, &mut command, stage.folder())?,
            file,
        ));
    }
    let mut encoder = ffmpeg::publish(
        "publish",
        &clip,
        &nodes.origin().rtmp("live/dump"),
        stage.folder(),
    )?;
    encoder.success(Duration::from_secs(30)).await?;
    let mut packets = 0;
    for (player, file) in &mut players {
        let about = file.display().to_string();
        player
            .success(Duration::from_secs(20))
            .await
            .context("the stream's end")?;
        let said = player.output();
        ensure!(
            said.contains("Genuine Adobe Flash Media Server"),
            "{about}: no digest handshake{}",
            player.told()
        );
        packets += compare(&sent, &Recording::read(file)?, From::Within(5_000)).context(about)?;
    }
    nodes.stop().await?;
    Ok(format!(
        "digest handshake and {packets} packets by {} players",
        players.len()
    ))
}
