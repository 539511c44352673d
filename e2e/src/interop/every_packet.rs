//! Each codec, published to each instance in turn, arrives complete from every instance by RTMP and HTTP-FLV at the same time: every
//! packet once, in order, at the encoder's pace, for viewers that are there first and for those that come later.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::instance_viewers::InstanceViewers;
use crate::instances::Instances;
use crate::media::judge::assert_complete;
use crate::media::{Clip, ExpectedStart, Recording, ffmpeg};
use crate::stage::Stage;

/// How long after the encoder the late viewers come.
const LATE: Duration = Duration::from_secs(4);

/// The stream ends when the encoder is not back within three seconds.
const END: Duration = Duration::from_secs(15);

pub(super) async fn run(stage: Stage) -> Result<()> {
    let settings = "playWaitSeconds: 50, continuitySeconds: 3";
    let instances = Instances::start(&stage, settings).await?;
    let mut streams = Vec::new();
    for (number, name) in Clip::names().enumerate() {
        let clip = stage.clip(name).await?;
        let sent = ffmpeg::published(&clip, stage.folder()).await?;
        streams.push((number, clip, sent));
    }
    let playing = streams
        .into_iter()
        .map(|(number, clip, sent)| play(&stage, &instances, number, clip, sent));
    let compared = futures::future::try_join_all(playing).await?;
    instances.stop().await?;
    let viewers: usize = compared.iter().map(|(viewers, _)| viewers).sum();
    let packets: usize = compared.iter().map(|(_, packets)| packets).sum();
    let streams = compared.len();
    stage.say(format_args!(
        "{streams} streams, {viewers} viewers, {packets} packets compared"
    ));
    Ok(())
}

/// Publishes one stream and compares what its viewers received. Returns how many viewers and packets that were.
async fn play(
    stage: &Stage,
    instances: &Instances,
    number: usize,
    clip: Clip,
    sent: Recording,
) -> Result<(usize, usize)> {
    let (name, folder) = (clip.name, stage.folder());
    let stream = format!("live/{name}");
    let instance = |offset: usize| &instances.all[(number + offset) % instances.all.len()];
    let home = instance(0);
    let mut early = InstanceViewers::waiting(instances, &stream).await;
    let publish = format!("publish-{name}");
    let mut encoder = ffmpeg::publish(&publish, &clip, &home.rtmp(&stream), folder)?;
    let record =
        |way: &str, url| ffmpeg::record(&clip.ffmpeg, &format!("{way}-{name}"), url, folder);
    let players = [
        record("http", &instance(1).http(&stream))?,
        record("rtmp", &instance(2).rtmp(&stream))?,
    ];

    tokio::time::sleep(LATE).await;
    let mut late = InstanceViewers::late(instances, &stream);
    let limit = Duration::from_secs(Clip::SECONDS + 20);
    encoder.success(limit).await?;
    let about = || format!("{name}, published to {}", home.name);
    let mut packets = early.received(&sent, END).await.with_context(about)?;
    packets += late.received(&sent, END).await.with_context(about)?;
    // What ffmpeg records differs in small things: colour metadata, the first audio frame of Opus.
    let sent = ffmpeg::rewritten(&clip, folder).await?.as_ffmpeg_writes();
    let viewers = early.len() + late.len() + players.len();
    for (mut player, file) in players {
        let about = || format!("{} (published to {})", file.display(), home.name);
        player.success(Duration::from_secs(20)).await?;
        let cut = player.output().contains("prematurely");
        let last = player.last_output();
        ensure!(!cut, "ffmpeg takes the end for a fault{last}");
        let received = Recording::read(&file)?.as_ffmpeg_writes();
        let compared = assert_complete(&sent, &received, ExpectedStart::Keyframe);
        packets += compared.with_context(about)?;
        let decoded = ffmpeg::decode(&clip.ffmpeg, &file).await;
        decoded.with_context(about)?;
    }
    Ok((viewers, packets))
}
