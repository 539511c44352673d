//! The players of other projects that web pages embed, by HTTP-FLV and WebSocket, plain and by TLS, on pages of another site: they
//! play on over the same connection while the encoder ends and starts again. The player page plays the first of two video tracks.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::browser_players::{Browser, BrowserPlayers};
use crate::certificate::CertificateFiles;
use crate::instances::Instances;
use crate::media::{Clip, ffmpeg};
use crate::stage::Stage;

/// Seconds that each player has to play: more than it has buffered, and than the encoder is gone.
const SECONDS: f64 = 6.0;

pub(super) async fn run(stage: Stage) -> Result<()> {
    let folder = stage.folder();
    let certificate = CertificateFiles::make(folder, "certificate", "127.0.0.1").await?;
    let settings = "playWaitSeconds: 20, continuitySeconds: 20";
    let instances = Instances::start_with_tls(&stage, settings, &certificate).await?;
    let clip = Clip {
        input_options: "-stream_loop -1",
        ..stage.clip("h264-aac").await?
    };
    let [origin, first, second] = &instances.all;
    let url = first.rtmp("live/web");
    let encoder = ffmpeg::publish("publish", &clip, &url, folder)?;
    let two_tracks = Clip {
        ffmpeg: stage.tools.ffmpegs.newest.clone(),
        output_options: "-map 0 -map 0:v".to_owned(),
        ..clip.clone()
    };
    let url_of_two = first.rtmp("live/two-tracks");
    let _two_tracks = ffmpeg::publish("publish-two", &two_tracks, &url_of_two, folder)?;
    let websocket = |url: String| url.replacen("http", "ws", 1);
    let players = [
        format!("flv.js={}", second.http("live/web")),
        format!("flv.js={}", websocket(origin.https("live/web"))),
        format!("xgplayer={}", origin.http("live/web")),
        format!("xgplayer={}", second.https("live/web")),
        format!("page={}?stream=live/two-tracks", second.page()),
    ];
    let mut players = BrowserPlayers::start(&stage, Browser::Chromium, &players).await?;
    let restart = async {
        drop(encoder);
        tokio::time::sleep(Duration::from_secs(1)).await;
        ffmpeg::publish("publish-again", &clip, &url, folder)
    };
    let ((), _encoder) = futures::try_join!(players.play(SECONDS), restart)?;
    let seen = players.finish().await?;
    // Those of the player page are not counted.
    let stayed = seen.iter().all(|player| player.connections <= 1);
    ensure!(stayed, "a player connected again: {seen:?}");
    instances.stop().await?;
    stage.say(format_args!("{} players", seen.len()));
    Ok(())
}
