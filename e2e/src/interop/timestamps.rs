//! ffmpeg's streams arrive complete and at their pace where their timestamps start beyond a day and where they cross 2^24 ms, RTMP's
//! extended timestamp. ffmpeg sends what our own client does not: chunk headers with deltas, and extended ones.

use std::time::Duration;

use anyhow::Result;

use super::instance_viewers::InstanceViewers;
use crate::instances::Instances;
use crate::media::{Clip, ffmpeg};
use crate::stage::Stage;

pub(super) async fn run(stage: Stage) -> Result<()> {
    let settings = "playWaitSeconds: 20, continuitySeconds: 2";
    let instances = Instances::start(&stage, settings).await?;
    let streams = [("live/day", 86_400), ("live/24-bits", 16_773)];
    let published = streams.map(|(stream, seconds)| publish(&stage, &instances, stream, seconds));
    let packets = futures::future::try_join_all(published).await?;
    instances.stop().await?;
    let packets: usize = packets.iter().sum();
    stage.say(format_args!("{packets} packets beyond a day and 2^24 ms"));
    Ok(())
}

async fn publish(
    stage: &Stage,
    instances: &Instances,
    stream: &str,
    seconds: u32,
) -> Result<usize> {
    let clip = Clip {
        output_options: format!("-output_ts_offset {seconds}"),
        ..stage.clip("h264-bframes-aac").await?
    };
    let sent = ffmpeg::published(&clip, stage.folder()).await?;
    let mut viewers = InstanceViewers::early(instances, stream, 0);
    let url = instances.origin().rtmp(stream);
    let name = format!("publish-{seconds}");
    let mut encoder = ffmpeg::publish(&name, &clip, &url, stage.folder())?;
    encoder.success(Duration::from_secs(30)).await?;
    viewers.received(&sent, Duration::from_secs(15)).await
}
