//! What happens in the rows.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tokio::time::sleep;

use super::super::cluster::{NODES, NodeRelease, ORIGINS};
use super::super::network::OWN;
use super::super::stream::STREAM;
use super::{FIRST_EDGE, SECOND_EDGE, Scene, THIRD_EDGE};

pub(super) async fn kill_origin(scene: &mut Scene) -> Result<()> {
    let carrier = scene.cluster.carrier(STREAM).await?;
    kill_and_restart(scene, carrier).await
}

pub(super) async fn replace_origin(scene: &mut Scene) -> Result<()> {
    let carrier = scene.cluster.carrier(STREAM).await?;
    scene.cluster.kill(carrier).await?;
    scene.cluster.replace(carrier).await
}

pub(super) async fn kill_both_origins(scene: &mut Scene) -> Result<()> {
    for origin in 0..ORIGINS {
        scene.cluster.kill(origin).await?;
    }
    sleep(Duration::from_secs(2)).await;
    for origin in 0..ORIGINS {
        scene.cluster.restart(origin, NodeRelease::This).await?;
    }
    Ok(())
}

pub(super) async fn hang_origin(scene: &mut Scene) -> Result<()> {
    let carrier = scene.cluster.carrier(STREAM).await?;
    scene.cluster.signal(carrier, Signal::STOP)?;
    sleep(Duration::from_secs(5)).await;
    scene.cluster.signal(carrier, Signal::CONT)
}

pub(super) async fn cut_origin(scene: &mut Scene) -> Result<()> {
    let carrier = scene.cluster.carrier(STREAM).await?;
    let network = scene.cluster.network(carrier);
    network.cut(None).await?;
    sleep(Duration::from_secs(5)).await;
    network.mend().await
}

pub(super) async fn part_origin(scene: &mut Scene) -> Result<()> {
    let carrier = scene.cluster.carrier(STREAM).await?;
    let edge = scene.cluster.network(FIRST_EDGE).address;
    let network = scene.cluster.network(carrier);
    network.cut(Some(edge)).await?;
    sleep(Duration::from_secs(8)).await;
    network.mend().await
}

pub(super) async fn drain_origin(scene: &mut Scene) -> Result<()> {
    let carrier = scene.cluster.carrier(STREAM).await?;
    scene.cluster.drain(carrier).await?;
    scene.cluster.restart(carrier, NodeRelease::This).await
}

pub(super) async fn rolling_restart(scene: &mut Scene) -> Result<()> {
    for node in 0..NODES {
        scene.cluster.drain(node).await?;
        scene.cluster.restart(node, NodeRelease::This).await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

pub(super) async fn kill_edge(scene: &mut Scene) -> Result<()> {
    kill_and_restart(scene, THIRD_EDGE).await
}

pub(super) async fn kill_encoders_edge(scene: &mut Scene) -> Result<()> {
    kill_and_restart(scene, FIRST_EDGE).await
}

async fn kill_and_restart(scene: &mut Scene, node: usize) -> Result<()> {
    let release = scene.cluster.release(node);
    scene.cluster.kill(node).await?;
    sleep(Duration::from_secs(2)).await;
    scene.cluster.restart(node, release).await
}

pub(super) async fn hang_edge(scene: &mut Scene) -> Result<()> {
    scene.cluster.signal(THIRD_EDGE, Signal::STOP)?;
    sleep(Duration::from_secs(5)).await;
    scene.cluster.signal(THIRD_EDGE, Signal::CONT)
}

pub(super) async fn cut_edge(scene: &mut Scene) -> Result<()> {
    let network = scene.cluster.network(THIRD_EDGE);
    for origin in 0..ORIGINS {
        let origin = scene.cluster.network(origin).address;
        network.cut(Some(origin)).await?;
    }
    sleep(Duration::from_secs(5)).await;
    network.mend().await
}

pub(super) async fn cut_viewers(scene: &mut Scene) -> Result<()> {
    let network = scene.cluster.network(THIRD_EDGE);
    network.cut(Some(OWN)).await?;
    sleep(Duration::from_secs(5)).await;
    network.mend().await
}

pub(super) async fn lossy_network(scene: &mut Scene) -> Result<()> {
    lose_packets(scene, 0.02).await
}

pub(super) async fn very_lossy_network(scene: &mut Scene) -> Result<()> {
    lose_packets(scene, 0.2).await
}

async fn lose_packets(scene: &mut Scene, share: f64) -> Result<()> {
    for node in 0..NODES {
        scene.cluster.network(node).lose(share).await?;
    }
    sleep(Duration::from_secs(10)).await;
    for node in 0..NODES {
        scene.cluster.network(node).mend().await?;
    }
    Ok(())
}

pub(super) async fn narrow_origin(scene: &mut Scene) -> Result<()> {
    let carrier = scene.cluster.carrier(STREAM).await?;
    lose_large(scene, carrier, ORIGINS..NODES).await
}

pub(super) async fn narrow_edge(scene: &mut Scene) -> Result<()> {
    lose_large(scene, FIRST_EDGE, 0..ORIGINS).await
}

/// Loses large packets from a media node to these.
async fn lose_large(scene: &mut Scene, node: usize, peers: Range<usize>) -> Result<()> {
    let network = scene.cluster.network(node);
    for peer in peers {
        let peer = scene.cluster.network(peer).address;
        network.lose_large(peer).await?;
    }
    sleep(Duration::from_secs(10)).await;
    network.mend().await
}

/// Kilobits a second: 1.2 times the encoder's stream with all headers.
const NARROW: u32 = 500;

/// What the encoder sends, and what viewers get, is not limited.
pub(super) async fn narrow_paths(scene: &mut Scene) -> Result<()> {
    let limited = || (0..NODES).filter(|node| *node != FIRST_EDGE);
    for node in limited() {
        scene.cluster.network(node).narrow(NARROW).await?;
    }
    sleep(Duration::from_secs(4)).await;
    let carrier = scene.cluster.carrier(STREAM).await?;
    kill_and_restart(scene, carrier).await?;
    sleep(Duration::from_secs(4)).await;
    for node in limited() {
        scene.cluster.network(node).widen().await?;
    }
    Ok(())
}

pub(super) async fn dns_loss(scene: &mut Scene) -> Result<()> {
    scene.cluster.dns().set_silent(true);
    kill_origin_without_dns(scene).await
}

pub(super) async fn dns_empty(scene: &mut Scene) -> Result<()> {
    scene.cluster.dns().set_origins(Vec::new());
    kill_origin_without_dns(scene).await
}

pub(super) async fn dns_changes(scene: &mut Scene) -> Result<()> {
    let [first, second] = [0, 1].map(|origin| scene.cluster.network(origin).address);
    let absent = Ipv4Addr::new(10, 77, 255, 254);
    let answers = [
        vec![second, first],
        vec![first],
        vec![first, absent],
        vec![],
        vec![second],
        vec![absent],
        vec![absent, second, first],
    ];
    let carrier = scene.cluster.carrier(STREAM).await?;
    for round in 0..2 {
        for answer in &answers {
            scene.cluster.dns().set_origins(answer.clone());
            sleep(Duration::from_secs(1)).await;
        }
        if round == 0 {
            scene.cluster.kill(carrier).await?;
        }
    }
    scene.cluster.publish_name();
    scene.cluster.restart(carrier, NodeRelease::This).await
}

async fn kill_origin_without_dns(scene: &mut Scene) -> Result<()> {
    sleep(Duration::from_secs(4)).await;
    let carrier = scene.cluster.carrier(STREAM).await?;
    scene.cluster.kill(carrier).await?;
    sleep(Duration::from_secs(4)).await;
    scene.cluster.dns().set_silent(false);
    scene.cluster.publish_name();
    scene.cluster.restart(carrier, NodeRelease::This).await
}

pub(super) async fn takeover(scene: &mut Scene) -> Result<()> {
    take_over(scene, SECOND_EDGE).await
}

pub(super) async fn takeovers(scene: &mut Scene) -> Result<()> {
    for node in 0..NODES {
        take_over(scene, node).await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn take_over(scene: &mut Scene, node: usize) -> Result<()> {
    let url = scene.cluster.reach(node).rtmp(STREAM);
    scene.stream.take_over(&url).await
}

pub(super) async fn encoder_loop(scene: &mut Scene) -> Result<()> {
    encode_on(scene, &[FIRST_EDGE; 3]).await
}

pub(super) async fn encoder_moves(scene: &mut Scene) -> Result<()> {
    encode_on(scene, &[SECOND_EDGE, 0, THIRD_EDGE, 1]).await
}

/// Ends the encoder and starts it again on each of these media nodes.
async fn encode_on(scene: &mut Scene, nodes: &[usize]) -> Result<()> {
    for node in nodes {
        let url = scene.cluster.reach(*node).rtmp(STREAM);
        scene
            .stream
            .publish_again(&url, Duration::from_secs(1))
            .await?;
        sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

pub(super) async fn encoder_freeze(scene: &mut Scene) -> Result<()> {
    let encoder = scene.stream.encoder()?;
    encoder.freeze();
    sleep(Duration::from_secs(3)).await;
    encoder.thaw();
    Ok(())
}
