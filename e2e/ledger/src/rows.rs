//! The rows of the ledger: what breaks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::media::{Encoder, Recording};
use futures::future::BoxFuture;
use rustix::process::Signal;
use tokio::time::sleep;

use super::audience::Audience;
use super::cluster::{Cluster, NODES, ORIGINS, Programs, Release};
use super::dns::NameServer;
use super::figures::Figures;

/// A row.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What happens, for the table.
    pub(crate) event: &'static str,
    /// Whether it runs media nodes of two releases.
    pub(crate) needs_other: bool,
    /// The release that a media node has at first.
    release: fn(usize) -> Release,
    happens: fn(&mut Scene) -> BoxFuture<'_, Result<()>>,
}

/// What a row breaks: a cluster whose edge 1 has an encoder, and whose edges have viewers.
struct Scene {
    cluster: Cluster,
    encoder: Option<Encoder>,
    /// What earlier encoders have sent.
    sent: Vec<Recording>,
}

macro_rules! rows {
    ($($happens:ident $name:literal $needs_other:literal $release:ident, $event:literal;)*) => {
        &[$(Row {
            name: $name,
            event: $event,
            needs_other: $needs_other,
            release: $release,
            happens: |scene| Box::pin($happens(scene)),
        },)*]
    };
}

/// All rows, in the order of the table. The carrying origin is the one that the encoder's edge forwards the stream to.
pub(crate) const ROWS: &[Row] = rows! {
    kill_origin "kill-origin" false all_new,
        "the carrying origin is killed, and starts again after 2 s";
    replace_origin "replace-origin" false all_new,
        "the carrying origin is killed, and one with another address replaces it";
    hang_origin "hang-origin" false all_new,
        "the carrying origin hangs for 5 s";
    cut_origin "cut-origin" false all_new,
        "the carrying origin is cut off from everything for 5 s";
    part_origin "part-origin" false all_new,
        "the encoder's edge and the carrying origin are cut off from each other for 8 s";
    drain_origin "drain-origin" false all_new,
        "the carrying origin drains, and starts again";
    rolling_restart "rolling-restart" false all_new,
        "rolling restart: each origin, then each edge drains and starts again";
    kill_edge "kill-edge" false all_new,
        "an edge with a third of the viewers is killed, and starts again";
    lossy_network "lossy-network" false all_new,
        "each media node loses 2 % of the packets that it receives, for 10 s";
    dns_loss "dns-loss" false all_new,
        "no DNS for 8 s, and the carrying origin is killed meanwhile";
    takeover "takeover" false all_new,
        "another encoder takes over on another edge";
    encoder_loop "encoder-loop" false all_new,
        "the encoder ends and starts again after 1 s, three times";
    encoder_freeze "encoder-freeze" false all_new,
        "the encoder sends nothing for 3 s";
    upgrade "upgrade" true all_other,
        "rolling upgrade from the release before";
    kill_origin "other-origins" true origins_other,
        "origins of the release before: the carrying one is killed, and starts again";
    kill_origin "other-edges" true edges_other,
        "edges of the release before: the carrying origin is killed, and starts again";
};

fn all_new(_: usize) -> Release {
    Release::This
}

fn all_other(_: usize) -> Release {
    Release::Other
}

fn origins_other(node: usize) -> Release {
    match node < ORIGINS {
        true => Release::Other,
        false => Release::This,
    }
}

fn edges_other(node: usize) -> Release {
    match node < ORIGINS {
        true => Release::This,
        false => Release::Other,
    }
}

const STREAM: &str = "live/ledger";

/// The edge that the encoder publishes to, and the others.
const FIRST_EDGE: usize = ORIGINS;
const SECOND_EDGE: usize = ORIGINS + 1;
const THIRD_EDGE: usize = ORIGINS + 2;

/// Runs a row once.
pub(crate) async fn run_row(row: &Row, programs: &Programs, dns: &NameServer) -> Result<Figures> {
    let cluster = Cluster::start(row.name, programs, dns, row.release).await?;
    let url = cluster.rtmp(FIRST_EDGE, STREAM);
    let mut scene = Scene {
        encoder: Some(Encoder::publish_persistently(&url).await?),
        cluster,
        sent: Vec::new(),
    };
    let audience = Audience::start(&scene.cluster, STREAM).await?;
    sleep(Duration::from_secs(1)).await;
    (row.happens)(&mut scene).await?;
    sleep(AFTERWARDS).await;
    // What was sent just now is still on its way.
    let end = Instant::now();
    sleep(ON_THE_WAY).await;
    let encoder = scene.encoder.take().context("an encoder")?;
    scene.sent.push(encoder.sent());
    let figures = Figures::of(&scene.sent, &audience, end);
    drop((audience, encoder));
    scene.cluster.end().await?;
    Ok(figures)
}

/// Time for everything to go on after the event.
const AFTERWARDS: Duration = Duration::from_secs(4);

/// Longer than a message takes to a viewer.
const ON_THE_WAY: Duration = Duration::from_millis(500);

async fn kill_origin(scene: &mut Scene) -> Result<()> {
    let carrier = scene.cluster.carrier(STREAM).await?;
    let release = scene.cluster.release(carrier);
    scene.cluster.kill(carrier).await?;
    sleep(Duration::from_secs(2)).await;
    scene.cluster.restart(carrier, release).await
}

async fn replace_origin(scene: &mut Scene) -> Result<()> {
    let carrier = scene.cluster.carrier(STREAM).await?;
    scene.cluster.kill(carrier).await?;
    scene.cluster.replace(carrier).await
}

async fn hang_origin(scene: &mut Scene) -> Result<()> {
    let carrier = scene.cluster.carrier(STREAM).await?;
    scene.cluster.signal(carrier, Signal::STOP)?;
    sleep(Duration::from_secs(5)).await;
    scene.cluster.signal(carrier, Signal::CONT)
}

async fn cut_origin(scene: &mut Scene) -> Result<()> {
    let carrier = scene.cluster.carrier(STREAM).await?;
    let network = scene.cluster.network(carrier);
    network.cut(None).await?;
    sleep(Duration::from_secs(5)).await;
    network.mend().await
}

async fn part_origin(scene: &mut Scene) -> Result<()> {
    let carrier = scene.cluster.carrier(STREAM).await?;
    let edge = scene.cluster.network(FIRST_EDGE).address;
    let network = scene.cluster.network(carrier);
    network.cut(Some(edge)).await?;
    sleep(Duration::from_secs(8)).await;
    network.mend().await
}

async fn drain_origin(scene: &mut Scene) -> Result<()> {
    let carrier = scene.cluster.carrier(STREAM).await?;
    scene.cluster.drain(carrier).await?;
    scene.cluster.restart(carrier, Release::This).await
}

async fn rolling_restart(scene: &mut Scene) -> Result<()> {
    for node in 0..NODES {
        scene.cluster.drain(node).await?;
        scene.cluster.restart(node, Release::This).await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn upgrade(scene: &mut Scene) -> Result<()> {
    rolling_restart(scene).await
}

async fn kill_edge(scene: &mut Scene) -> Result<()> {
    scene.cluster.kill(THIRD_EDGE).await?;
    sleep(Duration::from_secs(2)).await;
    scene.cluster.restart(THIRD_EDGE, Release::This).await
}

async fn lossy_network(scene: &mut Scene) -> Result<()> {
    for node in 0..NODES {
        scene.cluster.network(node).lose(0.02).await?;
    }
    sleep(Duration::from_secs(10)).await;
    for node in 0..NODES {
        scene.cluster.network(node).mend().await?;
    }
    Ok(())
}

async fn dns_loss(scene: &mut Scene) -> Result<()> {
    scene.cluster.dns().set_silent(true);
    sleep(Duration::from_secs(4)).await;
    let carrier = scene.cluster.carrier(STREAM).await?;
    scene.cluster.kill(carrier).await?;
    sleep(Duration::from_secs(4)).await;
    scene.cluster.dns().set_silent(false);
    scene.cluster.restart(carrier, Release::This).await
}

async fn takeover(scene: &mut Scene) -> Result<()> {
    let first = scene.encoder.take().context("an encoder")?;
    let url = scene.cluster.rtmp(SECOND_EDGE, STREAM);
    scene.encoder = Some(Encoder::publish(&url).await?);
    // The first one would take over again, as its connection breaks.
    scene.sent.push(first.stop().await?);
    Ok(())
}

async fn encoder_loop(scene: &mut Scene) -> Result<()> {
    let url = scene.cluster.rtmp(FIRST_EDGE, STREAM);
    for _ in 0..3 {
        let encoder = scene.encoder.take().context("an encoder")?;
        scene.sent.push(encoder.stop().await?);
        sleep(Duration::from_secs(1)).await;
        scene.encoder = Some(Encoder::publish(&url).await?);
        sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

async fn encoder_freeze(scene: &mut Scene) -> Result<()> {
    let encoder = scene.encoder.as_ref().context("an encoder")?;
    encoder.freeze(true);
    sleep(Duration::from_secs(3)).await;
    encoder.freeze(false);
    Ok(())
}
