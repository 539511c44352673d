//! A second encoder of a stream, on whatever node: it takes over and viewers go on (the default), or is refused by name.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::audience::Audience;
use super::stage::Stage;
use crate::media::comparison::compare_rounds;
use crate::media::ffmpeg;
use crate::media::recording::Recording;
use crate::media::rtmp::{Numbered, Publisher};
use crate::media::viewer::Seen;

pub(super) async fn run(stage: Stage) -> Result<String> {
    takes_over(&stage).await.context("takeover")?;
    refuses(&stage).await.context("reject")?;
    Ok("taken over on and between all nodes; refused with NetStream.Publish.BadName".to_owned())
}

async fn takes_over(stage: &Stage) -> Result<()> {
    let nodes = stage
        .nodes("playWaitSeconds: 20, continuitySeconds: 4")
        .await?;
    let mut audience = Audience::early(&nodes, "live/one", 0);
    let homes = [0, 0, 1, 1, 2, 0];
    let mut before: Option<Publisher> = None;
    let mut rounds = Vec::new();
    for (number, home) in homes.into_iter().enumerate() {
        let film = Numbered {
            mark: 100 + u32::try_from(number)?,
            ..Numbered::PLAIN
        }
        .messages(25 * 2);
        let mut publisher = Publisher::open(&nodes.all[home].rtmp("live/one")).await?;
        if let Some(mut zombie) = before {
            let why = zombie
                .refused(Duration::from_secs(5))
                .await
                .with_context(|| format!("the encoder before number {number}"))?;
            ensure!(!why.is_empty(), "the one before was closed without a word");
        }
        publisher
            .play(&film)
            .await
            .with_context(|| format!("encoder number {number}"))?;
        let sent = Recording::of(&film);
        let has_end = |seen: &Seen| seen.recording.has_end_of(&sent);
        audience
            .until("the film's end", Duration::from_secs(10), has_end)
            .await?;
        rounds.push(sent);
        before = Some(publisher);
    }
    before.context("an encoder")?.finish().await?;
    audience.ended(Duration::from_secs(15)).await?;
    for viewer in audience.viewers() {
        let recording = viewer.recording();
        recording
            .is_monotonic()
            .with_context(|| viewer.name().to_owned())?;
        compare_rounds(&rounds, &recording).with_context(|| viewer.name().to_owned())?;
    }
    nodes.stop().await
}

async fn refuses(stage: &Stage) -> Result<()> {
    let nodes = stage
        .nodes("duplicatePublish: reject, continuitySeconds: 2")
        .await?;
    let clip = stage.clip("h264-aac").await?;
    for first in &nodes.all {
        let stream = format!("live/{}", first.name);
        let mut publisher = Publisher::open(&first.rtmp(&stream)).await?;
        let film = Numbered::PLAIN.messages(25 * 6);
        let others = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            for second in &nodes.all {
                let about = || format!("published on {}, then on {}", first.name, second.name);
                let refused = Publisher::open(&second.rtmp(&stream))
                    .await
                    .err()
                    .with_context(about)?;
                ensure!(
                    format!("{refused:#}").contains("NetStream.Publish.BadName"),
                    "{}: {refused:#}",
                    about()
                );
            }
            let mut encoder = ffmpeg::publish(
                &format!("second-{}", first.name),
                &clip,
                &first.rtmp(&stream),
                stage.folder(),
            )?;
            let status = encoder
                .exit(Duration::from_secs(5))
                .await
                .context("ffmpeg, refused")?;
            ensure!(!status.success(), "ffmpeg was not refused");
            Ok::<_, anyhow::Error>(())
        };
        let (played, refused) = tokio::join!(publisher.play(&film), others);
        played.context("the first encoder was disturbed")?;
        refused?;
        publisher.finish().await?;
    }
    nodes.stop().await
}
