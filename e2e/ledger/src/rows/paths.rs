//! Networks between media nodes, and between them and their clients: cut, lossy, narrow and slow.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::super::cluster::{ClusterSetup, TWO_ORIGINS};
use super::super::delay::{DelayedPackets, PacketDelay};
use super::scene::Part::{Carrier, Clients, Origin, OtherOrigin};
use super::scene::{FIRST_EDGE, Part, Scene, THIRD_EDGE};
use super::{LedgerRow, MORE, PLAIN, RowSetup, SHOWN, rows};

pub(super) const ROWS: &[LedgerRow] = rows! { scene:
    "cut-origin" SHOWN "the carrying origin is cut off from everything for 5 s"
        => cut_origin(scene, Duration::from_secs(5));
    "cut-origin-25s" MORE "the carrying origin is cut off from everything for 25 s"
        => cut_origin(scene, Duration::from_secs(25));
    "part-origin" SHOWN "the encoder's edge and the carrying origin are cut off from each other for 8 s"
        => scene.part(Carrier, &[FIRST_EDGE], Duration::from_secs(8));
    "part-origins" MORE "the origins are cut off from each other for 8 s"
        => scene.part(Carrier, &[OtherOrigin], Duration::from_secs(8));
    "part-edge" MORE "an edge with a third of the viewers and the carrying origin are cut off from each other for 8 s"
        => scene.part(THIRD_EDGE, &[Carrier], Duration::from_secs(8));
    "one-way-to-origin" MORE "the carrying origin gets nothing from the encoder's edge for 6 s"
        => scene.part_one_way(FIRST_EDGE, Carrier, Duration::from_secs(6));
    "one-way-to-encoder" MORE "the encoder's edge gets nothing from the carrying origin for 6 s"
        => scene.part_one_way(Carrier, FIRST_EDGE, Duration::from_secs(6));
    "one-way-to-edge" MORE "an edge with a third of the viewers gets nothing from the carrying origin for 6 s"
        => scene.part_one_way(Carrier, THIRD_EDGE, Duration::from_secs(6));
    "one-way-from-edge" MORE "the carrying origin gets nothing from an edge with a third of the viewers for 6 s"
        => scene.part_one_way(THIRD_EDGE, Carrier, Duration::from_secs(6));
    "cut-edge" SHOWN "an edge with a third of the viewers is cut off from both origins for 5 s"
        => scene.part(THIRD_EDGE, &BOTH, Duration::from_secs(5));
    "cut-edge-12s" MORE "an edge with a third of the viewers is cut off from both origins for 12 s, longer than logs keep media"
        => scene.part(THIRD_EDGE, &BOTH, Duration::from_secs(12));
    "cut-encoders-edge" MORE "the encoder's edge is cut off from both origins for 5 s"
        => scene.part(FIRST_EDGE, &BOTH, Duration::from_secs(5));
    "cut-and-kill" MORE "an edge with a third of the viewers is cut off from both origins for 4 s, and the carrying one is killed meanwhile"
        => cut_and_kill(scene);
    "cut-viewers" SHOWN "an edge and its viewers are cut off from each other for 5 s"
        => scene.part(THIRD_EDGE, &[Clients], Duration::from_secs(5));
    "cut-encoder" MORE "the encoder's edge and its clients are cut off from each other for 5 s"
        => scene.part(FIRST_EDGE, &[Clients], Duration::from_secs(5));
    "lossy-network" SHOWN "each media node loses 2 % of the packets that it receives, for 10 s"
        => lose_packets(scene, 0.02);
    "very-lossy-network" SHOWN "each media node loses 20 % of the packets that it receives, for 10 s"
        => lose_packets(scene, 0.2);
    "lossy-one-way" MORE "the carrying origin loses 5 % of the packets that it receives, for 10 s"
        => lose_at(scene, Carrier, 0.05);
    "lossy-encoder" MORE "20 % of what the encoder sends is lost, for 10 s"
        => lose_rtmp(scene);
    "resets" MORE "firewalls reset connections between media nodes at 1 % of the packets, for 10 s"
        => reset(scene);
    "small-packets" MORE "the network of the carrying origin passes only packets of up to 1280 bytes, for 10 s"
        => limit_packets(scene);
    "far" MORE "packets between media nodes take 75 ms each way, and the carrying origin is killed"
        => kill_far(scene, FAR);
    "very-far" MORE "packets between media nodes take 300 ms each way, and the carrying origin is killed"
        => kill_far(scene, VERY_FAR);
    "far-hang" MORE "packets between media nodes take 75 ms each way, and the carrying origin hangs for 5 s"
        => hang_far(scene);
    "jitter" MORE "packets between media nodes take 20 to 60 ms, overtake each other, and the carrying origin is killed"
        => kill_far(scene, JITTER);
    "narrow-paths" SHOWN "what each origin and edge gets from the others is limited to 1.2 times the stream, and the carrying origin is killed"
        => narrow_paths(scene);
    "narrow-drain" MORE "what each origin and edge gets from the others is limited to twice the stream, and the carrying origin drains for up to 30 s"
        => narrow_drain(scene), with LONG_DRAIN;
    "narrow-origin" SHOWN "packets of more than 1300 bytes from the carrying origin to edges are lost for 10 s"
        => lose_large_of_origin(scene);
    "narrow-edge" SHOWN "packets of more than 1300 bytes from the encoder's edge to origins are lost for 10 s"
        => lose_large(scene, FIRST_EDGE, &BOTH);
};

const BOTH: [Part; 2] = [Origin(0), Origin(1)];

async fn cut_origin(scene: &mut Scene, time: Duration) -> Result<()> {
    let network = scene.cluster.network(scene.node(Carrier).await?);
    network.cut(None).await?;
    sleep(time).await;
    network.mend().await
}

async fn cut_and_kill(scene: &mut Scene) -> Result<()> {
    let network = scene.cluster.network(scene.node(THIRD_EDGE).await?).clone();
    for origin in scene.cluster.origins() {
        network.cut(Some(scene.cluster.address(origin))).await?;
    }
    sleep(Duration::from_secs(2)).await;
    let killed = scene.kill(&[Carrier]).await?;
    sleep(Duration::from_secs(2)).await;
    network.mend().await?;
    sleep(Duration::from_secs(2)).await;
    scene.restart(&killed).await
}

async fn lose_packets(scene: &mut Scene, share: f64) -> Result<()> {
    for node in scene.cluster.all() {
        scene.cluster.network(node).lose(share).await?;
    }
    sleep(Duration::from_secs(10)).await;
    for node in scene.cluster.all() {
        scene.cluster.network(node).mend().await?;
    }
    Ok(())
}

async fn lose_at(scene: &mut Scene, part: Part, share: f64) -> Result<()> {
    let network = scene.cluster.network(scene.node(part).await?);
    network.lose(share).await?;
    sleep(Duration::from_secs(10)).await;
    network.mend().await
}

async fn lose_rtmp(scene: &mut Scene) -> Result<()> {
    let network = scene.cluster.network(scene.node(FIRST_EDGE).await?);
    network.lose_rtmp(0.2).await?;
    sleep(Duration::from_secs(10)).await;
    network.mend().await
}

async fn reset(scene: &mut Scene) -> Result<()> {
    for node in scene.cluster.all() {
        scene.cluster.network(node).reset(0.01).await?;
    }
    sleep(Duration::from_secs(10)).await;
    for node in scene.cluster.all() {
        scene.cluster.network(node).mend().await?;
    }
    Ok(())
}

async fn limit_packets(scene: &mut Scene) -> Result<()> {
    let network = scene.cluster.network(scene.node(Carrier).await?);
    network.limit_packets(1280).await?;
    sleep(Duration::from_secs(10)).await;
    network.limit_packets(1500).await
}

const FAR: PacketDelay = PacketDelay {
    least: Duration::from_millis(75),
    jitter: Duration::ZERO,
};
const VERY_FAR: PacketDelay = PacketDelay {
    least: Duration::from_millis(300),
    jitter: Duration::ZERO,
};
const JITTER: PacketDelay = PacketDelay {
    least: Duration::from_millis(20),
    jitter: Duration::from_millis(40),
};

async fn kill_far(scene: &mut Scene, delay: PacketDelay) -> Result<()> {
    let delayed = delay_all(scene, delay).await?;
    let pause = Duration::from_secs(2);
    scene.kill_and_restart(&[Carrier], pause).await?;
    end_delay(scene, delayed).await
}

async fn hang_far(scene: &mut Scene) -> Result<()> {
    let delayed = delay_all(scene, FAR).await?;
    scene.hang(Carrier, Duration::from_secs(5)).await?;
    end_delay(scene, delayed).await
}

/// Delays what media nodes send each other. Returns when they are used to it.
async fn delay_all(scene: &Scene, delay: PacketDelay) -> Result<Vec<DelayedPackets>> {
    let mut delayed = Vec::new();
    for node in scene.cluster.all() {
        delayed.push(scene.cluster.network(node).delay(delay).await?);
    }
    sleep(Duration::from_secs(4)).await;
    Ok(delayed)
}

async fn end_delay(scene: &Scene, delayed: Vec<DelayedPackets>) -> Result<()> {
    sleep(Duration::from_secs(4)).await;
    for node in scene.cluster.all() {
        scene.cluster.network(node).mend().await?;
    }
    drop(delayed);
    Ok(())
}

/// Kilobits a second: 1.2 times the encoder's stream with all headers, and twice that stream.
const NARROW: u32 = 500;
const WIDER: u32 = 830;

const LONG_DRAIN: RowSetup = RowSetup {
    cluster: ClusterSetup {
        drain_seconds: 30,
        ..TWO_ORIGINS
    },
    ..PLAIN
};

async fn narrow_paths(scene: &mut Scene) -> Result<()> {
    let limited = narrow_all(scene, NARROW).await?;
    let pause = Duration::from_secs(2);
    scene.kill_and_restart(&[Carrier], pause).await?;
    sleep(Duration::from_secs(4)).await;
    widen_all(scene, limited).await
}

async fn narrow_drain(scene: &mut Scene) -> Result<()> {
    // Until logs have all that they keep.
    sleep(Duration::from_secs(8)).await;
    let limited = narrow_all(scene, WIDER).await?;
    scene.drain(&[Carrier]).await?;
    widen_all(scene, limited).await
}

/// Limits what media nodes get from each other, but neither what the encoder sends nor what viewers get. Returns after some seconds.
async fn narrow_all(scene: &Scene, kilobits: u32) -> Result<Vec<usize>> {
    let first = scene.node(FIRST_EDGE).await?;
    let mut limited: Vec<usize> = scene.cluster.all().collect();
    limited.retain(|node| *node != first);
    for node in &limited {
        scene.cluster.network(*node).narrow(kilobits).await?;
    }
    sleep(Duration::from_secs(4)).await;
    Ok(limited)
}

async fn widen_all(scene: &Scene, limited: Vec<usize>) -> Result<()> {
    for node in limited {
        scene.cluster.network(node).widen().await?;
    }
    Ok(())
}

async fn lose_large_of_origin(scene: &mut Scene) -> Result<()> {
    let edges = [0, 1, 2].map(Part::Edge);
    lose_large(scene, Carrier, &edges).await
}

/// Loses large packets from a media node to these.
async fn lose_large(scene: &mut Scene, part: Part, peers: &[Part]) -> Result<()> {
    let network = scene.cluster.network(scene.node(part).await?);
    for peer in peers {
        let peer = scene.cluster.address(scene.node(*peer).await?);
        network.lose_large(peer).await?;
    }
    sleep(Duration::from_secs(10)).await;
    network.mend().await
}
