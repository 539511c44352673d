//! What every scenario has: its name, a folder of its own, and the programs that are not ours.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::media::{Clip, Ffmpegs};

/// Programs and folders that all scenarios share.
#[derive(clap::Args, Clone, Debug)]
pub struct Tools {
    /// Folder of the compiled `livecluster`.
    #[arg(long, default_value = "target/debug")]
    pub binaries: PathBuf,
    /// The two ffmpegs.
    #[command(flatten)]
    pub ffmpegs: Ffmpegs,
    /// A Python that has the package websockets.
    #[arg(long, default_value = "python3")]
    pub python: PathBuf,
    /// The program of e2e/interop/gortmplib.
    #[arg(long, default_value = "gortmplib")]
    pub gortmplib: PathBuf,
    /// Folder of the browser's driver.
    #[arg(long, default_value = "e2e/browser")]
    pub browser: PathBuf,
    /// Folder of logs, recordings and screenshots.
    #[arg(long, default_value = "e2e/out")]
    pub out: PathBuf,
}

/// What one scenario has.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The scenario's name.
    pub scenario: &'static str,
    /// Programs and folders that all scenarios share.
    pub tools: Arc<Tools>,
    folder: PathBuf,
    start: Instant,
}

impl Stage {
    /// Creates a stage with an empty folder: files of an earlier run would mislead.
    pub fn new(scenario: &'static str, tools: Arc<Tools>, start: Instant) -> Result<Self> {
        let folder = tools.out.join(scenario);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).context("empty the scenario's folder")?;
        }
        create(&folder)?;
        Ok(Self {
            scenario,
            tools,
            folder,
            start,
        })
    }

    /// Prints what the scenario does or measured, with the time since the run started.
    pub fn say(&self, what: impl std::fmt::Display) {
        say(self.start, format_args!("{}: {what}", self.scenario));
    }

    /// The folder of the scenario's logs and files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns a clip, which is encoded at its first use.
    pub async fn clip(&self, name: &str) -> Result<Clip> {
        let clips = self.tools.out.join("clips");
        create(&clips)?;
        Clip::encode(name, &self.tools.ffmpegs, &clips).await
    }
}

/// Prints a line with the seconds since the run started.
pub(crate) fn say(start: Instant, what: impl std::fmt::Display) {
    println!("{:4}s  {what}", start.elapsed().as_secs());
}

fn create(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))
}
