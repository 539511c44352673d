//! The stream of a row: its encoder, its audience, and the count of what the one sent and the other received.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::media::{Encoder, Recording};
use tokio::time::sleep;

use super::audience::{Audience, EdgeReach};
use super::figures::{self, Figures};

pub(crate) const STREAM: &str = "live/ledger";

/// A stream that is published at the first edge and watched at all of them.
pub(crate) struct LedgerStream {
    encoder: Option<Encoder>,
    /// What earlier encoders have sent.
    sent: Vec<Recording>,
    audience: Audience,
}

impl LedgerStream {
    /// Publishes to the first edge, and returns when viewers at all of them see the stream.
    pub(crate) async fn start(edges: &[EdgeReach]) -> Result<Self> {
        let first = edges.first().context("no edge")?;
        let places = std::iter::once(&first.edge).chain(&first.next);
        let urls: Vec<String> = places.map(|place| place.rtmp(STREAM)).collect();
        let encoder = Encoder::publish_persistently(&urls).await?;
        let audience = Audience::start(edges, STREAM).await?;
        sleep(Duration::from_secs(1)).await;
        Ok(Self {
            encoder: Some(encoder),
            sent: Vec::new(),
            audience,
        })
    }

    /// Returns the encoder that publishes now.
    pub(crate) fn encoder(&self) -> Result<&Encoder> {
        self.encoder.as_ref().context("no encoder")
    }

    /// Begins a publication, which supersedes the one before. Its encoder would take over again, as its connection breaks. No viewer is to
    /// get what it sends until then.
    pub(crate) async fn take_over(&mut self, url: &str) -> Result<()> {
        let begin = Instant::now();
        let first = self.encoder.replace(Encoder::publish(url).await?);
        let mut sent = first.context("no encoder")?.stop().await?;
        sent.packets.retain(|it| it.at < begin);
        self.sent.push(sent);
        Ok(())
    }

    /// Ends the publication, and begins another one after `pause`.
    pub(crate) async fn publish_again(&mut self, url: &str, pause: Duration) -> Result<()> {
        let encoder = self.encoder.take().context("no encoder")?;
        self.sent.push(encoder.stop().await?);
        sleep(pause).await;
        self.encoder = Some(Encoder::publish(url).await?);
        Ok(())
    }

    /// Returns the figures of all viewers up to now. Writes what they lost to `lost.txt` in `folder`.
    pub(crate) async fn figures(mut self, folder: &Path) -> Result<Figures> {
        sleep(AFTERWARDS).await;
        // What was sent just now is still on its way.
        let end = Instant::now();
        sleep(ON_THE_WAY).await;
        self.sent.push(self.encoder()?.sent());
        let lost = figures::describe_lost(&self.sent, &self.audience, end);
        std::fs::write(folder.join("lost.txt"), lost).context("write lost.txt")?;
        Ok(Figures::of(&self.sent, &self.audience, end))
    }
}

/// Time for everything to go on after the event.
const AFTERWARDS: Duration = Duration::from_secs(4);

/// Longer than a message takes to a viewer.
const ON_THE_WAY: Duration = Duration::from_millis(500);
