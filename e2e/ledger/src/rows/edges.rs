//! Edges that fail, hang and drain, and all media nodes together.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::super::audience::AudienceKind;
use super::super::cluster::NodeRelease;
use super::scene::Part::{Carrier, Edge, Origin};
use super::scene::{FIRST_EDGE, SECOND_EDGE, Scene, THIRD_EDGE};
use super::{LedgerRow, MORE, PLAIN, RowSetup, SHOWN, rows};

pub(super) const ROWS: &[LedgerRow] = rows! { scene:
    "rolling-restart" SHOWN "rolling restart: each origin, then each edge drains and starts again"
        => scene.roll(scene.cluster.all(), NodeRelease::This);
    "roll-edges" MORE "rolling restart of the edges"
        => scene.roll(scene.cluster.edges(), NodeRelease::This);
    "drain-edge" MORE "an edge with a third of the viewers drains, and starts again"
        => scene.drain(&[THIRD_EDGE]);
    "drain-encoders-edge" MORE "the encoder's edge drains, and starts again"
        => scene.drain(&[FIRST_EDGE]);
    "drain-edges" MORE "all edges drain at the same time, and start again"
        => scene.drain(&[FIRST_EDGE, SECOND_EDGE, THIRD_EDGE]);
    "drain-all" MORE "all media nodes drain at the same time, and start again"
        => scene.drain(&ALL);
    "kill-all" MORE "all media nodes are killed, and start again after 2 s"
        => scene.kill_and_restart(&ALL, SOON);
    "kill-edge" SHOWN "an edge with a third of the viewers is killed, and starts again after 2 s"
        => scene.kill_and_restart(&[THIRD_EDGE], SOON);
    "kill-encoders-edge" SHOWN "the encoder's edge is killed, and starts again after 2 s"
        => scene.kill_and_restart(&[FIRST_EDGE], SOON);
    "edge-starts" MORE "an edge starts, as the carrying origin is killed"
        => start_edge(scene);
    "certificates" MORE "the certificates of all edges are replaced, three times, and the carrying origin is killed"
        => replace_certificates(scene);
    "hang-edge" SHOWN "an edge with a third of the viewers hangs for 5 s"
        => scene.hang(THIRD_EDGE, Duration::from_secs(5));
    "hang-edge-0.5s" MORE "an edge with a third of the viewers hangs for 0.5 s"
        => scene.hang(THIRD_EDGE, Duration::from_millis(500));
    "hang-edge-11s" MORE "an edge with a third of the viewers hangs for 11 s, longer than logs keep media"
        => scene.hang(THIRD_EDGE, Duration::from_secs(11));
    "hang-edge-25s" MORE "an edge with a third of the viewers hangs for 25 s"
        => scene.hang(THIRD_EDGE, Duration::from_secs(25));
    "hang-encoders-edge" MORE "the encoder's edge hangs for 3 s"
        => scene.hang(FIRST_EDGE, Duration::from_secs(3));
    "hang-encoders-11s" MORE "the encoder's edge hangs for 11 s, longer than logs keep media"
        => scene.hang(FIRST_EDGE, Duration::from_secs(11));
    "hang-encoders-25s" MORE "the encoder's edge hangs for 25 s, longer than encoders wait"
        => scene.hang(FIRST_EDGE, Duration::from_secs(25));
    "tls-kill" MORE "HTTPS and RTMPS: the carrying origin and an edge with a third of the viewers are killed, and start again after 2 s"
        => scene.kill_and_restart(&[Carrier, THIRD_EDGE], SOON), with TLS;
    "tls-kill-encoders" MORE "HTTPS and RTMPS: the encoder's edge is killed, and starts again after 2 s"
        => scene.kill_and_restart(&[FIRST_EDGE], SOON), with TLS;
    "tls-hang" MORE "HTTPS and RTMPS: the encoder's edge hangs for 3 s"
        => scene.hang(FIRST_EDGE, Duration::from_secs(3)), with TLS;
    "tls-roll" MORE "HTTPS and RTMPS: rolling restart of the edges"
        => scene.roll(scene.cluster.edges(), NodeRelease::This), with TLS;
    "tls-certificates" MORE "HTTPS and RTMPS: the certificates of all edges are replaced, three times, and the carrying origin is killed"
        => replace_certificates(scene), with TLS;
};

const TLS: RowSetup = RowSetup {
    audience: AudienceKind::Encrypted,
    ..PLAIN
};

const SOON: Duration = Duration::from_secs(2);

const ALL: [super::scene::Part; 5] = [Origin(0), Origin(1), Edge(0), Edge(1), Edge(2)];

async fn start_edge(scene: &mut Scene) -> Result<()> {
    let edge = scene.kill(&[THIRD_EDGE]).await?;
    sleep(Duration::from_secs(1)).await;
    let origin = scene.kill(&[Carrier]).await?;
    scene.restart(&edge).await?;
    sleep(SOON).await;
    scene.restart(&origin).await
}

async fn replace_certificates(scene: &mut Scene) -> Result<()> {
    for _ in 0..2 {
        scene.cluster.replace_certificate().await?;
        sleep(SOON).await;
    }
    let killed = scene.kill(&[Carrier]).await?;
    scene.cluster.replace_certificate().await?;
    sleep(SOON).await;
    scene.restart(&killed).await
}
