//! Each codec, published to each node in turn, comes whole out of every node by RTMP and HTTP-FLV at the same time:
//! every packet once, in order, in the encoder's time, for those who were there first and for those who come later.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::audience::Audience;
use super::nodes::Nodes;
use super::stage::Stage;
use crate::media::clip::{Clip, RECIPES, SECONDS};
use crate::media::comparison::{From, compare};
use crate::media::ffmpeg;
use crate::media::process::Process;
use crate::media::recording::Recording;

pub(super) async fn run(stage: Stage) -> Result<String> {
    let mut nodes = stage
        .nodes("playWaitSeconds: 50, continuitySeconds: 3")
        .await?;
    let mut streams = Vec::new();
    for (number, recipe) in RECIPES.iter().enumerate() {
        let clip = stage.clip(recipe.name).await?;
        let sent = ffmpeg::published(&clip, stage.folder()).await?;
        streams.push((number, clip, sent));
    }
    let playing = streams
        .into_iter()
        .map(|(number, clip, sent)| play(&stage, &nodes, number, clip, sent));
    let compared = futures::future::try_join_all(playing).await?;
    anyhow::ensure!(
        nodes.process.is_running(),
        "the nodes have ended{}",
        nodes.process.told()
    );
    nodes.stop().await?;
    let (viewers, packets) = compared
        .iter()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    Ok(format!(
        "{} streams, {viewers} viewers, {packets} packets compared",
        compared.len()
    ))
}

/// Viewers come this long after the encoder.
const LATE: Duration = Duration::from_secs(4);

/// The end comes when the encoder is not back in three seconds.
const END: Duration = Duration::from_secs(15);

/// One stream from its encoder to all who watch it; how many viewers and packets that were.
async fn play(
    stage: &Stage,
    nodes: &Nodes,
    number: usize,
    clip: Clip,
    sent: Recording,
) -> Result<(usize, usize)> {
    let stream = format!("live/{}", clip.recipe.name);
    let home = &nodes.all[number % nodes.all.len()];
    let mut early = Audience::waiting(nodes, &stream).await;
    let name = format!("publish-{}", clip.recipe.name);
    let mut encoder = ffmpeg::publish(&name, &clip, &home.rtmp(&stream), stage.folder())?;
    let mut players = Players::start(stage, nodes, number, &clip, &stream)?;

    tokio::time::sleep(LATE).await;
    let mut late = Audience::late(nodes, &stream);
    encoder
        .success(Duration::from_secs(u64::from(SECONDS) + 20))
        .await?;
    let published_to = || format!("published to {}", home.name);
    let mut packets = early.got(&sent, END).await.with_context(published_to)?;
    packets += late.got(&sent, END).await.with_context(published_to)?;
    let mut viewers = early.len() + late.len();
    // ffmpeg's own writing of what it reads differs in small things: metadata about colours, the first sound of Opus.
    let sent = ffmpeg::rewritten(&clip, stage.folder())
        .await?
        .as_ffmpeg_writes();
    for (what, file) in players.end().await? {
        let about = || format!("{what} (published to {})", home.name);
        let came = Recording::read(&file)?.as_ffmpeg_writes();
        packets += compare(&sent, &came, From::Keyframe).with_context(about)?;
        ffmpeg::decode(&clip.ffmpeg, &file)
            .await
            .with_context(about)?;
        viewers += 1;
    }
    Ok((viewers, packets))
}

/// ffmpeg as player, by HTTP-FLV from one node and by RTMP from another.
struct Players {
    running: Vec<(Process, PathBuf)>,
}

impl Players {
    fn start(
        stage: &Stage,
        nodes: &Nodes,
        number: usize,
        clip: &Clip,
        stream: &str,
    ) -> Result<Self> {
        let count = nodes.all.len();
        let http = nodes.all[(number + 1) % count].http(stream);
        let rtmp = nodes.all[(number + 2) % count].rtmp(stream);
        let name = clip.recipe.name;
        let record = |way: &str, url: &str| {
            ffmpeg::record(&clip.ffmpeg, &format!("{way}-{name}"), url, stage.folder())
        };
        Ok(Self {
            running: vec![record("http", &http)?, record("rtmp", &rtmp)?],
        })
    }

    async fn end(&mut self) -> Result<Vec<(String, PathBuf)>> {
        let mut files = Vec::new();
        for (process, file) in &mut self.running {
            process.success(Duration::from_secs(20)).await?;
            anyhow::ensure!(
                !process.output().contains("prematurely"),
                "the end was taken for a fault{}",
                process.told()
            );
            files.push((format!("ffmpeg's {}", file.display()), file.clone()));
        }
        Ok(files)
    }
}
