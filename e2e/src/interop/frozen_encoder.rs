//! An encoder that freezes: for a moment, and nothing is lost; for good, and it is closed in time, its viewers are told of the
//! end, and the stream's name is free again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::stage::Stage;
use crate::media::ffmpeg;
use crate::media::process::Signal;
use crate::media::recording::{From, compare};
use crate::media::viewer::Viewer;

const IDLE: Duration = Duration::from_secs(5);
const CONTINUITY: Duration = Duration::from_secs(3);

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
    let mut viewers: Vec<Viewer> = nodes.all.iter().map(|node| Viewer::http(&node.http("live/frozen"))).collect();
    let mut encoder = ffmpeg::publish("for-a-moment", &clip, &url, stage.folder())?;
    some_seconds(&mut viewers).await?;
    encoder.signal(Signal::Stop)?;
    tokio::time::sleep(IDLE.mul_f32(0.6)).await;
    encoder.signal(Signal::Continue)?;
    encoder.success(Duration::from_secs(30)).await?;
    for viewer in &mut viewers {
        viewer.end(Duration::from_secs(15)).await?;
        compare(&sent, &viewer.recording(), From::Start).with_context(|| viewer.name().to_owned())?;
    }

    let mut viewers: Vec<Viewer> = nodes.all.iter().map(|node| Viewer::rtmp(&node.rtmp("live/frozen"))).collect();
    let frozen = ffmpeg::publish("for-good", &clip, &url, stage.folder())?;
    some_seconds(&mut viewers).await?;
    frozen.signal(Signal::Stop)?;
    let began = Instant::now();
    for viewer in &mut viewers {
        viewer.end(IDLE + CONTINUITY + Duration::from_secs(5)).await?;
    }
    let told = began.elapsed();
    ensure!(told >= IDLE, "the viewers were let go after {told:?}, limit {IDLE:?}");

    let mut viewer = Viewer::http(&nodes.origin().http("live/frozen"));
    let mut encoder = ffmpeg::publish("after", &clip, &url, stage.folder())?;
    encoder.success(Duration::from_secs(30)).await.context("a new encoder after the frozen one")?;
    viewer.end(Duration::from_secs(15)).await?;
    compare(&sent, &viewer.recording(), From::Start)?;
    nodes.stop().await?;
    Ok(format!("a frozen encoder's viewers were told of the end after {told:?} ({IDLE:?} + {CONTINUITY:?})"))
}

async fn some_seconds(viewers: &mut [Viewer]) -> Result<()> {
    for viewer in viewers {
        viewer.until("100 packets", Duration::from_secs(15), |seen| seen.recording.packets.len() > 100).await?;
    }
    Ok(())
}
