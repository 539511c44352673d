//! A stream is older than 12 days when its encoder starts again, so that its timestamps begin again: web players play on, over a new
//! connection, and players by RTMP and HTTP stay connected.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::browser_players::{Browser, BrowserPlayers};
use crate::instances::Instances;
use crate::media::{ClipEncoder, Packet, Seen, Viewer};
use crate::stage::Stage;

/// From this timestamp on, a stream begins its timestamps again with its next encoder, in milliseconds.
const OLD: u32 = 1 << 30;

/// The first timestamp.
const FIRST: u32 = OLD - 8000;

/// Seconds that each web player has to play, more than the stream lasts until its encoder starts again.
const SECONDS: f64 = 14.0;

pub(super) async fn run(stage: Stage) -> Result<()> {
    let settings = "playWaitSeconds: 20, continuitySeconds: 20";
    let instances = Instances::start(&stage, settings).await?;
    let clip = stage.clip("h264-aac").await?;
    let [origin, first, second] = &instances.all;
    let stream = "live/old";
    let url = first.rtmp(stream);
    let encoder = ClipEncoder::publish(&clip.file, &url, FIRST).await?;
    let mut viewers = [
        Viewer::watch(&origin.rtmp(stream)).await?,
        Viewer::watch(&second.http(stream)).await?,
    ];
    let players = [
        format!("page={}?stream={stream}", second.page()),
        format!(
            "mpegts.js={}",
            origin.http(stream).replacen("http", "ws", 1)
        ),
        format!("flv.js={}", second.http(stream)),
        format!("xgplayer={}", origin.http(stream)),
    ];
    let mut players = BrowserPlayers::start(&stage, Browser::Chromium, &players).await?;
    let restart = async {
        for viewer in &mut viewers {
            let is_old = |packet: &Packet| packet.timestamp > OLD;
            let until = |seen: &Seen| seen.recording.packets.iter().any(is_old);
            let limit = Duration::from_secs(20);
            viewer.until("12 days", limit, until).await?;
        }
        drop(encoder);
        tokio::time::sleep(Duration::from_secs(1)).await;
        ClipEncoder::publish(&clip.file, &url, 0).await
    };
    let ((), _encoder) = futures::try_join!(players.play(SECONDS), restart)?;
    let seen = players.finish().await?;
    for viewer in viewers {
        viewer.assert_connected()?;
        let frames = viewer.recording().frames();
        let mut pairs = frames.iter().zip(frames.iter().skip(1));
        let again = pairs.find(|(before, after)| after.timestamp < before.timestamp / 2);
        again.context("the timestamps do not begin again")?;
    }
    let reconnected = seen.iter().all(|player| player.connections != 1);
    ensure!(reconnected, "a player was not disconnected: {seen:?}");
    instances.stop().await?;
    let standstill = seen.iter().map(|player| player.standstill).max();
    stage.say(format_args!(
        "{} web players stood still for {} ms at most",
        seen.len(),
        standstill.unwrap_or_default()
    ));
    Ok(())
}
