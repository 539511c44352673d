//! The stream of a row: its encoders, its audience, and the count of what the ones sent and the other received.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::media::{Codecs, Encoder, Recording};
use e2e::wait::eventually;
use tokio::time::sleep;

use super::audience::{Audience, EdgeReach};
use super::figures::{self, Figures};

pub(crate) const STREAM: &str = "live/ledger";

/// A stream that is published at the first edge and watched at all of them.
pub(crate) struct LedgerStream {
    /// The one that is on air.
    encoder: Option<Encoder>,
    /// Follows the encoder on air.
    standby: Option<Encoder>,
    /// Encoders that send nothing more, with open connections.
    hung: Vec<Encoder>,
    /// What earlier encoders have sent.
    sent: Vec<Recording>,
    audience: Audience,
}

impl LedgerStream {
    /// Publishes to the first edge, and returns when viewers at all of them see the stream.
    pub(crate) async fn start(edges: &[EdgeReach], name: &str, codecs: Codecs) -> Result<Self> {
        let first = edges.first().context("no edge")?;
        let places = std::iter::once(&first.edge).chain(&first.next);
        let urls: Vec<String> = places.map(|place| place.rtmp(name)).collect();
        let encoder = Encoder::publish_persistently(&urls, codecs).await?;
        let audience = Audience::start(edges, name).await?;
        sleep(Duration::from_secs(1)).await;
        Ok(Self {
            encoder: Some(encoder),
            standby: None,
            hung: Vec::new(),
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

    /// Begins another publication, as soon as one is accepted.
    pub(crate) async fn publish(&mut self, url: &str) -> Result<()> {
        let accepted = eventually("the stream is accepted", ACCEPTED, || Encoder::publish(url));
        self.encoder = Some(accepted.await?);
        Ok(())
    }

    /// Connects an encoder that goes on air after the one that is. What it sends until then does not count.
    pub(crate) async fn stand_by(&mut self, url: &str) -> Result<()> {
        self.standby = Some(Encoder::publish(url).await?);
        Ok(())
    }

    /// Ends the publication, as ffmpeg does.
    pub(crate) async fn end_encoder(&mut self) -> Result<()> {
        let encoder = self.encoder.take().context("no encoder")?;
        self.sent.push(encoder.stop().await?);
        Ok(())
    }

    /// Lets the encoder send nothing more, as when its network is lost: nothing ends the connection.
    pub(crate) fn hang_encoder(&mut self) -> Result<()> {
        let encoder = self.encoder.take().context("no encoder")?;
        encoder.freeze();
        self.sent.push(encoder.sent());
        self.hung.push(encoder);
        Ok(())
    }

    /// Returns the figures of all viewers up to now, and a line for each message that one of them lost.
    pub(crate) async fn figures(mut self) -> Result<(Figures, String)> {
        sleep(AFTERWARDS).await;
        // What was sent just now is still on its way.
        let end = Instant::now();
        sleep(ON_THE_WAY).await;
        if let Some(encoder) = self.encoder.take() {
            self.sent.push(encoder.sent());
        }
        if let Some(standby) = self.standby.take() {
            self.sent.push(since_on_air(standby.sent(), &self.audience));
        }
        let lost = figures::describe_lost(&self.sent, &self.audience, end);
        Ok((Figures::of(&self.sent, &self.audience, end), lost))
    }
}

/// Leaves out what came before the first frame that a viewer had.
fn since_on_air(mut sent: Recording, audience: &Audience) -> Recording {
    let seen = audience.watchers().iter().flat_map(|it| it.seen());
    let received = seen.flat_map(|it| it.recording.frames());
    let received: HashSet<u64> = received.map(|it| it.hash).collect();
    let is_received = |hash| received.contains(hash);
    let mut packets = sent.packets.iter();
    let first = packets.position(|it| !it.sequence_header && is_received(&it.hash));
    sent.packets.drain(..first.unwrap_or(sent.packets.len()));
    sent
}

/// Time for everything to go on after the event.
const AFTERWARDS: Duration = Duration::from_secs(4);

/// Longer than a message takes to a viewer, also where the host is too small.
const ON_THE_WAY: Duration = Duration::from_secs(2);

/// Longer than a media node waits for a publisher that sends nothing.
const ACCEPTED: Duration = Duration::from_secs(30);
