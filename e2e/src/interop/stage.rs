//! What a scenario has at hand: tools, a folder, films, and nodes to be started.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::nodes::Nodes;
use crate::media::clip::{Clip, Ffmpegs, Recipe};

/// Programs that are not ours, and our own compiled ones.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Folder of the compiled operator and media-node.
    pub binaries: PathBuf,
    /// Debian's and the newest.
    pub ffmpegs: Ffmpegs,
    /// A Python that has the package websockets.
    pub python: PathBuf,
    /// Folder of the browser's driver.
    pub browser: PathBuf,
}

/// What one scenario has at hand.
#[derive(Debug)]
pub struct Stage {
    /// Programs.
    pub tools: Tools,
    folder: PathBuf,
    clips: PathBuf,
}

impl Stage {
    /// With an empty folder of the scenario's own.
    pub fn new(tools: Tools, out: &Path, name: &str) -> Result<Self> {
        let folder = out.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).context("empty the scenario's folder")?;
        }
        let clips = out.join("clips");
        for folder in [&folder, &clips] {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("create {}", folder.display()))?;
        }
        Ok(Self {
            tools,
            folder,
            clips,
        })
    }

    /// Where the scenario's logs and files go.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A film, made when it is not there yet.
    pub async fn clip(&self, name: &str) -> Result<Clip> {
        Recipe::of(name)?
            .make(&self.tools.ffmpegs, &self.clips)
            .await
    }

    /// Starts one origin and two edges, with these settings of `spec.stream`.
    pub async fn nodes(&self, stream: &str) -> Result<Nodes> {
        Nodes::start(self, 1, 2, stream).await
    }
}
