//! An encoder that freezes: for a moment, and nothing is lost; for good, and it is closed in time, its viewers are told of the
//! end, and the stream's name is free again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::audience::Audience;
use super::stage::Stage;
use crate::media::ffmpeg;
use crate::media::process::Signal;
use crate::media::viewer::Seen;

const IDLE: Duration = Duration::from_secs(5);
const CONTINUITY: Duration = Duration::from_secs(3);
const STARTED: Duration = Duration::from_secs(15);
const END: Duration = Duration::from_secs(15);

pub(super) async fn run(stage: Stage) -> Result<String> {
    let settings = format!(
        "playWaitSeconds: 20, publishIdleTimeoutSeconds: {}, continuitySeconds: {}",
        IDLE.as_secs(),
        CONTINUITY.as_secs()
    );
    let nodes = stage.nodes(&settings).await?;
    let clip = stage.clip("h264-bframes-aac").await?;
    let sent = ffmpeg::published(&clip, stage.folder()).await?;
    let url = nodes.all[1].rtmp("live/frozen");
    let mut audience = Audience::early(&nodes, "live/frozen", 1);
    let mut encoder = ffmpeg::publish("for-a-moment", &clip, &url, stage.folder())?;
    audience.until("100 packets", STARTED, has_begun).await?;
    encoder.signal(Signal::Stop)?;
    tokio::time::sleep(IDLE.mul_f32(0.6)).await;
    encoder.signal(Signal::Continue)?;
    encoder.success(Duration::from_secs(30)).await?;
    audience
        .got(&sent, END)
        .await
        .context("frozen for a moment")?;

    let mut audience = Audience::early(&nodes, "live/frozen", 1);
    let frozen = ffmpeg::publish("for-good", &clip, &url, stage.folder())?;
    audience.until("100 packets", STARTED, has_begun).await?;
    frozen.signal(Signal::Stop)?;
    let began = Instant::now();
    audience
        .ended(IDLE + CONTINUITY + Duration::from_secs(5))
        .await?;
    let told = began.elapsed();
    ensure!(
        told >= IDLE,
        "the viewers were let go after {told:?}, limit {IDLE:?}"
    );

    let mut audience = Audience::early(&nodes, "live/frozen", 1);
    let mut encoder = ffmpeg::publish("after", &clip, &url, stage.folder())?;
    encoder
        .success(Duration::from_secs(30))
        .await
        .context("a new encoder after the frozen one")?;
    audience
        .got(&sent, END)
        .await
        .context("after the frozen one")?;
    nodes.stop().await?;
    Ok(format!(
        "a frozen encoder's viewers were told of the end after {told:?} ({IDLE:?} + {CONTINUITY:?})"
    ))
}

fn has_begun(seen: &Seen) -> bool {
    seen.recording.packets.len() > 100
}
