//! Media nodes of two releases.

use std::time::Duration;

use super::super::cluster::{ClusterSetup, NodeRelease, TWO_ORIGINS};
use super::scene::Part::Carrier;
use super::{LedgerRow, MORE, PLAIN, RowSetup, SHOWN, rows};

pub(super) const ROWS: &[LedgerRow] = rows! { scene:
    "upgrade" SHOWN "rolling upgrade from the release before"
        => scene.roll(scene.cluster.all(), NodeRelease::This),
        with releases(NodeRelease::Other, NodeRelease::Other);
    "downgrade" MORE "rolling back to the release before"
        => scene.roll(scene.cluster.all(), NodeRelease::Other),
        with releases(NodeRelease::This, NodeRelease::This);
    "other-origins" SHOWN "origins of the release before: the carrying one is killed, and starts again"
        => scene.kill_and_restart(&[Carrier], SOON),
        with releases(NodeRelease::Other, NodeRelease::This);
    "other-edges" SHOWN "edges of the release before: the carrying origin is killed, and starts again"
        => scene.kill_and_restart(&[Carrier], SOON),
        with releases(NodeRelease::This, NodeRelease::Other);
};

const SOON: Duration = Duration::from_secs(2);

const fn releases(origin_release: NodeRelease, edge_release: NodeRelease) -> RowSetup {
    RowSetup {
        cluster: ClusterSetup {
            origin_release,
            edge_release,
            ..TWO_ORIGINS
        },
        needs_other: true,
        ..PLAIN
    }
}
