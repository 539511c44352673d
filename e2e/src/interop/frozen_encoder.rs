//! An encoder that freezes: for a moment, and nothing is lost; for good, and it is closed in time, the stream ends for its viewers,
//! and its name is free again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::audience::Audience;
use crate::instances::Instances;
use crate::media::{Seen, ffmpeg};
use crate::process::Signal;
use crate::stage::Stage;

const IDLE: Duration = Duration::from_secs(5);
const CONTINUITY: Duration = Duration::from_secs(3);
const STARTED: Duration = Duration::from_secs(15);
const END: Duration = Duration::from_secs(15);
const PUBLISHED: Duration = Duration::from_secs(30);

pub(super) async fn run(stage: Stage) -> Result<()> {
    let settings = format!(
        "playWaitSeconds: 20, publishIdleTimeoutSeconds: {}, continuitySeconds: {}",
        IDLE.as_secs(),
        CONTINUITY.as_secs()
    );
    let instances = Instances::start(&stage, &settings).await?;
    let clip = stage.clip("h264-bframes-aac").await?;
    let sent = ffmpeg::published("", &clip, stage.folder()).await?;
    let url = instances.all[1].rtmp("live/frozen");
    let audience = || Audience::early(&instances, "live/frozen", 1);
    let publish = |name| ffmpeg::publish(name, &clip, &url, stage.folder());

    let mut viewers = audience();
    let mut encoder = publish("for-a-moment")?;
    viewers.until("100 packets", STARTED, has_started).await?;
    encoder.signal(Signal::Stop)?;
    tokio::time::sleep(IDLE.mul_f32(0.6)).await;
    encoder.signal(Signal::Continue)?;
    encoder.success(PUBLISHED).await?;
    let received = viewers.received(&sent, END).await;
    received.context("frozen for a moment")?;

    let mut viewers = audience();
    let frozen = publish("for-good")?;
    viewers.until("100 packets", STARTED, has_started).await?;
    frozen.signal(Signal::Stop)?;
    let start = Instant::now();
    let limit = IDLE + CONTINUITY + Duration::from_secs(5);
    viewers.ended(limit).await?;
    let ended = start.elapsed();
    ensure!(
        ended >= IDLE,
        "the stream ended after {ended:?}, before {IDLE:?}"
    );

    let mut viewers = audience();
    let mut encoder = publish("after")?;
    let published = encoder.success(PUBLISHED).await;
    published.context("an encoder after the frozen one")?;
    let received = viewers.received(&sent, END).await;
    received.context("after the frozen one")?;
    instances.stop().await?;
    stage.say(format_args!(
        "a frozen encoder's stream ended after {ended:?} ({IDLE:?} + {CONTINUITY:?})"
    ));
    Ok(())
}

fn has_started(seen: &Seen) -> bool {
    seen.recording.packets.len() > 100
}
