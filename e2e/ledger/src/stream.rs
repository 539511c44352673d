//! The stream of a row: its encoders, its audience, and the count of what the ones sent and the other received.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::media::{Codecs, Encoder, Recording};
use e2e::wait::eventually;
use tokio::time::{sleep, timeout};

use super::audience::{Audience, AudienceKind, EdgeReach, Watcher};
use super::figures::{self, Figures, Sent};
use super::order::SentOrder;

pub(crate) const STREAM: &str = "live/ledger";

/// A stream that is published at one media node and watched at all edges.
pub(crate) struct LedgerStream {
    /// The one that is on air.
    encoder: Option<Encoder>,
    /// Follows the encoder on air.
    standby: Option<Encoder>,
    /// Encoders that send nothing more, with open connections.
    hung: Vec<Encoder>,
    /// What earlier encoders have sent.
    sent: Vec<Sent>,
    codecs: Codecs,
    audience: Audience,
}

impl LedgerStream {
    /// Publishes to the first URL, to the next one of the others when the connection breaks, and returns when viewers at all edges see the
    /// stream.
    pub(crate) async fn start(
        first: &str,
        next: Vec<String>,
        edges: &[EdgeReach],
        name: &str,
        codecs: Codecs,
        audience: AudienceKind,
    ) -> Result<Self> {
        let encoder = Encoder::publish_persistently(first, next, codecs).await?;
        let audience = Audience::start(edges, name, codecs, audience).await?;
        sleep(Duration::from_secs(1)).await;
        Ok(Self {
            encoder: Some(encoder),
            standby: None,
            hung: Vec::new(),
            sent: Vec::new(),
            codecs,
            audience,
        })
    }

    /// Returns the encoder that publishes now.
    pub(crate) fn encoder(&self) -> Result<&Encoder> {
        self.encoder.as_ref().context("no encoder")
    }

    /// Begins a publication at the first of these URLs that accepts it, which supersedes the one before. Its encoder would take over again, as
    /// its connection breaks.
    pub(crate) async fn take_over(&mut self, urls: &[String]) -> Result<()> {
        self.encoder()?.give_up();
        let begin = Instant::now();
        let next = self.accepted(urls).await?;
        let first = self.encoder.replace(next);
        let recording = first.context("no encoder")?.stop().await?;
        self.sent.push(Sent {
            recording,
            superseded: Some(begin),
        });
        Ok(())
    }

    /// Begins another publication, at the first of these URLs that accepts it.
    pub(crate) async fn publish(&mut self, urls: &[String]) -> Result<()> {
        self.encoder = Some(self.accepted(urls).await?);
        Ok(())
    }

    async fn accepted(&self, urls: &[String]) -> Result<Encoder> {
        let mut next = urls.to_vec();
        let attempt = || {
            next.rotate_left(1);
            let next = next.clone();
            async move {
                let first = next.last().context("no URL")?.clone();
                let encoder = Encoder::publish_persistently(&first, next, self.codecs);
                timeout(ANSWERED, encoder).await.context("no answer")?
            }
        };
        eventually("the stream is accepted", ACCEPTED, attempt).await
    }

    /// Connects an encoder that goes on air after the one that is. What it sends until then does not count.
    pub(crate) async fn stand_by(&mut self, url: &str) -> Result<()> {
        self.standby = Some(Encoder::publish(url).await?);
        Ok(())
    }

    /// Ends the publication, as ffmpeg does.
    pub(crate) async fn end_encoder(&mut self) -> Result<()> {
        let encoder = self.encoder.take().context("no encoder")?;
        self.has_sent(encoder.stop().await?);
        Ok(())
    }

    /// Lets the encoder send nothing more, as when its network is lost: nothing ends the connection.
    pub(crate) fn hang_encoder(&mut self) -> Result<()> {
        let encoder = self.encoder.take().context("no encoder")?;
        encoder.freeze();
        self.has_sent(encoder.sent());
        self.hung.push(encoder);
        Ok(())
    }

    /// Returns the figures of all viewers up to now, and lines that describe them.
    pub(crate) async fn figures(mut self) -> Result<(Figures, String)> {
        sleep(AFTERWARDS).await;
        let end = Instant::now();
        self.until_received(end).await;
        if let Some(encoder) = self.encoder.take() {
            self.has_sent(encoder.sent());
        }
        if let Some(standby) = self.standby.take() {
            self.has_sent(since_on_air(standby.sent(), &self.audience));
        }
        let described = figures::describe(&self.sent, &self.audience, end);
        SentOrder::of(&self.sent, end).check(&self.audience)?;
        Ok((Figures::of(&self.sent, &self.audience, end), described))
    }

    /// Waits until each viewer has something that was sent later. As messages keep their order, it has lost what it does not have then: nothing
    /// is on its way, however late the host is.
    async fn until_received(&self, end: Instant) {
        let deadline = Instant::now() + LATEST;
        let has_later = |hashes: &HashSet<u64>, watcher: &Watcher| {
            let seen = watcher.seen();
            let frames = seen.iter().flat_map(|it| it.recording.packets.iter());
            frames.rev().any(|it| hashes.contains(&it.hash))
        };
        while Instant::now() < deadline {
            sleep(Duration::from_millis(200)).await;
            let sent = self.encoder.iter().chain(&self.standby);
            let frames = sent.flat_map(|it| it.sent().frames());
            let later = frames.filter(|it| it.at >= end).map(|it| it.hash).collect();
            let watchers = self.audience.watchers();
            if watchers.iter().all(|watcher| has_later(&later, watcher)) {
                return;
            }
        }
    }

    fn has_sent(&mut self, recording: Recording) {
        self.sent.push(Sent {
            recording,
            superseded: None,
        });
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

/// A viewer that has received nothing for so long after the event does not watch any more.
const LATEST: Duration = Duration::from_secs(30);

/// Longer than a media node takes to decide whether it accepts a stream.
const ANSWERED: Duration = Duration::from_secs(5);

/// Longer than a media node waits for a publisher that sends nothing.
const ACCEPTED: Duration = Duration::from_secs(30);
