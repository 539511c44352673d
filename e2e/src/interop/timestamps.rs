//! Time runs over every edge of the formats: 24 bits (RTMP's extended timestamp), 31 bits (a sign), 32 bits (a wrap, after 49
//! days), and streams that do not begin at 0.

use std::time::Duration;

use anyhow::Result;

use super::audience::Audience;
use super::nodes::Nodes;
use super::stage::Stage;
use crate::media::ffmpeg;
use crate::media::recording::Recording;
use crate::media::rtmp::{Numbered, Publisher};

pub(super) async fn run(stage: Stage) -> Result<String> {
    let nodes = stage
        .nodes("playWaitSeconds: 20, continuitySeconds: 2")
        .await?;
    let (day, bits24, bits31, bits32) = (86_400_000, 1 << 24, 1 << 31, 0_u32);
    let edges = [
        ("day", day, 0),
        ("24-bits", bits24, 3000),
        ("31-bits", bits31, 3000),
        ("32-bits", bits32, 3000),
    ];
    let ours = edges.map(|(name, edge, before)| ours(&nodes, name, edge.wrapping_sub(before)));
    // Encoders of the field: chunk heads that carry deltas, and extended ones.
    let clips = [
        ("ffmpeg-day", 86_400),
        ("ffmpeg-24-bits", 16_773),
        ("ffmpeg-31-bits", 2_147_480),
    ];
    let theirs = clips.map(|(name, offset)| theirs(&stage, &nodes, name, offset));
    let (ours, theirs) = tokio::join!(
        futures::future::try_join_all(ours),
        futures::future::try_join_all(theirs)
    );
    let packets: usize = ours?.iter().chain(&theirs?).sum();
    nodes.stop().await?;
    Ok(format!("{packets} packets around 2^24, 2^31 and 2^32 ms"))
}

/// The stream ends two seconds after its encoder.
const END: Duration = Duration::from_secs(15);

async fn ours(nodes: &Nodes, name: &str, from: u32) -> Result<usize> {
    let stream = format!("live/{name}");
    let film = Numbered {
        from,
        ..Numbered::PLAIN
    }
    .messages(25 * 8);
    let mut audience = Audience::early(nodes, &stream, 1);
    let mut publisher = Publisher::open(&nodes.all[1].rtmp(&stream)).await?;
    publisher.play(&film).await?;
    publisher.finish().await?;
    audience.got(&Recording::of(&film), END).await
}

async fn theirs(stage: &Stage, nodes: &Nodes, name: &str, offset: u32) -> Result<usize> {
    let stream = format!("live/{name}");
    let clip = stage.clip("h264-bframes-aac").await?;
    let sent = ffmpeg::published(&clip, stage.folder()).await?;
    let mut audience = Audience::early(nodes, &stream, 0);
    let url = nodes.origin().rtmp(&stream);
    let mut encoder = ffmpeg::publish_shifted(name, &clip, offset, &url, stage.folder())?;
    encoder.success(Duration::from_secs(30)).await?;
    // ffmpeg's own time begins again at 0 there, which is a jump and becomes the length of one picture.
    let tolerance = if offset == 2_147_480 { 100 } else { 0 };
    audience.got_about(tolerance, &sent, END).await
}
