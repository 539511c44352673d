//! A second ffmpeg for the same stream fails where duplicates are rejected, on every instance, and the first one goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::instances::{Instance, Instances};
use crate::media::judge::assert_complete;
use crate::media::{Clip, ExpectedStart, Viewer, ffmpeg};
use crate::stage::Stage;

pub(super) async fn run(stage: Stage) -> Result<()> {
    let clip = stage.clip("h264-aac").await?;
    let settings = "duplicatePublish: reject, playWaitSeconds: 50, continuitySeconds: 2";
    let instances = Instances::start(&stage, settings).await?;
    let homes = instances.all.iter();
    let refused = homes.map(|home| refuses(&stage, &clip, home));
    futures::future::try_join_all(refused).await?;
    instances.stop().await
}

async fn refuses(stage: &Stage, clip: &Clip, home: &Instance) -> Result<()> {
    let (stream, folder) = (format!("live/{}", home.name), stage.folder());
    let mut viewer = Viewer::start(&home.http(&stream));
    let publish = |name: &str| {
        let name = format!("{name}-{}", home.name);
        ffmpeg::publish(&name, clip, &home.rtmp(&stream), folder)
    };
    let mut first = publish("first")?;
    viewer.sees_more(1, Duration::from_secs(30)).await?;
    let mut second = publish("second")?;
    let ended = second.exit(Duration::from_secs(30)).await;
    let ended = ended.context("the second ffmpeg")?;
    ensure!(!ended.success(), "the second ffmpeg was not refused");
    let published = first.success(Duration::from_secs(30)).await;
    published.context("the first ffmpeg was disturbed")?;
    viewer.ends(Duration::from_secs(15)).await?;
    let sent = ffmpeg::published(clip, folder).await?;
    assert_complete(&sent, &viewer.recording(), ExpectedStart::Beginning).map(drop)
}
