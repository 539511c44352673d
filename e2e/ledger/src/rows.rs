//! The rows with processes: what breaks.

mod events;

use anyhow::Result;
use futures::future::BoxFuture;

use super::cluster::{NODES, NodeRelease, ORIGINS, ProcessCluster, Programs};
use super::dns::NameServer;
use super::figures::Figures;
use super::stream::LedgerStream;
use events::{
    cut_edge, cut_origin, cut_viewers, dns_changes, dns_empty, dns_loss, drain_origin,
    encoder_freeze, encoder_loop, encoder_moves, hang_edge, hang_origin, kill_both_origins,
    kill_edge, kill_encoders_edge, kill_origin, lossy_network, narrow_edge, narrow_origin,
    narrow_paths, part_origin, replace_origin, rolling_restart, takeover, takeovers,
    very_lossy_network,
};

/// A row.
#[derive(Debug)]
pub(crate) struct LedgerRow {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What happens, for the table.
    pub(crate) event: &'static str,
    /// The release that a media node has at first.
    release: fn(usize) -> NodeRelease,
    happens: fn(&mut Scene) -> BoxFuture<'_, Result<()>>,
}

impl LedgerRow {
    /// Returns whether it runs media nodes of two releases.
    pub(crate) fn needs_other(&self) -> bool {
        (0..NODES).any(|node| (self.release)(node) == NodeRelease::Other)
    }
}

/// What a row breaks: a cluster whose edge 1 has an encoder, and whose edges have viewers.
struct Scene {
    cluster: ProcessCluster,
    stream: LedgerStream,
}

macro_rules! rows {
    ($($happens:ident $name:literal $release:ident, $event:literal;)*) => {
        &[$(LedgerRow {
            name: $name,
            event: $event,
            release: $release,
            happens: |scene| Box::pin($happens(scene)),
        },)*]
    };
}

/// All rows, in the order of the table. The carrying origin is the one that the encoder's edge forwards the stream to.
pub(crate) const ROWS: &[LedgerRow] = rows! {
    kill_origin "kill-origin" all_new,
        "the carrying origin is killed, and starts again after 2 s";
    replace_origin "replace-origin" all_new,
        "the carrying origin is killed, and one with another address replaces it";
    kill_both_origins "kill-both-origins" all_new,
        "both origins are killed, and start again after 2 s";
    hang_origin "hang-origin" all_new,
        "the carrying origin hangs for 5 s";
    cut_origin "cut-origin" all_new,
        "the carrying origin is cut off from everything for 5 s";
    part_origin "part-origin" all_new,
        "the encoder's edge and the carrying origin are cut off from each other for 8 s";
    drain_origin "drain-origin" all_new,
        "the carrying origin drains, and starts again";
    rolling_restart "rolling-restart" all_new,
        "rolling restart: each origin, then each edge drains and starts again";
    kill_edge "kill-edge" all_new,
        "an edge with a third of the viewers is killed, and starts again after 2 s";
    kill_encoders_edge "kill-encoders-edge" all_new,
        "the encoder's edge is killed, and starts again after 2 s";
    hang_edge "hang-edge" all_new,
        "an edge with a third of the viewers hangs for 5 s";
    cut_edge "cut-edge" all_new,
        "an edge with a third of the viewers is cut off from both origins for 5 s";
    cut_viewers "cut-viewers" all_new,
        "an edge and its viewers are cut off from each other for 5 s";
    lossy_network "lossy-network" all_new,
        "each media node loses 2 % of the packets that it receives, for 10 s";
    very_lossy_network "very-lossy-network" all_new,
        "each media node loses 20 % of the packets that it receives, for 10 s";
    narrow_paths "narrow-paths" all_new,
        "what each origin and edge gets from the others is limited to 1.2 times the stream, and the carrying origin is killed";
    narrow_origin "narrow-origin" all_new,
        "packets of more than 1300 bytes from the carrying origin to edges are lost for 10 s";
    narrow_edge "narrow-edge" all_new,
        "packets of more than 1300 bytes from the encoder's edge to origins are lost for 10 s";
    dns_loss "dns-loss" all_new,
        "no DNS for 8 s, and the carrying origin is killed meanwhile";
    dns_empty "dns-empty" all_new,
        "the origins' name has no address for 8 s, and the carrying origin is killed meanwhile";
    dns_changes "dns-changes" all_new,
        "the origins' name has other addresses each second, also of none, and the carrying origin is killed meanwhile";
    takeover "takeover" all_new,
        "another encoder takes over on another edge";
    takeovers "takeovers" all_new,
        "encoders take over from each other on all edges and origins, one each second";
    encoder_loop "encoder-loop" all_new,
        "the encoder ends and starts again after 1 s, three times";
    encoder_moves "encoder-moves" all_new,
        "the encoder ends and starts again after 1 s, each time on another edge or origin";
    encoder_freeze "encoder-freeze" all_new,
        "the encoder sends nothing for 3 s";
    rolling_restart "upgrade" all_other,
        "rolling upgrade from the release before";
    kill_origin "other-origins" origins_other,
        "origins of the release before: the carrying one is killed, and starts again";
    kill_origin "other-edges" edges_other,
        "edges of the release before: the carrying origin is killed, and starts again";
};

fn all_new(_: usize) -> NodeRelease {
    NodeRelease::This
}

fn all_other(_: usize) -> NodeRelease {
    NodeRelease::Other
}

fn origins_other(node: usize) -> NodeRelease {
    if node < ORIGINS {
        NodeRelease::Other
    } else {
        NodeRelease::This
    }
}

fn edges_other(node: usize) -> NodeRelease {
    if node < ORIGINS {
        NodeRelease::This
    } else {
        NodeRelease::Other
    }
}

/// The edge that the encoder publishes to, and the others.
const FIRST_EDGE: usize = ORIGINS;
const SECOND_EDGE: usize = ORIGINS + 1;
const THIRD_EDGE: usize = ORIGINS + 2;

/// Runs a row once. Its logs go to `folder`.
pub(crate) async fn run_row(
    row: &LedgerRow,
    programs: &Programs,
    dns: &NameServer,
    folder: &str,
) -> Result<Figures> {
    let cluster = ProcessCluster::start(folder, programs, dns, row.release).await?;
    let stream = LedgerStream::start(&cluster.edges()).await?;
    let mut scene = Scene { cluster, stream };
    (row.happens)(&mut scene).await?;
    let figures = scene.stream.figures(scene.cluster.folder()).await?;
    scene.cluster.end().await?;
    Ok(figures)
}
