//! Origins that fail, hang and drain.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tokio::time::sleep;

use super::super::audience::AudienceKind;
use super::super::cluster::{ClusterSetup, NodeRelease, TWO_ORIGINS};
use super::super::network::IpVersion;
use super::scene::Part::{Carrier, Origin, OtherOrigin};
use super::scene::{Scene, THIRD_EDGE};
use super::{EncoderPlace, LedgerRow, MORE, PLAIN, RowSetup, SHOWN, rows};

pub(super) const ROWS: &[LedgerRow] = rows! { scene:
    "kill-origin" SHOWN "the carrying origin is killed, and starts again after 2 s"
        => scene.kill_and_restart(&[Carrier], SOON);
    "replace-origin" SHOWN "the carrying origin is killed, and one with another address replaces it"
        => replace_origin(scene);
    "kill-both-origins" SHOWN "both origins are killed, and start again after 2 s"
        => scene.kill_and_restart(&[Carrier, OtherOrigin], SOON);
    "kill-other-origin" MORE "the other origin is killed, and starts again after 2 s"
        => scene.kill_and_restart(&[OtherOrigin], SOON);
    "kill-two-of-three" MORE "two of three origins are killed, the carrying one among them, and start again after 2 s"
        => scene.kill_and_restart(&[Carrier, OtherOrigin], SOON), with THREE_ORIGINS;
    "kill-one-by-one" MORE "the carrying origin is killed, 0.5 s later the other one; each starts again 1 s and 2 s later"
        => kill_one_by_one(scene);
    "kill-five-times" MORE "an origin, the carrying one at first, is killed five times in 10 s, as in a crash loop"
        => kill_five_times(scene);
    "chase-carrier" MORE "whichever origin carries the stream is killed, four times, and starts again after 0.7 s"
        => chase_carrier(scene);
    "kill-origin-edge" MORE "the carrying origin and an edge are killed, and start again after 2 s"
        => scene.kill_and_restart(&[Carrier, THIRD_EDGE], SOON);
    "kill-both-streams" MORE "three streams, one at each edge: one origin is killed, then the other one"
        => kill_both_in_turn(scene), with THREE_STREAMS;
    "replace-origin-ipv6" MORE "IPv6 only: the carrying origin is killed, and one with another address replaces it"
        => replace_origin(scene), with IPV6;
    "many-streams" MORE "50 streams, each with one viewer at another edge: an origin that carries half of them is killed, and starts again after 2 s"
        => scene.kill_and_restart(&[Carrier], SOON), with MANY_STREAMS;
    "little-memory" MORE "the same, with 16 MiB for the media of each media node, less than the windows of all streams"
        => scene.kill_and_restart(&[Carrier], SOON), with LITTLE_MEMORY;
    "hang-origin" SHOWN "the carrying origin hangs for 5 s"
        => scene.hang(Carrier, Duration::from_secs(5));
    "hang-origin-0.5s" MORE "the carrying origin hangs for 0.5 s"
        => scene.hang(Carrier, Duration::from_millis(500));
    "hang-origin-3s" MORE "the carrying origin hangs for 3 s"
        => scene.hang(Carrier, Duration::from_secs(3));
    "hang-origin-11s" MORE "the carrying origin hangs for 11 s, longer than logs keep media"
        => scene.hang(Carrier, Duration::from_secs(11));
    "hang-origin-25s" MORE "the carrying origin hangs for 25 s"
        => scene.hang(Carrier, Duration::from_secs(25));
    "hang-other-origin" MORE "the other origin hangs for 5 s"
        => scene.hang(OtherOrigin, Duration::from_secs(5));
    "hang-other-25s" MORE "the other origin hangs for 25 s"
        => scene.hang(OtherOrigin, Duration::from_secs(25));
    "stutter-origin" MORE "the carrying origin hangs for 0.6 s, eight times"
        => stutter(scene);
    "hang-and-kill" MORE "the carrying origin hangs for 5 s, and the other one is killed, and starts again after 1 s"
        => hang_and_kill(scene);
    "drain-origin" SHOWN "the carrying origin drains, and starts again"
        => scene.drain(&[Carrier]);
    "drain-both-origins" MORE "both origins drain at the same time, and start again"
        => scene.drain(&[Carrier, OtherOrigin]);
    "drain-and-kill" MORE "the carrying origin drains, and is killed 1 s later"
        => drain_and_kill(scene);
    "drain-last-origin" MORE "the other origin is killed, the carrying one drains, and both start again"
        => drain_last(scene);
    "kill-encoders-origin" MORE "the origin that the encoder publishes to is killed, and starts again after 2 s"
        => scene.kill_and_restart(&[Origin(0)], SOON), with AT_ORIGIN;
    "hang-encoders-origin" MORE "the origin that the encoder publishes to hangs for 5 s"
        => scene.hang(Origin(0), Duration::from_secs(5)), with AT_ORIGIN;
    "drain-encoders-origin" MORE "the origin that the encoder publishes to drains, and starts again"
        => scene.drain(&[Origin(0)]), with AT_ORIGIN;
    "kill-only-origin" MORE "the only origin is killed, and starts again after 2 s"
        => scene.kill_and_restart(&[Carrier], SOON), with ONE_ORIGIN;
    "hang-only-origin" MORE "the only origin hangs for 5 s"
        => scene.hang(Carrier, Duration::from_secs(5)), with ONE_ORIGIN;
    "drain-only-origin" MORE "the only origin drains, and starts again"
        => scene.drain(&[Carrier]), with ONE_ORIGIN;
    "roll-origins" MORE "rolling restart of the origins"
        => scene.roll(scene.cluster.origins(), NodeRelease::This);
};

const SOON: Duration = Duration::from_secs(2);

const THREE_ORIGINS: RowSetup = RowSetup {
    cluster: ClusterSetup {
        origins: 3,
        ..TWO_ORIGINS
    },
    ..PLAIN
};

const ONE_ORIGIN: RowSetup = RowSetup {
    cluster: ClusterSetup {
        origins: 1,
        ..TWO_ORIGINS
    },
    ..PLAIN
};

const AT_ORIGIN: RowSetup = RowSetup {
    encoder: EncoderPlace::Origins,
    ..PLAIN
};

const THREE_STREAMS: RowSetup = RowSetup {
    streams: 3,
    ..PLAIN
};

const IPV6: RowSetup = RowSetup {
    cluster: ClusterSetup {
        ip: IpVersion::V6,
        ..TWO_ORIGINS
    },
    ..PLAIN
};

const MANY_STREAMS: RowSetup = RowSetup {
    streams: 50,
    audience: AudienceKind::One,
    ..PLAIN
};

const LITTLE_MEMORY: RowSetup = RowSetup {
    cluster: ClusterSetup {
        limits: "{maxMediaMebibytes: 16}",
        ..TWO_ORIGINS
    },
    ..MANY_STREAMS
};

async fn replace_origin(scene: &mut Scene) -> Result<()> {
    for node in scene.kill(&[Carrier]).await? {
        scene.cluster.replace(node).await?;
    }
    Ok(())
}

async fn kill_one_by_one(scene: &mut Scene) -> Result<()> {
    let other = scene.node(OtherOrigin).await?;
    let first = scene.kill(&[Carrier]).await?;
    sleep(Duration::from_millis(500)).await;
    scene.kill(&[Origin(other)]).await?;
    sleep(Duration::from_secs(1)).await;
    scene.restart(&first).await?;
    sleep(Duration::from_secs(1)).await;
    scene.restart(&[other]).await
}

async fn kill_five_times(scene: &mut Scene) -> Result<()> {
    let node = scene.node(Carrier).await?;
    for _ in 0..5 {
        let pause = Duration::from_secs(1);
        scene.kill_and_restart(&[Origin(node)], pause).await?;
        sleep(pause).await;
    }
    Ok(())
}

async fn chase_carrier(scene: &mut Scene) -> Result<()> {
    for _ in 0..4 {
        let pause = Duration::from_millis(700);
        scene.kill_and_restart(&[Carrier], pause).await?;
        sleep(pause).await;
    }
    Ok(())
}

async fn kill_both_in_turn(scene: &mut Scene) -> Result<()> {
    for origin in scene.cluster.origins() {
        scene.kill_and_restart(&[Origin(origin)], SOON).await?;
        sleep(SOON).await;
    }
    Ok(())
}

async fn stutter(scene: &mut Scene) -> Result<()> {
    let node = scene.node(Carrier).await?;
    for _ in 0..8 {
        let part = Origin(node);
        scene.hang(part, Duration::from_millis(600)).await?;
        sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

async fn hang_and_kill(scene: &mut Scene) -> Result<()> {
    let (carrier, other) = (scene.node(Carrier).await?, scene.node(OtherOrigin).await?);
    scene.cluster.signal(carrier, Signal::STOP)?;
    let pause = Duration::from_secs(1);
    scene.kill_and_restart(&[Origin(other)], pause).await?;
    sleep(Duration::from_secs(4)).await;
    scene.cluster.signal(carrier, Signal::CONT)
}

async fn drain_and_kill(scene: &mut Scene) -> Result<()> {
    let carrier = scene.node(Carrier).await?;
    scene.cluster.signal(carrier, Signal::TERM)?;
    sleep(Duration::from_secs(1)).await;
    scene.kill_and_restart(&[Origin(carrier)], SOON).await
}

async fn drain_last(scene: &mut Scene) -> Result<()> {
    let killed = scene.kill(&[OtherOrigin]).await?;
    sleep(SOON).await;
    scene.drain(&[Carrier]).await?;
    scene.restart(&killed).await
}
