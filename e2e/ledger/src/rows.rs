//! The rows with processes: what breaks, one file for each kind of event. What rows have in common is in [`scene`].

mod dns;
mod edges;
mod encoders;
mod origins;
mod paths;
mod random;
mod releases;
mod scene;

use std::borrow::Cow;

use anyhow::{Context, Result};
use e2e::media::Codecs;
use futures::future::{BoxFuture, try_join_all};

use super::audience::AudienceKind;
use super::cluster::{ClusterSetup, Programs, TWO_ORIGINS};
use super::dns::NameServer;
use super::figures::Figures;
use super::stream::LedgerStream;
use random::RandomFailures;
use scene::Scene;

/// A row.
#[derive(Debug)]
pub(crate) struct LedgerRow {
    /// Its name on the command line.
    pub(crate) name: Cow<'static, str>,
    /// What happens, for the table.
    pub(crate) event: Cow<'static, str>,
    /// Whether the table in README.md has it.
    pub(crate) is_shown: bool,
    setup: RowSetup,
    happens: RowEvent,
}

/// What happens.
#[derive(Debug)]
enum RowEvent {
    Written(fn(&mut Scene) -> BoxFuture<'_, Result<()>>),
    Random(RandomFailures),
}

/// What a row begins with: edge 1 or an origin has an encoder, and all edges have viewers of its stream.
#[derive(Clone, Copy, Debug)]
struct RowSetup {
    cluster: ClusterSetup,
    encoder: EncoderPlace,
    codecs: Codecs,
    /// One after another, each is published at the next edge.
    streams: usize,
    audience: AudienceKind,
    /// Whether it runs media nodes of two releases.
    needs_other: bool,
}

/// Where encoders publish at first. Those that are disconnected connect to the next media node of its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EncoderPlace {
    Edges,
    Origins,
}

const PLAIN: RowSetup = RowSetup {
    cluster: TWO_ORIGINS,
    encoder: EncoderPlace::Edges,
    codecs: Codecs::H264Aac,
    streams: 1,
    audience: AudienceKind::Full,
    needs_other: false,
};

/// Rows: the name, whether README.md shows it, what happens for the table and in the scene, and what the row begins with.
macro_rules! rows {
    ($scene:ident: $($name:literal $shown:ident $event:literal => $happens:expr $(, with $setup:expr)?;)*) => {
        &[$(LedgerRow::written(
            $name,
            $event,
            $shown,
            rows!(@ $($setup)?),
            |$scene| Box::pin($happens),
        ),)*]
    };
    (@) => { PLAIN };
    (@ $setup:expr) => { $setup };
}
use rows;

/// In README.md, or only in what the command prints.
pub(crate) const SHOWN: bool = true;
pub(crate) const MORE: bool = false;

impl LedgerRow {
    const fn written(
        name: &'static str,
        event: &'static str,
        is_shown: bool,
        setup: RowSetup,
        happens: fn(&mut Scene) -> BoxFuture<'_, Result<()>>,
    ) -> Self {
        Self {
            name: Cow::Borrowed(name),
            event: Cow::Borrowed(event),
            is_shown,
            setup,
            happens: RowEvent::Written(happens),
        }
    }

    /// Returns a row in which several failures happen together. They follow from a number.
    pub(crate) fn random(seed: u64) -> Self {
        let failures = RandomFailures::of_seed(seed);
        Self {
            name: Cow::Owned(format!("random-{seed}")),
            event: Cow::Owned(failures.to_string()),
            is_shown: MORE,
            setup: PLAIN,
            happens: RowEvent::Random(failures),
        }
    }

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

/// Runs a row once. Its logs go to `folder`, and to `viewers.txt` there what viewers lost. A cluster that does not start, as on a host that is
/// too small, gets a second attempt; what fails later is the result.
pub(crate) async fn run_row(
    row: &LedgerRow,
    programs: &Programs,
    dns: &NameServer,
    folder: &str,
) -> Result<Figures> {
    let mut scene = match Scene::start(folder, programs, dns, &row.setup).await {
        Err(error) => {
            println!("       {}: again, after {error:#}", row.name);
            Scene::start(&format!("{folder}-again"), programs, dns, &row.setup).await?
        }
        Ok(scene) => scene,
    };
    match &row.happens {
        RowEvent::Written(happens) => happens(&mut scene).await?,
        RowEvent::Random(failures) => failures.happen(&mut scene).await?,
    }
    let mut all = Figures::default();
    let mut described = String::new();
    let counted = scene.streams.drain(..).map(LedgerStream::figures);
    for (figures, viewers) in try_join_all(counted).await? {
        all.add_all(&figures);
        described.push_str(&viewers);
    }
    let file = scene.cluster.folder().join("viewers.txt");
    std::fs::write(file, described).context("write viewers.txt")?;
    scene.cluster.end().await?;
    Ok(all)
}
