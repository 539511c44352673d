//! Encoders that come, go, hang and take over, and what they send.

use std::time::Duration;

use anyhow::Result;
use e2e::media::Codecs;
use tokio::time::sleep;

use super::super::cluster::{ClusterSetup, NodeRelease, TWO_ORIGINS};
use super::scene::Part::{Carrier, Origin};
use super::scene::{FIRST_EDGE, Part, SECOND_EDGE, Scene, THIRD_EDGE};
use super::{LedgerRow, MORE, PLAIN, RowSetup, SHOWN, rows};

pub(super) const ROWS: &[LedgerRow] = rows! { scene:
    "takeover" SHOWN "another encoder takes over on another edge"
        => take_over(scene, SECOND_EDGE);
    "takeovers" SHOWN "encoders take over from each other on all edges and origins, one each second"
        => takeovers(scene);
    "kill-and-takeover" MORE "the carrying origin is killed, and at that moment another encoder takes over on another edge"
        => kill_and_take_over(scene);
    "kill-and-publish" MORE "the encoder ends, the carrying origin is killed, and the encoder starts again after 0.5 s"
        => kill_and_publish(scene);
    "encoder-loop" SHOWN "the encoder ends and starts again after 1 s, three times"
        => encode_on(scene, &[FIRST_EDGE; 3]);
    "encoder-loop-origin" MORE "the encoder ends and starts again after 1 s on an origin, three times"
        => encode_on(scene, &[Origin(0); 3]);
    "encoder-moves" SHOWN "the encoder ends and starts again after 1 s, each time on another edge or origin"
        => encode_on(scene, &MOVES);
    "loop-reject" MORE "the encoder ends and starts again after 1 s, three times; `duplicatePublish: reject`"
        => encode_on(scene, &[FIRST_EDGE; 3]), with REJECT;
    "loop-standby" MORE "the encoder ends and starts again after 1 s, three times; `duplicatePublish: standby`"
        => encode_on(scene, &[FIRST_EDGE; 3]), with STANDBY;
    "moves-reject" MORE "the encoder ends and starts again after 1 s, each time on another edge or origin; `duplicatePublish: reject`"
        => encode_on(scene, &MOVES), with REJECT;
    "moves-standby" MORE "the encoder ends and starts again after 1 s, each time on another edge or origin; `duplicatePublish: standby`"
        => encode_on(scene, &MOVES), with STANDBY;
    "kill-reject" MORE "the encoder's edge is killed, and starts again after 2 s; `duplicatePublish: reject`"
        => scene.kill_and_restart(&[FIRST_EDGE], SOON), with REJECT;
    "kill-standby" MORE "the encoder's edge is killed, and starts again after 2 s; `duplicatePublish: standby`"
        => scene.kill_and_restart(&[FIRST_EDGE], SOON), with STANDBY;
    "roll-reject" MORE "rolling restart: each origin, then each edge drains and starts again; `duplicatePublish: reject`"
        => scene.roll(scene.cluster.all(), NodeRelease::This), with REJECT;
    "roll-standby" MORE "rolling restart: each origin, then each edge drains and starts again; `duplicatePublish: standby`"
        => scene.roll(scene.cluster.all(), NodeRelease::This), with STANDBY;
    "encoder-freeze-1s" MORE "the encoder sends nothing for 1 s"
        => freeze(scene, Duration::from_secs(1));
    "encoder-freeze" SHOWN "the encoder sends nothing for 3 s"
        => freeze(scene, Duration::from_secs(3));
    "encoder-freeze-10s" MORE "the encoder sends nothing for 10 s"
        => freeze(scene, Duration::from_secs(10));
    "lost-encoder" MORE "the encoder's network is lost, and it connects again after 1 s on another edge"
        => lose_encoder(scene);
    "lost-reject" MORE "the encoder's network is lost, and it connects again after 1 s on another edge; `duplicatePublish: reject`"
        => lose_encoder(scene), with REJECT;
    "lost-standby" MORE "the encoder's network is lost, and it connects again after 1 s on another edge; `duplicatePublish: standby`"
        => lose_encoder_and_stand_by(scene), with STANDBY;
    "standby-ends" MORE "the encoder ends, and a standby on another edge follows"
        => standby_follows_end(scene), with STANDBY;
    "standby-ends-kill" MORE "the encoder ends, its carrying origin is killed at that moment, and a standby on another edge follows"
        => standby_follows_end_and_kill(scene), with STANDBY;
    "standby-hangs" MORE "the encoder hangs, and a standby on another edge follows after `failoverAfterMilliseconds`, 2 s"
        => standby_follows_hang(scene), with STANDBY;
    "standby-drain" MORE "the encoder's edge drains, and a standby on another edge follows"
        => standby_follows_drain(scene), with STANDBY;
    "standby-kill" MORE "the encoder's edge is killed, and a standby on another edge follows"
        => standby_follows_kill(scene), with STANDBY;
    "audio-only" MORE "audio only: the carrying origin is killed, and starts again after 2 s"
        => scene.kill_and_restart(&[Carrier], SOON), with AUDIO;
    "audio-only-hang" MORE "audio only: the carrying origin hangs for 5 s"
        => scene.hang(Carrier, Duration::from_secs(5)), with AUDIO;
    "hevc" MORE "HEVC: the carrying origin is killed, and starts again after 2 s"
        => scene.kill_and_restart(&[Carrier], SOON), with HEVC;
    "hevc-hang" MORE "HEVC: the carrying origin hangs for 5 s"
        => scene.hang(Carrier, Duration::from_secs(5)), with HEVC;
    "large" MORE "8 Mbit/s: the carrying origin is killed, and starts again after 2 s"
        => scene.kill_and_restart(&[Carrier], SOON), with LARGE;
    "large-hang" MORE "8 Mbit/s: the carrying origin hangs for 5 s"
        => scene.hang(Carrier, Duration::from_secs(5)), with LARGE;
    "large-cut-edge" MORE "8 Mbit/s: an edge with a third of the viewers is cut off from both origins for 5 s"
        => scene.part(THIRD_EDGE, &[Origin(0), Origin(1)], Duration::from_secs(5)), with LARGE;
    "large-roll" MORE "8 Mbit/s: rolling restart of the origins"
        => scene.roll(scene.cluster.origins(), NodeRelease::This), with LARGE;
};

const SOON: Duration = Duration::from_secs(2);

const MOVES: [Part; 4] = [SECOND_EDGE, Origin(0), THIRD_EDGE, Origin(1)];

const REJECT: RowSetup = with_policy("reject");
const STANDBY: RowSetup = with_policy("standby");

const fn with_policy(duplicate_publish: &'static str) -> RowSetup {
    RowSetup {
        cluster: ClusterSetup {
            duplicate_publish,
            ..TWO_ORIGINS
        },
        ..PLAIN
    }
}

const AUDIO: RowSetup = RowSetup {
    codecs: Codecs::Aac,
    ..PLAIN
};
const HEVC: RowSetup = RowSetup {
    codecs: Codecs::HevcAac,
    ..PLAIN
};

const LARGE: RowSetup = RowSetup {
    codecs: Codecs::LargeH264Aac,
    ..PLAIN
};

async fn take_over(scene: &mut Scene, part: Part) -> Result<()> {
    let url = scene.url(part).await?;
    scene.stream()?.take_over(&[url]).await
}

async fn takeovers(scene: &mut Scene) -> Result<()> {
    let origins = [Origin(0), Origin(1)];
    for part in origins.into_iter().chain((0..3).map(Part::Edge)) {
        take_over(scene, part).await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn kill_and_take_over(scene: &mut Scene) -> Result<()> {
    let killed = scene.kill(&[Carrier]).await?;
    take_over(scene, SECOND_EDGE).await?;
    sleep(SOON).await;
    scene.restart(&killed).await
}

async fn kill_and_publish(scene: &mut Scene) -> Result<()> {
    let carrier = scene.node(Carrier).await?;
    scene.stream()?.end_encoder().await?;
    scene.kill(&[Origin(carrier)]).await?;
    sleep(Duration::from_millis(500)).await;
    publish(scene, FIRST_EDGE).await?;
    sleep(SOON).await;
    scene.restart(&[carrier]).await
}

async fn publish(scene: &mut Scene, part: Part) -> Result<()> {
    let url = scene.url(part).await?;
    scene.stream()?.publish(&[url]).await
}

/// Ends the encoder and starts it again on each of these media nodes.
async fn encode_on(scene: &mut Scene, parts: &[Part]) -> Result<()> {
    for part in parts {
        scene.stream()?.end_encoder().await?;
        sleep(Duration::from_secs(1)).await;
        publish(scene, *part).await?;
        sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

async fn freeze(scene: &mut Scene, time: Duration) -> Result<()> {
    let encoder = scene.stream()?.encoder()?;
    encoder.freeze();
    sleep(time).await;
    encoder.thaw();
    Ok(())
}

async fn lose_encoder(scene: &mut Scene) -> Result<()> {
    scene.stream()?.hang_encoder()?;
    sleep(Duration::from_secs(1)).await;
    publish(scene, SECOND_EDGE).await?;
    sleep(SOON).await;
    Ok(())
}

async fn lose_encoder_and_stand_by(scene: &mut Scene) -> Result<()> {
    scene.stream()?.hang_encoder()?;
    sleep(Duration::from_secs(1)).await;
    stand_by(scene).await
}

/// Connects a standby to another edge, and lets the cluster know it.
async fn stand_by(scene: &mut Scene) -> Result<()> {
    let url = scene.url(SECOND_EDGE).await?;
    scene.stream()?.stand_by(&url).await?;
    sleep(SOON).await;
    Ok(())
}

async fn standby_follows_end(scene: &mut Scene) -> Result<()> {
    stand_by(scene).await?;
    scene.stream()?.end_encoder().await
}

async fn standby_follows_end_and_kill(scene: &mut Scene) -> Result<()> {
    stand_by(scene).await?;
    let carrier = scene.node(Carrier).await?;
    scene.stream()?.end_encoder().await?;
    scene.kill_and_restart(&[Origin(carrier)], SOON).await
}

async fn standby_follows_hang(scene: &mut Scene) -> Result<()> {
    stand_by(scene).await?;
    scene.stream()?.hang_encoder()
}

async fn standby_follows_drain(scene: &mut Scene) -> Result<()> {
    stand_by(scene).await?;
    scene.stream()?.encoder()?.give_up();
    scene.drain(&[FIRST_EDGE]).await
}

async fn standby_follows_kill(scene: &mut Scene) -> Result<()> {
    stand_by(scene).await?;
    let killed = scene.kill(&[FIRST_EDGE]).await?;
    scene.stream()?.end_encoder().await?;
    sleep(SOON).await;
    scene.restart(&killed).await
}
