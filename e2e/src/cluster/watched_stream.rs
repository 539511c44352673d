//! A stream of a scenario, with its encoder and a viewer.

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;

use super::{Namespace, Reach};
use crate::media::{Codecs, Encoder, Viewer};
use crate::wait::{MEDIA, eventually, holds};

/// The stream of scenarios that need only one.
pub const STREAM: &str = "live/livestream";

/// A stream that is published at one place and watched at another.
#[derive(Debug)]
pub struct WatchedStream {
    /// Publishes it.
    pub encoder: Encoder,
    /// Watches it by HTTP-FLV.
    pub viewer: Viewer,
}

impl WatchedStream {
    /// Fails if the encoder or the viewer was disconnected.
    pub fn assert_connected(&self) -> Result<()> {
        self.viewer.assert_connected()?;
        self.encoder.assert_undisturbed()
    }

    /// Fails if the encoder or the viewer is disconnected within this time.
    pub async fn assert_goes_on(&self, span: Duration) -> Result<()> {
        let connected = || async { self.assert_connected() };
        holds("the stream goes on", span, connected).await
    }

    /// Fails unless both are connected, and the viewer has received everything from a keyframe up to now.
    pub fn assert_uninterrupted(&self) -> Result<()> {
        self.assert_connected()?;
        self.viewer.assert_uninterrupted(&self.encoder)
    }
}

impl Namespace {
    /// Publishes and watches a stream. Returns when the viewer has received the first second.
    pub async fn watched_stream(
        &self,
        name: &str,
        publish: &Reach,
        play: &Reach,
    ) -> Result<WatchedStream> {
        let encoder = self.published(&publish.rtmp(name)).await?;
        let viewer = self.watched(&play.http(name)).await?;
        Ok(WatchedStream { encoder, viewer })
    }

    /// Publishes as soon as the Pod accepts the stream. A Pod that has just started may refuse it for a moment.
    pub async fn published(&self, url: &str) -> Result<Encoder> {
        let expected = format!("{url} accepts a stream");
        eventually(&expected, ACCEPTED, || Encoder::publish(url)).await
    }

    /// Publishes as [`Namespace::published`], with an encoder that connects again when it is cut off.
    pub async fn published_persistently(&self, url: &str) -> Result<Encoder> {
        let expected = format!("{url} accepts a stream");
        let publish = || Encoder::publish_persistently(url, Vec::new(), Codecs::default());
        eventually(&expected, ACCEPTED, publish).await
    }

    /// Watches as soon as the stream is there, and returns when the first second has been received.
    pub async fn watched(&self, url: &str) -> Result<Viewer> {
        let expected = format!("{url} is there");
        let mut viewer = eventually(&expected, ACCEPTED, || Viewer::watch(url)).await?;
        viewer.sees_more(25, MEDIA).await?;
        Ok(viewer)
    }

    /// Watches each of these URLs as [`Namespace::watched`], at the same time.
    pub async fn all_watched(&self, urls: &[String]) -> Result<Vec<Viewer>> {
        try_join_all(urls.iter().map(|url| self.watched(url))).await
    }
}

/// Until Pods have found each other and their streams, which takes a second on a quiet host.
const ACCEPTED: Duration = Duration::from_secs(60);
