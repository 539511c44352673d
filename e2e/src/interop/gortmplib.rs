//! gortmplib, the RTMP library of MediaMTX, plays a stream, and publishes it again to another instance: every frame, of legacy and of
//! Enhanced RTMP.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use media_wire::MediaKind;
use tokio::process::Command;

use crate::instances::Instances;
use crate::media::{Packet, Recording, Viewer, ffmpeg};
use crate::process::Process;
use crate::stage::Stage;

pub(super) async fn run(stage: Stage) -> Result<()> {
    let settings = "playWaitSeconds: 20, continuitySeconds: 2";
    let instances = Instances::start(&stage, settings).await?;
    let clips = ["h264-bframes-aac", "hevc-aac", "av1-opus"];
    let published = clips.map(|clip| publish_again(&stage, &instances, clip));
    let frames = futures::future::try_join_all(published).await?;
    instances.stop().await?;
    let frames: usize = frames.iter().sum();
    stage.say(format_args!("{frames} frames of {} streams", clips.len()));
    Ok(())
}

/// Publishes a clip, and watches what gortmplib makes of it. Returns the number of frames.
async fn publish_again(stage: &Stage, instances: &Instances, clip: &str) -> Result<usize> {
    let (clip, folder) = (stage.clip(clip).await?, stage.folder());
    let sent = ffmpeg::published(&clip, folder).await?;
    let [origin, first, second] = &instances.all;
    let (stream, again) = (
        format!("live/{}", clip.name),
        format!("again/{}", clip.name),
    );
    let mut viewer = Viewer::start(&second.http(&again));
    let mut command = Command::new(&stage.tools.gortmplib);
    command.args([origin.rtmp(&stream), first.rtmp(&again)]);
    let mut player = Process::start(&format!("gortmplib-{}", clip.name), &mut command, folder)?;
    // The player and the viewer wait for their streams.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let name = format!("publish-{}", clip.name);
    let mut encoder = ffmpeg::publish(&name, &clip, &origin.rtmp(&stream), folder)?;
    encoder.success(Duration::from_secs(30)).await?;
    player.success(Duration::from_secs(20)).await?;
    viewer.ends(Duration::from_secs(15)).await?;
    let received = viewer.recording();
    received.assert_monotonic().context(again.clone())?;
    let counts = (frames(sent), frames(received));
    ensure!(
        counts.0 == counts.1,
        "{again}: sent and received (video, audio): {counts:?}"
    );
    Ok(counts.1.0 + counts.1.1)
}

/// Returns the numbers of video and audio frames from the first keyframe on, where a viewer starts; without the end of the sequence,
/// which is shorter than a frame.
fn frames(recording: Recording) -> (usize, usize) {
    let mut frames = recording.as_ffmpeg_writes().frames();
    frames.retain(|it| it.size > 5);
    let is_video = |it: &&Packet| it.kind == MediaKind::Video;
    let video = frames.iter().filter(is_video).count();
    (video, frames.len() - video)
}
