//! Failures that happen together: two or three, at random moments, each while the one before lasts. All of it follows from a seed.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::super::cluster::ProcessCluster;
use super::super::dns::DnsFault;
use super::super::stream::{LedgerStream, STREAM};
use super::scene::Part::{Carrier, Edge, OtherOrigin};
use super::scene::{Part, Scene};

/// Failures of one run.
#[derive(Debug)]
pub(crate) struct RandomFailures(Vec<Failure>);

/// What fails, when, and how long.
#[derive(Clone, Copy, Debug)]
struct Failure {
    kind: FailureKind,
    part: Part,
    /// The other end of a path that is cut: an origin where the part is an edge.
    peer: Part,
    begin: Duration,
    length: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailureKind {
    Kill,
    Hang,
    Drain,
    CutOff,
    CutPath,
    CutOneWay,
    LosePackets,
    LoseDns,
    EmptyDns,
    RollOrigins,
    TakeOver,
    EncoderLoop,
    EncoderFreeze,
}
use FailureKind::*;

/// Kills are what happens most.
const KINDS: [FailureKind; 15] = [
    Kill,
    Kill,
    Kill,
    Hang,
    Drain,
    CutOff,
    CutPath,
    CutOneWay,
    LosePackets,
    LoseDns,
    EmptyDns,
    RollOrigins,
    TakeOver,
    EncoderLoop,
    EncoderFreeze,
];

impl RandomFailures {
    pub(crate) fn of_seed(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let count = random.random_range(2..=3);
        let mut failures: Vec<Failure> = Vec::new();
        while failures.len() < count {
            let mut failure = Failure::random(&mut random);
            if failures.iter().any(|it| it.excludes(&failure)) {
                continue;
            }
            if let Some(before) = failures.last() {
                let milliseconds = u64::try_from(before.length().as_millis()).unwrap_or(0);
                let after = random.random_range(0..milliseconds);
                failure.begin = before.begin + Duration::from_millis(after);
            }
            failures.push(failure);
        }
        Self(failures)
    }

    /// Lets them happen. Returns when all media nodes are ready again.
    pub(super) async fn happen(&self, scene: &mut Scene) -> Result<()> {
        let (carrier, other) = (scene.node(Carrier).await?, scene.node(OtherOrigin).await?);
        let Scene { cluster, streams } = scene;
        let stream = Mutex::new(streams.first_mut().context("no stream")?);
        let edges: Vec<usize> = cluster.edges().collect();
        let number = |part| match part {
            Carrier => Some(carrier),
            OtherOrigin => Some(other),
            Edge(edge) => edges.get(edge).copied(),
            _ => None,
        };
        let cluster = Mutex::new(cluster);
        try_join_all(self.0.iter().map(async |failure| {
            let node = number(failure.part).context("no such media node")?;
            let peer = number(failure.peer).context("no such media node")?;
            sleep(failure.begin).await;
            if failure.kind.is_of_encoder() {
                let urls = urls_from(&**cluster.lock().await, node);
                failure
                    .disturb_encoder(&mut **stream.lock().await, &urls)
                    .await
            } else {
                failure.disturb(&cluster, node, peer).await
            }
        }))
        .await?;
        recover(cluster.into_inner()).await
    }
}

/// Returns where an encoder publishes, one after another, from this media node on.
fn urls_from(cluster: &ProcessCluster, first: usize) -> Vec<String> {
    let nodes = cluster.all().cycle().skip(first).take(cluster.all().len());
    nodes.map(|it| cluster.reach(it).rtmp(STREAM)).collect()
}

/// Ends what still fails, and waits for all media nodes.
async fn recover(cluster: &mut ProcessCluster) -> Result<()> {
    cluster.dns().set_fault(None);
    cluster.publish_name();
    for node in cluster.all() {
        cluster.network(node).mend().await?;
        if cluster.runs(node) {
            cluster.signal(node, Signal::CONT)?;
        }
    }
    // One that hung while it drained still drains.
    sleep(DRAIN).await;
    for node in cluster.all() {
        cluster.start_again(node)?;
    }
    for node in cluster.all() {
        cluster.ready(node).await?;
    }
    Ok(())
}

impl FailureKind {
    /// Returns whether it is one of encoders, not of a media node.
    fn is_of_encoder(self) -> bool {
        matches!(self, TakeOver | EncoderLoop | EncoderFreeze)
    }
}

impl Failure {
    fn random(random: &mut StdRng) -> Self {
        let edge = Edge(random.random_range(0..3));
        let origin = [Carrier, OtherOrigin][random.random_range(0..2)];
        let is_edge = random.random_bool(0.5);
        Self {
            kind: KINDS[random.random_range(0..KINDS.len())],
            part: if is_edge { edge } else { origin },
            peer: if is_edge { origin } else { edge },
            begin: Duration::ZERO,
            length: Duration::from_millis(random.random_range(300..6000)),
        }
    }

    /// Returns whether both cannot happen together: there is one encoder and one name server.
    fn excludes(&self, other: &Self) -> bool {
        let is_of_name = |it: &Self| matches!(it.kind, LoseDns | EmptyDns);
        self.kind == RollOrigins && other.kind == RollOrigins
            || self.kind.is_of_encoder() && other.kind.is_of_encoder()
            || is_of_name(self) && is_of_name(other)
    }

    fn length(&self) -> Duration {
        match self.kind {
            Drain => DRAIN,
            RollOrigins => DRAIN * 2,
            TakeOver => Duration::from_secs(1),
            EncoderLoop => self.length * u32::from(LOOPS),
            _ => self.length,
        }
    }

    /// Breaks a media node, or a path between two, and mends it.
    async fn disturb(
        &self,
        cluster: &Mutex<&mut ProcessCluster>,
        node: usize,
        peer: usize,
    ) -> Result<()> {
        match self.kind {
            Kill => {
                let mut killed = cluster.lock().await;
                if killed.runs(node) {
                    killed.kill(node).await?;
                }
                drop(killed);
                sleep(self.length).await;
                cluster.lock().await.start_again(node)
            }
            Hang => {
                signal(cluster, node, Signal::STOP).await?;
                sleep(self.length).await;
                signal(cluster, node, Signal::CONT).await
            }
            Drain => drain(cluster, node).await,
            RollOrigins => {
                let origins = cluster.lock().await.origins();
                for origin in origins {
                    drain(cluster, origin).await?;
                }
                Ok(())
            }
            LoseDns | EmptyDns => {
                self.disturb_name(cluster).await;
                Ok(())
            }
            _ => self.disturb_network(cluster, node, peer).await,
        }
    }

    async fn disturb_network(
        &self,
        cluster: &Mutex<&mut ProcessCluster>,
        node: usize,
        peer: usize,
    ) -> Result<()> {
        let (network, peer) = {
            let cluster = cluster.lock().await;
            (cluster.network(node).clone(), cluster.address(peer))
        };
        match self.kind {
            CutPath => network.cut(Some(peer)).await?,
            CutOneWay => network.cut_from(peer).await?,
            LosePackets => network.lose(0.1).await?,
            _ => network.cut(None).await?,
        }
        sleep(self.length).await;
        network.mend().await
    }

    async fn disturb_name(&self, cluster: &Mutex<&mut ProcessCluster>) {
        match self.kind {
            LoseDns => {
                let cluster = cluster.lock().await;
                cluster.dns().set_fault(Some(DnsFault::Silent));
            }
            _ => cluster.lock().await.dns().set_origins(Vec::new()),
        }
        sleep(self.length).await;
        let cluster = cluster.lock().await;
        cluster.dns().set_fault(None);
        cluster.publish_name();
    }

    /// Lets encoders do something, which connect to these URLs one after another.
    async fn disturb_encoder(&self, stream: &mut LedgerStream, urls: &[String]) -> Result<()> {
        match self.kind {
            TakeOver => stream.take_over(urls).await,
            EncoderLoop => {
                for _ in 0..LOOPS {
                    stream.end_encoder().await?;
                    sleep(self.length / 2).await;
                    stream.publish(urls).await?;
                    sleep(self.length / 2).await;
                }
                Ok(())
            }
            _ => {
                stream.encoder()?.freeze();
                sleep(self.length).await;
                stream.encoder()?.thaw();
                Ok(())
            }
        }
    }
}

async fn signal(cluster: &Mutex<&mut ProcessCluster>, node: usize, signal: Signal) -> Result<()> {
    let mut cluster = cluster.lock().await;
    if cluster.runs(node) {
        cluster.signal(node, signal)?;
    }
    Ok(())
}

/// Drains a media node and starts it again, if nothing else happened to it.
async fn drain(cluster: &Mutex<&mut ProcessCluster>, node: usize) -> Result<()> {
    signal(cluster, node, Signal::TERM).await?;
    sleep(DRAIN).await;
    cluster.lock().await.start_again(node)
}

impl fmt::Display for RandomFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, failure) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{failure}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind, part, peer, ..
        } = self;
        let [begin, length] = [self.begin, self.length()].map(|it| it.as_secs_f64());
        write!(f, "{begin:.2} s: {kind:?} {part:?}")?;
        if matches!(kind, CutPath | CutOneWay) {
            write!(f, " from {peer:?}")?;
        }
        write!(f, ", {length:.2} s")
    }
}

/// Longer than a media node takes to drain.
const DRAIN: Duration = Duration::from_secs(7);

/// How often an encoder starts again.
const LOOPS: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_begins_while_the_one_before_lasts() {
        for seed in 0..1000 {
            let RandomFailures(failures) = RandomFailures::of_seed(seed);
            for pair in failures.windows(2) {
                let [first, second] = pair else {
                    unreachable!("windows of two")
                };
                let end = first.begin + first.length();
                assert!((first.begin..end).contains(&second.begin), "{failures:?}");
            }
            let of_encoder = failures.iter().filter(|it| it.kind.is_of_encoder());
            assert!(of_encoder.count() <= 1, "{failures:?}");
        }
    }

    #[test]
    fn failures_follow_from_their_seed() {
        let [first, again] = [7, 7].map(|seed| RandomFailures::of_seed(seed).to_string());
        assert_eq!(first, again);
        assert_ne!(first, RandomFailures::of_seed(8).to_string());
    }
}
