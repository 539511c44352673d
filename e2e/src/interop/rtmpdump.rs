//! librtmp, which most old players are built on, completes a genuine digest handshake and plays from every instance.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::instances::Instances;
use crate::media::judge::assert_complete;
use crate::media::{ExpectedStart, Recording, ffmpeg};
use crate::process::{self, Process};
use crate::stage::Stage;

pub(super) async fn run(stage: Stage) -> Result<()> {
    let settings = "playWaitSeconds: 20, continuitySeconds: 2";
    let instances = Instances::start(&stage, settings).await?;
    let (clip, folder) = (stage.clip("h264-bframes-aac").await?, stage.folder());
    let mut sent = ffmpeg::published(&clip, folder).await?;
    // librtmp drops what is too short to be a video frame: the end of the sequence.
    sent.packets.retain(|packet| packet.size > 5);
    let mut players = Vec::new();
    for instance in &instances.all {
        let file = folder.join(format!("{}.flv", instance.name));
        let url = instance.rtmp("live/dump");
        // Only with a player's hash does it offer the digest form of the handshake.
        let hash = "ab".repeat(32);
        let mut command = process::command(&format!(
            "rtmpdump --verbose --live --rtmp {url} --swfhash {hash} --swfsize 1000 --flv"
        ));
        let player = Process::start(instance.name, command.arg(&file), folder)?;
        players.push((player, file));
    }
    let url = instances.origin().rtmp("live/dump");
    let mut encoder = ffmpeg::publish("publish", &clip, &url, folder)?;
    encoder.success(Duration::from_secs(30)).await?;
    let mut packets = 0;
    for (player, file) in &mut players {
        let ended = player.success(Duration::from_secs(20)).await;
        ended.context("the stream's end")?;
        let about = file.display().to_string();
        let genuine = player.output().contains("Genuine Adobe Flash Media Server");
        let last = player.last_output();
        ensure!(genuine, "{about}: no digest handshake{last}");
        let received = Recording::read(file)?;
        packets +=
            assert_complete(&sent, &received, ExpectedStart::Within(5_000)).context(about)?;
    }
    instances.stop().await?;
    stage.say(format_args!(
        "{packets} packets by {} players",
        players.len()
    ));
    Ok(())
}
