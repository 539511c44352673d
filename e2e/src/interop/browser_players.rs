//! Players in a browser: the player page, and those of other projects that web pages embed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::process::Process;
use crate::stage::Stage;

/// Players that play until each has played its time.
pub(super) struct BrowserPlayers {
    process: Process,
    count: usize,
}

/// What a player has shown.
#[derive(Debug, Deserialize)]
pub(super) struct PlayerReport {
    /// `flv.js=http://127.0.0.1:8080/live/livestream.flv`.
    #[expect(dead_code, reason = "errors show it")]
    player: String,
    /// How often it connected; not of the player page.
    pub(super) connections: u32,
    #[expect(dead_code, reason = "errors show it")]
    played: f64,
    /// The longest time for which the video did not move, in milliseconds.
    pub(super) standstill: u32,
    /// Width of the video.
    pub(super) width: u32,
    pub(super) errors: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct PlayersReport {
    players: Vec<PlayerReport>,
}

impl BrowserPlayers {
    /// Starts players, as `players.mjs` names them. Returns when all of them play. From then on each is to play so many seconds.
    pub(super) async fn start(stage: &Stage, seconds: u32, players: &[String]) -> Result<Self> {
        let mut command = Command::new("node");
        command.args(["players.mjs", "/usr/bin/chromium", &seconds.to_string()]);
        command.args(players).current_dir(&stage.tools.browser);
        let mut process = Process::start("players", &mut command, stage.folder())?;
        process.prints("playing\n", Duration::from_secs(60)).await?;
        let count = players.len();
        Ok(Self { process, count })
    }

    /// Waits until all have played their time without an error. Returns what they showed.
    pub(super) async fn finish(mut self) -> Result<Vec<PlayerReport>> {
        self.process.success(Duration::from_secs(90)).await?;
        let output = self.process.output();
        let line = output.lines().last().unwrap_or_default();
        let seen: PlayersReport = serde_json::from_str(line).context("what the driver prints")?;
        let is_fine = |it: &PlayerReport| it.width == 320 && it.errors.is_empty();
        let all_fine = seen.players.len() == self.count && seen.players.iter().all(is_fine);
        ensure!(all_fine, "{seen:?}");
        Ok(seen.players)
    }
}
