//! ffmpeg's timestamps pass unchanged where they start beyond a day, and where they cross 2^24 ms (RTMP's extended timestamp) and 2^31
//! ms (a sign). ffmpeg sends what our own client does not: chunk headers with deltas, and extended ones.

use std::time::Duration;

use anyhow::Result;

use super::audience::Audience;
use crate::instances::Instances;
use crate::media::ffmpeg;
use crate::stage::Stage;

pub(super) async fn run(stage: Stage) -> Result<()> {
    let settings = "playWaitSeconds: 20, continuitySeconds: 2";
    let instances = Instances::start(&stage, settings).await?;
    // ffmpeg's own time starts again at 0 beyond 2^31, which is a jump and becomes the length of one video frame.
    let streams = [
        ("day", 86_400, 0),
        ("24-bits", 16_773, 0),
        ("31-bits", 2_147_480, 100),
    ];
    let published = streams
        .map(|(name, seconds, tolerance)| publish(&stage, &instances, name, seconds, tolerance));
    let packets = futures::future::try_join_all(published).await?;
    instances.stop().await?;
    let packets: usize = packets.iter().sum();
    stage.say(format_args!(
        "{packets} packets beyond a day, 2^24 and 2^31 ms"
    ));
    Ok(())
}

async fn publish(
    stage: &Stage,
    instances: &Instances,
    name: &str,
    seconds: u32,
    tolerance: u32,
) -> Result<usize> {
    let (stream, folder) = (format!("live/{name}"), stage.folder());
    let clip = stage.clip("h264-bframes-aac").await?;
    let sent = ffmpeg::published("", &clip, folder).await?;
    let mut audience = Audience::early(instances, &stream, 0);
    let url = instances.origin().rtmp(&stream);
    let mut encoder = ffmpeg::publish_shifted(seconds, name, &clip, &url, folder)?;
    encoder.success(Duration::from_secs(30)).await?;
    let end = Duration::from_secs(15);
    audience.received_within(tolerance, &sent, end).await
}
