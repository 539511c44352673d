//! Encoders and viewers of a scenario. A node that has just come, or lost what it knew, may refuse them for a moment.

use std::time::Duration;

use super::{Stage, eventually};
use crate::live::{Encoder, Viewer};

impl Stage {
    /// Publishes, as soon as the node can be reached.
    ///
    /// # Errors
    /// When it cannot within the limit, or refuses all the time.
    pub async fn published(&self, url: &str) -> anyhow::Result<Encoder> {
        let expected = format!("{url} takes a stream");
        eventually(&expected, PATIENCE, || Encoder::publish(url)).await
    }

    /// Publishes like an encoder that connects again when it is cut off.
    ///
    /// # Errors
    /// When the first connection does not come about.
    pub async fn published_stubbornly(&self, url: &str) -> anyhow::Result<Encoder> {
        let expected = format!("{url} takes a stream");
        eventually(&expected, PATIENCE, || Encoder::publish_stubbornly(url)).await
    }

    /// Watches, as soon as the stream can be had, and has seen the first second.
    ///
    /// # Errors
    /// When it cannot within the limit.
    pub async fn watched(&self, url: &str) -> anyhow::Result<Viewer> {
        let expected = format!("{url} is there");
        let mut viewer = eventually(&expected, PATIENCE, || Viewer::watch(url)).await?;
        viewer.sees_more(25, Duration::from_secs(15)).await?;
        Ok(viewer)
    }

    /// Waits until a stream of any encoder can be had at a URL.
    ///
    /// # Errors
    /// When it cannot within the limit.
    pub async fn plays(&self, url: &str) -> anyhow::Result<()> {
        let expected = format!("{url} plays");
        eventually(&expected, PATIENCE, || async {
            let mut viewer = Viewer::watch(url).await?;
            let came = |seen: &crate::live::Sightings| seen.headers > 0;
            viewer
                .until("its headers", Duration::from_secs(5), came)
                .await
        })
        .await
    }

    /// The folder of this scenario's logs.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self) -> anyhow::Result<std::path::PathBuf> {
        let folder = self.cluster.out.join(self.scenario);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// Until nodes know one another and their streams.
const PATIENCE: Duration = Duration::from_secs(30);
