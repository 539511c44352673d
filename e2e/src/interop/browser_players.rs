//! Players in a browser: the player page, and those of other projects that web pages embed.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::process::Process;
use crate::stage::Stage;

/// A browser of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Browser {
    Chromium,
    Firefox,
}

impl Browser {
    /// Its name for the driver.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Firefox => "firefox",
        }
    }
}

/// Players in one browser. Each plays until they are finished.
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
    /// Seconds that it has played.
    played: f64,
    /// The longest time for which the video did not move, in milliseconds.
    pub(super) standstill: u32,
    /// Width of the video, or 0 without one.
    pub(super) width: u32,
    /// It decodes audio.
    pub(super) sound: bool,
    /// Codecs and message that the player page shows.
    pub(super) codecs: String,
    pub(super) message: String,
    /// How often it was made to play on where it stood, and seconds that it has left out.
    pub(super) resumed: u32,
    #[expect(dead_code, reason = "errors show it")]
    skipped: f64,
    pub(super) errors: Vec<String>,
}

impl BrowserPlayers {
    /// Starts players, as `players.mjs` names them. Returns when all of them play.
    pub(super) async fn start(stage: &Stage, browser: Browser, players: &[String]) -> Result<Self> {
        let name = browser.name();
        let mut command = Command::new("node");
        command.args(["players.mjs", name]).args(players);
        command.current_dir(&stage.tools.browser);
        let mut players = Self {
            process: Process::start(name, &mut command, stage.folder())?,
            count: players.len(),
        };
        let play = |it: &PlayerReport| it.played > 0.5;
        players
            .until("all play", |all| all.iter().all(play))
            .await?;
        Ok(players)
    }

    /// Waits until each has played so many seconds more.
    pub(super) async fn play(&mut self, seconds: f64) -> Result<()> {
        let from: Vec<_> = self.seen().iter().map(|it| it.played).collect();
        let has_played = |(it, from): (&PlayerReport, &f64)| it.played >= from + seconds;
        let condition = |all: &[PlayerReport]| all.iter().zip(&from).all(has_played);
        self.until("all have played on", condition).await
    }

    /// Waits until what the players show fulfils a condition.
    pub(super) async fn until(
        &mut self,
        what: &str,
        condition: impl Fn(&[PlayerReport]) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let seen = self.seen();
            if seen.len() == self.count && condition(&seen) {
                return Ok(());
            }
            if !self.process.is_running() || Instant::now() > deadline {
                bail!("not: {what}: {seen:?}{}", self.process.last_output());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Closes the browser. Returns what all have shown, unless one of them reported an error.
    pub(super) async fn finish(mut self) -> Result<Vec<PlayerReport>> {
        let seen = self.seen();
        let is_fine = |it: &PlayerReport| it.width == 320 && it.errors.is_empty();
        ensure!(seen.iter().all(is_fine), "{seen:?}");
        self.process.interrupt()?;
        let closed = self.process.success(Duration::from_secs(30)).await;
        closed.context("close the browser")?;
        Ok(seen)
    }

    /// What they have shown so far.
    pub(super) fn seen(&self) -> Vec<PlayerReport> {
        let output = self.process.output();
        let mut lines = output.lines().rev();
        lines
            .find_map(|line| serde_json::from_str(line).ok())
            .unwrap_or_default()
    }
}

/// Time for whatever players do. A browser takes long to start on a host with other load.
const LIMIT: Duration = Duration::from_secs(60);
