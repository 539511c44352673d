//! What a row breaks, and how: the parts of a cluster by their role for the stream, and what happens to several of them alike.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cluster::Reach;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};
use rustix::process::Signal;
use tokio::time::sleep;

use super::super::audience::AudienceKind;
use super::super::cluster::{NodeRelease, ProcessCluster, Programs};
use super::super::dns::NameServer;
use super::super::stream::{LedgerStream, STREAM};
use super::{EncoderPlace, RowSetup};
use Part::{Carrier, Clients, Edge, Origin, OtherOrigin};

/// A cluster whose edges have viewers of each stream.
pub(super) struct Scene {
    pub(super) cluster: ProcessCluster,
    /// The first one is published at the first edge.
    pub(super) streams: Vec<LedgerStream>,
}

/// A part of a cluster.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// The origin that the first stream is forwarded to.
    Carrier,
    /// The first origin that is not the carrying one.
    OtherOrigin,
    Origin(usize),
    /// The encoder's edge is the first one, 0.
    Edge(usize),
    /// Encoders and viewers.
    Clients,
}

/// The encoder's edge.
pub(super) const FIRST_EDGE: Part = Edge(0);
pub(super) const SECOND_EDGE: Part = Edge(1);
pub(super) const THIRD_EDGE: Part = Edge(2);

/// Returns where encoders publish: by TLS when viewers watch by it.
fn encoder_url(reach: &Reach, stream: &str, audience: AudienceKind) -> String {
    let encrypted = || reach.rtmps(stream);
    let is_encrypted = audience == AudienceKind::Encrypted;
    let encrypted = is_encrypted.then(encrypted).flatten();
    encrypted.unwrap_or_else(|| reach.rtmp(stream))
}

/// Far below `maxNewConnectionsPerSecondPerAddress`: each takes a second.
const STARTS_AT_ONCE: usize = 20;

impl Scene {
    /// Starts a cluster and its streams. Returns when all viewers watch.
    pub(super) async fn start(
        folder: &str,
        programs: &Programs,
        dns: &NameServer,
        setup: &RowSetup,
    ) -> Result<Self> {
        let cluster = ProcessCluster::start(folder, programs, dns, setup.cluster).await?;
        let streams = (0..setup.streams).map(|number| {
            let name = match number {
                0 => STREAM.to_owned(),
                number => format!("{STREAM}-{number}"),
            };
            let mut edges = cluster.reach_edges();
            let first = number % edges.len();
            edges.rotate_left(first);
            let nodes = match setup.encoder {
                EncoderPlace::Edges => cluster.edges(),
                EncoderPlace::Origins => cluster.origins(),
            };
            let urls = nodes.map(|it| encoder_url(&cluster.reach(it), &name, setup.audience));
            let mut next: Vec<String> = urls.collect();
            let first = number % next.len();
            let encoder = next[first].clone();
            next.rotate_left(first + 1);
            async move {
                let (codecs, audience) = (setup.codecs, setup.audience);
                LedgerStream::start(&encoder, next, &edges, &name, codecs, audience).await
            }
        });
        // Media nodes limit how many connections a client begins in a second.
        let streams = futures::stream::iter(streams).buffered(STARTS_AT_ONCE);
        let streams = streams.try_collect().await?;
        Ok(Self { cluster, streams })
    }

    pub(super) fn stream(&mut self) -> Result<&mut LedgerStream> {
        self.streams.first_mut().context("no stream")
    }

    /// Returns the number of a media node.
    pub(super) async fn node(&self, part: Part) -> Result<usize> {
        let carrier = || self.cluster.carrier(STREAM);
        match part {
            Carrier => carrier().await,
            OtherOrigin => {
                let carrier = carrier().await?;
                let other = self.cluster.origins().find(|origin| *origin != carrier);
                other.context("one origin")
            }
            Origin(number) => Ok(number),
            Edge(number) => self.cluster.edges().nth(number).context("no such edge"),
            Clients => anyhow::bail!("clients are no media node"),
        }
    }

    /// Returns the URL at which the first stream is published to a media node.
    pub(super) async fn url(&self, part: Part) -> Result<String> {
        Ok(self.cluster.reach(self.node(part).await?).rtmp(STREAM))
    }

    /// Kills media nodes at the same time. Returns their numbers.
    pub(super) async fn kill(&mut self, parts: &[Part]) -> Result<Vec<usize>> {
        let nodes = try_join_all(parts.iter().map(|part| self.node(*part))).await?;
        for node in &nodes {
            self.cluster.signal(*node, Signal::KILL)?;
        }
        for node in &nodes {
            self.cluster.kill(*node).await?;
        }
        Ok(nodes)
    }

    /// Kills media nodes at the same time, and starts them again after a pause.
    pub(super) async fn kill_and_restart(&mut self, parts: &[Part], pause: Duration) -> Result<()> {
        let nodes = self.kill(parts).await?;
        sleep(pause).await;
        self.restart(&nodes).await
    }

    /// Starts media nodes again, each of its release.
    pub(super) async fn restart(&mut self, nodes: &[usize]) -> Result<()> {
        for node in nodes {
            let release = self.cluster.release(*node);
            self.cluster.restart(*node, release).await?;
        }
        Ok(())
    }

    /// Drains media nodes at the same time, and starts each again when all have ended.
    pub(super) async fn drain(&mut self, parts: &[Part]) -> Result<()> {
        let nodes = try_join_all(parts.iter().map(|part| self.node(*part))).await?;
        for node in &nodes {
            self.cluster.signal(*node, Signal::TERM)?;
        }
        for node in &nodes {
            self.cluster.drained(*node).await?;
        }
        self.restart(&nodes).await
    }

    /// Drains each of these media nodes and starts it again, one after another.
    pub(super) async fn roll(
        &mut self,
        nodes: std::ops::Range<usize>,
        release: NodeRelease,
    ) -> Result<()> {
        for node in nodes {
            self.cluster.drain(node).await?;
            self.cluster.restart(node, release).await?;
            sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    /// Lets a media node do nothing for a time.
    pub(super) async fn hang(&self, part: Part, time: Duration) -> Result<()> {
        let node = self.node(part).await?;
        self.cluster.signal(node, Signal::STOP)?;
        sleep(time).await;
        self.cluster.signal(node, Signal::CONT)
    }

    /// Cuts a media node off from these for a time.
    pub(super) async fn part(&self, part: Part, peers: &[Part], time: Duration) -> Result<()> {
        let network = self.cluster.network(self.node(part).await?);
        for peer in peers {
            let peer = match peer {
                Clients => network.own(),
                peer => self.cluster.address(self.node(*peer).await?),
            };
            network.cut(Some(peer)).await?;
        }
        sleep(time).await;
        network.mend().await
    }

    /// Loses for a time what one media node sends to another one, not what it receives from it.
    pub(super) async fn part_one_way(&self, from: Part, to: Part, time: Duration) -> Result<()> {
        let network = self.cluster.network(self.node(to).await?);
        let from = self.cluster.address(self.node(from).await?);
        network.cut_from(from).await?;
        sleep(time).await;
        network.mend().await
    }
}
