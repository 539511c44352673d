//! Twenty encoders on all nodes, and five hundred viewers of one stream on one edge: nobody loses a packet, and the edge pulls
//! once.

use std::time::Duration;

use anyhow::{Context, Result};

use super::nodes::Node;
use super::stage::Stage;
use crate::media::comparison::{From, compare};
use crate::media::recording::Recording;
use crate::media::rtmp::{Numbered, Publisher};
use crate::media::viewer::Viewer;

const PUBLISHERS: usize = 20;
const VIEWERS: usize = 500;

pub(super) async fn run(stage: Stage) -> Result<String> {
    let nodes = stage
        .nodes("playWaitSeconds: 20, continuitySeconds: 3")
        .await?;
    let film = Numbered {
        keyframe: 6_000,
        picture: 1_000,
        ..Numbered::PLAIN
    };
    let mut publishing = Vec::new();
    let mut watching = Vec::new();
    for number in 0..PUBLISHERS {
        let film = Numbered {
            mark: u32::try_from(number)?,
            ..film
        }
        .messages(25 * 15);
        let home = &nodes.all[number % nodes.all.len()];
        let elsewhere = &nodes.all[(number + 1) % nodes.all.len()];
        let stream = format!("live/crowd-{number}");
        let sent = Recording::of(&film);
        if number == 0 {
            let edge = nodes.all.last().context("an edge")?;
            watching.extend(crowd(edge, &stream).map(|viewer| (viewer, sent.clone())));
        }
        watching.push((Viewer::http(&elsewhere.http(&stream)), sent.clone()));
        watching.push((Viewer::rtmp(&elsewhere.rtmp(&stream)), sent));
        let url = home.rtmp(&stream);
        publishing.push(async move {
            let mut publisher = Publisher::open(&url).await?;
            publisher.play(&film).await?;
            publisher.finish().await
        });
    }
    futures::future::try_join_all(publishing).await?;
    let (mut packets, mut silence) = (0, Duration::ZERO);
    for (viewer, sent) in &mut watching {
        viewer.end(Duration::from_secs(20)).await?;
        packets += compare(sent, &viewer.recording(), From::Keyframe)
            .with_context(|| viewer.name().to_owned())?;
        silence = silence.max(viewer.look(|seen| seen.longest_silence));
    }
    nodes.stop().await?;
    Ok(format!(
        "{PUBLISHERS} publishers, {} viewers, {packets} packets, longest silence {silence:?}",
        watching.len()
    ))
}

fn crowd(edge: &Node, stream: &str) -> impl Iterator<Item = Viewer> {
    let (http, rtmp) = (edge.http(stream), edge.rtmp(stream));
    (0..VIEWERS).map(move |number| {
        if number % 2 == 0 {
            Viewer::http(&http)
        } else {
            Viewer::rtmp(&rtmp)
        }
    })
}
