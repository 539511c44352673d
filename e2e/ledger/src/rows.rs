//! The rows with processes: what breaks, one file for each kind of event. What rows have in common is in [`scene`].

mod dns;
mod edges;
mod encoders;
mod origins;
mod paths;
mod releases;
mod scene;

use anyhow::{Context, Result};
use e2e::media::Codecs;
use futures::future::{BoxFuture, try_join_all};

use super::cluster::{ClusterSetup, ProcessCluster, Programs, TWO_ORIGINS};
use super::dns::NameServer;
use super::figures::Figures;
use super::stream::{LedgerStream, STREAM};
use scene::Scene;

/// A row.
#[derive(Debug)]
pub(crate) struct LedgerRow {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What happens, for the table.
    pub(crate) event: &'static str,
    /// Whether the table in README.md has it.
    pub(crate) is_shown: bool,
    setup: RowSetup,
    happens: fn(&mut Scene) -> BoxFuture<'_, Result<()>>,
}

/// What a row begins with: edge 1 has an encoder, and all edges have viewers of its stream.
#[derive(Clone, Copy, Debug)]
struct RowSetup {
    cluster: ClusterSetup,
    codecs: Codecs,
    /// Each is published at another edge.
    streams: usize,
    /// Whether it runs media nodes of two releases.
    needs_other: bool,
}

const PLAIN: RowSetup = RowSetup {
    cluster: TWO_ORIGINS,
    codecs: Codecs::H264Aac,
    streams: 1,
    needs_other: false,
};

/// Rows: the name, whether README.md shows it, what happens for the table and in the scene, and what the row begins with.
macro_rules! rows {
    ($scene:ident: $($name:literal $shown:ident $event:literal => $happens:expr $(, with $setup:expr)?;)*) => {
        &[$(LedgerRow {
            name: $name,
            event: $event,
            is_shown: $shown,
            setup: rows!(@ $($setup)?),
            happens: |$scene| Box::pin($happens),
        },)*]
    };
    (@) => { PLAIN };
    (@ $setup:expr) => { $setup };
}
use rows;

/// In README.md, or only in what the command prints.
const SHOWN: bool = true;
const MORE: bool = false;

impl LedgerRow {
    /// Returns whether it runs media nodes of two releases.
    pub(crate) fn needs_other(&self) -> bool {
        self.setup.needs_other
    }
}

/// Returns all rows, in the order of the table. The carrying origin is the one that the encoder's edge forwards the stream to.
pub(crate) fn all() -> impl Iterator<Item = &'static LedgerRow> {
    let groups = [
        origins::ROWS,
        edges::ROWS,
        paths::ROWS,
        dns::ROWS,
        encoders::ROWS,
        releases::ROWS,
    ];
    groups.into_iter().flatten()
}

/// Runs a row once. Its logs go to `folder`, and to `lost.txt` there what viewers lost.
pub(crate) async fn run_row(
    row: &LedgerRow,
    programs: &Programs,
    dns: &NameServer,
    folder: &str,
) -> Result<Figures> {
    let setup = &row.setup;
    let cluster = ProcessCluster::start(folder, programs, dns, setup.cluster).await?;
    let streams = (0..setup.streams).map(|number| {
        let name = match number {
            0 => STREAM.to_owned(),
            number => format!("{STREAM}-{number}"),
        };
        let mut edges = cluster.reach_edges();
        edges.rotate_left(number);
        async move { LedgerStream::start(&edges, &name, setup.codecs).await }
    });
    let streams = try_join_all(streams).await?;
    let mut scene = Scene { cluster, streams };
    (row.happens)(&mut scene).await?;
    let mut all = Figures::default();
    let mut all_lost = String::new();
    for counted in scene.streams.drain(..).map(LedgerStream::figures) {
        let (figures, lost) = counted.await?;
        all.add_all(&figures);
        all_lost.push_str(&lost);
    }
    let file = scene.cluster.folder().join("lost.txt");
    std::fs::write(file, all_lost).context("write lost.txt")?;
    scene.cluster.end().await?;
    Ok(all)
}
