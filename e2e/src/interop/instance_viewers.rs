//! Viewers of one stream on every instance, by RTMP and by HTTP-FLV at the same time.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use crate::instances::Instances;
use crate::media::judge::assert_complete;
use crate::media::{ExpectedStart, Recording, Viewer};

/// One viewer on each instance by each protocol.
#[derive(Debug)]
pub(super) struct InstanceViewers {
    viewers: Vec<(Viewer, ExpectedStart)>,
}

impl InstanceViewers {
    /// Starts viewers before the encoder, which publishes to the instance of this number.
    pub(super) fn early(instances: &Instances, stream: &str, home: usize) -> Self {
        // Any other instance has to find the stream first.
        let start = |number| {
            if number == home {
                ExpectedStart::Beginning
            } else {
                ExpectedStart::Within(5_000)
            }
        };
        Self::start(instances, stream, start)
    }

    /// Starts viewers whose instances have all asked the origins before the encoder publishes: they receive all of it, wherever
    /// it is published and wherever they are.
    pub(super) async fn waiting(instances: &Instances, stream: &str) -> Self {
        let viewers = Self::start(instances, stream, |_| ExpectedStart::Beginning);
        tokio::time::sleep(Duration::from_secs(1)).await;
        viewers
    }

    /// Starts viewers of a stream that is there.
    pub(super) fn late(instances: &Instances, stream: &str) -> Self {
        Self::start(instances, stream, |_| ExpectedStart::Keyframe)
    }

    fn start(instances: &Instances, stream: &str, start: impl Fn(usize) -> ExpectedStart) -> Self {
        let mut viewers = Vec::new();
        for (number, instance) in instances.all.iter().enumerate() {
            for url in [instance.http(stream), instance.rtmp(stream)] {
                viewers.push((Viewer::start(&url), start(number)));
            }
        }
        Self { viewers }
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.viewers.len()
    }

    /// What each of them has received.
    pub(super) fn recordings(&self) -> impl Iterator<Item = (String, Recording)> {
        let viewers = self.viewers.iter();
        viewers.map(|(viewer, _)| (viewer.url().to_owned(), viewer.recording()))
    }

    /// Fails when one of them was disconnected.
    pub(super) fn assert_connected(&self) -> Result<()> {
        let mut viewers = self.viewers.iter();
        viewers.try_for_each(|(viewer, _)| viewer.assert_connected())
    }

    /// Fails unless the stream ends for all of them in time, and they have received what was sent. Returns the number of packets
    /// that were compared.
    pub(super) async fn received(&mut self, sent: &Recording, limit: Duration) -> Result<usize> {
        self.ended(limit).await?;
        let mut packets = 0;
        for (viewer, start) in &self.viewers {
            let compared = assert_complete(sent, &viewer.recording(), *start);
            packets += compared.with_context(|| viewer.url().to_owned())?;
        }
        Ok(packets)
    }

    /// Fails unless the server ends the stream for all of them in time.
    pub(super) async fn ended(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        for (viewer, _) in &mut self.viewers {
            let left = deadline.saturating_duration_since(Instant::now());
            viewer.ends(left).await?;
        }
        Ok(())
    }
}
