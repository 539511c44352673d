//! The player page in Chromium and Firefox plays on when the encoder starts again, when its edge is killed and starts again, and with other
//! codecs. A codec that the browser cannot play is named, and the next one plays. A stream without video may get one. MP3 sounds in both.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::try_join;
use tokio::time::sleep;

use super::browser_players::{Browser, BrowserPlayers, PlayerReport};
use crate::instances::Instances;
use crate::media::{Clip, ffmpeg};
use crate::process::Process;
use crate::stage::Stage;

/// Seconds that each player has to play after a change, more than it has buffered.
const SECONDS: f64 = 3.0;

/// How often the encoder starts again at most until Chromium has run out of audio at a time when the page looks.
const RESTARTS: u32 = 20;

pub(super) async fn run(stage: Stage) -> Result<()> {
    let settings = "playWaitSeconds: 20, continuitySeconds: 20";
    let instances = Instances::start(&stage, settings).await?;
    let [origin, edge, watched] = &instances.all;
    let url = edge.rtmp("live/page");
    let publish = async |name| encoder(&stage, name, &url).await;
    let _mp3 = encoder(&stage, "h264-mp3", &edge.rtmp("live/mp3")).await?;
    let mut encoder = publish("h264-aac").await?;
    let mut pages = Pages::open(
        &stage,
        &[
            format!("page={}?stream=live/page", watched.page()),
            format!("page={}?stream=live/mp3&transport=http", origin.page()),
        ],
    )
    .await?;
    let sound = |all: &[PlayerReport]| {
        let codecs = all.iter().zip(["AAC", "MP3"]);
        let mut sounds = codecs.map(|(it, codec)| it.sound && it.codecs.contains(codec));
        sounds.all(|it| it)
    };
    pages.all_show("AAC and MP3 sound", sound).await?;
    for restart in 1.. {
        drop(encoder);
        sleep(Duration::from_secs(1)).await;
        encoder = publish("h264-aac").await?;
        pages.all_play().await?;
        // Chromium waits for more audio each time that it has run out of it, unless the page lets it play on.
        if pages.chromium.seen().iter().any(|it| it.resumed > 0) {
            stage.say(format_args!(
                "the page let Chromium play on after {restart} restarts"
            ));
            break;
        }
        ensure!(restart < RESTARTS, "Chromium: {:?}", pages.chromium.seen());
    }
    instances.kill(watched).await?;
    sleep(Duration::from_secs(1)).await;
    instances.start_again(watched).await?;
    pages.all_play().await?;
    for (clip, codec) in [
        ("av1-opus", "AV1"),
        ("hevc-aac", "HEVC"),
        ("aac-only", "AAC"),
        ("h264-aac", "H.264"),
    ] {
        drop(encoder);
        encoder = publish(clip).await?;
        // It plays it, or says why not. The video's codec is the first one.
        let shows =
            |page: &PlayerReport| page.codecs.starts_with(codec) || page.message.contains(codec);
        pages
            .all_show(codec, |all| all.first().is_some_and(shows))
            .await?;
    }
    let all_have_video = |all: &[PlayerReport]| all.iter().all(|it| it.width > 0);
    pages.all_show("video", all_have_video).await?;
    pages.all_play().await?;
    let seen = pages.finish().await?;
    let silent = seen.iter().all(|it| it.message.is_empty());
    ensure!(silent, "a page shows a message: {seen:?}");
    instances.stop().await
}

/// The player pages in both browsers.
struct Pages {
    chromium: BrowserPlayers,
    firefox: BrowserPlayers,
}

impl Pages {
    async fn open(stage: &Stage, players: &[String]) -> Result<Self> {
        let (chromium, firefox) = try_join!(
            BrowserPlayers::start(stage, Browser::Chromium, players),
            BrowserPlayers::start(stage, Browser::Firefox, players),
        )?;
        Ok(Self { chromium, firefox })
    }

    /// Waits until all have played on.
    async fn all_play(&mut self) -> Result<()> {
        try_join!(self.chromium.play(SECONDS), self.firefox.play(SECONDS)).map(drop)
    }

    /// Waits until what the pages of each browser show fulfils a condition.
    async fn all_show(
        &mut self,
        what: &str,
        condition: impl Fn(&[PlayerReport]) -> bool,
    ) -> Result<()> {
        self.chromium.until(what, &condition).await?;
        self.firefox.until(what, &condition).await
    }

    async fn finish(self) -> Result<Vec<PlayerReport>> {
        let mut seen = self.chromium.finish().await?;
        seen.extend(self.firefox.finish().await?);
        Ok(seen)
    }
}

/// Publishes a clip in a loop.
async fn encoder(stage: &Stage, name: &str, url: &str) -> Result<Process> {
    let clip = Clip {
        input_options: "-stream_loop -1",
        ..stage.clip(name).await?
    };
    ffmpeg::publish(&format!("publish-{name}"), &clip, url, stage.folder())
}
