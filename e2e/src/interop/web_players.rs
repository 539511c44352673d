//! The players of other projects that web pages embed, by HTTP-FLV and WebSocket, plain and by TLS, on pages of another site: they
//! play on while the encoder ends and starts again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::certificate::CertificateFiles;
use crate::instances::Instances;
use crate::media::{Clip, ffmpeg};
use crate::process::Process;
use crate::stage::Stage;

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

    let mut command = Command::new("node");
    command.args(["players.mjs", "/usr/bin/chromium"]);
    command.current_dir(&stage.tools.browser);
    let websocket = |url: String| url.replacen("http", "ws", 1);
    for (player, url) in [
        ("flv.js", second.http("live/web")),
        ("flv.js", websocket(origin.https("live/web"))),
        ("xgplayer", origin.http("live/web")),
        ("xgplayer", second.https("live/web")),
    ] {
        command.arg(format!("{player}={url}"));
    }
    let mut players = Process::start("players", &mut command, folder)?;
    players.prints("playing\n", Duration::from_secs(40)).await?;
    drop(encoder);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let _encoder = ffmpeg::publish("publish-again", &clip, &url, folder)?;
    players.success(Duration::from_secs(60)).await?;
    let output = players.output();
    let line = output.lines().last().unwrap_or_default();
    let seen: PlayersReport = serde_json::from_str(line).context("what the driver prints")?;
    let played = |player: &PlayerReport| player.width == 320 && player.frames > 100;
    let all = seen.players.iter().all(played);
    ensure!(all && seen.errors.is_empty(), "{seen:?}");
    instances.stop().await?;
    stage.say(format_args!("{} players", seen.players.len()));
    Ok(())
}

/// What `players.mjs` prints.
#[derive(Debug, Deserialize)]
struct PlayersReport {
    players: Vec<PlayerReport>,
    errors: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "the player and its time are shown in errors")]
struct PlayerReport {
    player: String,
    time: f64,
    frames: u32,
    width: u32,
}
