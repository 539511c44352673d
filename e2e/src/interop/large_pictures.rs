//! Keyframes of megabytes, as 4K has them, and a minute from one keyframe to the next: whole for those who watch, and a viewer
//! that comes late starts at the keyframe at once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::audience::Audience;
use super::nodes::Nodes;
use super::stage::Stage;
use crate::media::recording::Recording;
use crate::media::rtmp::{Numbered, Publisher};
use crate::media::viewer::Seen;

/// 20 Mbit/s with a keyframe of 3 MB every two seconds.
const FOUR_K: Numbered = Numbered {
    from: 0,
    step: 40,
    group: 50,
    keyframe: 3_000_000,
    picture: 40_000,
    mark: 1,
};

/// 8 Mbit/s, and one keyframe.
const LONG_GROUP: Numbered = Numbered {
    from: 0,
    step: 40,
    group: 100_000,
    keyframe: 200_000,
    picture: 40_000,
    mark: 2,
};

pub(super) async fn run(stage: Stage) -> Result<String> {
    let nodes = stage
        .nodes("playWaitSeconds: 20, continuitySeconds: 2")
        .await?;
    let (large, long) = tokio::join!(
        watch(&nodes, "live/4k", FOUR_K, Duration::from_secs(12)),
        watch(&nodes, "live/long", LONG_GROUP, Duration::from_secs(25)),
    );
    let (large, long) = (
        large.context("4K")?,
        long.context("one long group of pictures")?,
    );
    nodes.stop().await?;
    Ok(format!(
        "a late viewer's first picture came after {large:?} and {long:?}"
    ))
}

/// How long the slowest late viewer waited for its first picture.
async fn watch(nodes: &Nodes, stream: &str, film: Numbered, length: Duration) -> Result<Duration> {
    let pictures = u32::try_from(length.as_millis()).context("a length")? / film.step;
    let film = film.messages(pictures);
    let sent = Recording::of(&film);
    let mut early = Audience::early(nodes, stream, 1);
    let mut publisher = Publisher::open(&nodes.all[1].rtmp(stream)).await?;
    let late = async {
        tokio::time::sleep(length * 2 / 3).await;
        let came = Instant::now();
        let mut late = Audience::late(nodes, stream);
        let has_picture = |seen: &Seen| seen.recording.packets.iter().any(|packet| packet.keyframe);
        late.until("a keyframe", Duration::from_secs(5), has_picture)
            .await?;
        anyhow::Ok((late, came.elapsed()))
    };
    let (played, late) = tokio::join!(publisher.play(&film), late);
    played?;
    let (mut late, waited) = late?;
    publisher.finish().await?;
    for audience in [&mut early, &mut late] {
        audience.got(&sent, Duration::from_secs(20)).await?;
    }
    ensure!(
        waited < Duration::from_secs(3),
        "a late viewer waited {waited:?} for its first picture"
    );
    Ok(waited)
}
