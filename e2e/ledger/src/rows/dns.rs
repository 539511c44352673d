//! DNS that fails, and names whose addresses change.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::super::dns::DnsFault;
use super::scene::Part::{Carrier, OtherOrigin};
use super::scene::{Part, Scene};
use super::{LedgerRow, MORE, PLAIN, SHOWN, rows};

pub(super) const ROWS: &[LedgerRow] = rows! { scene:
    "dns-loss" SHOWN "no DNS for 8 s, and the carrying origin is killed meanwhile"
        => kill_without_dns(scene, Some(DnsFault::Silent));
    "dns-failure" MORE "DNS reports failures for 8 s, and the carrying origin is killed meanwhile"
        => kill_without_dns(scene, Some(DnsFault::ServerFailure));
    "dns-empty" SHOWN "the origins' name has no address for 8 s, and the carrying origin is killed meanwhile"
        => kill_without_dns(scene, None);
    "dns-changes" SHOWN "the origins' name has other addresses each second, also of none, and the carrying origin is killed meanwhile"
        => dns_changes(scene);
    "dns-loss-hang" MORE "no DNS for 4 s, and the carrying origin hangs meanwhile"
        => hang_without_dns(scene);
    "dns-without-carrier" MORE "the address of the carrying origin is not in DNS for 8 s"
        => hide(scene, Carrier);
    "dns-without-other" MORE "the address of the other origin is not in DNS for 8 s, and the carrying origin is killed meanwhile"
        => kill_while_hidden(scene);
    "dns-late" MORE "the carrying origin is killed, one with another address replaces it, and DNS knows it 6 s later"
        => replace_before_dns(scene);
    "dns-late-both" MORE "both origins are killed, ones with other addresses replace them, and DNS knows them 4 s later"
        => replace_both_before_dns(scene);
};

/// The origins' name has no address, if there is no fault.
async fn kill_without_dns(scene: &mut Scene, fault: Option<DnsFault>) -> Result<()> {
    match fault {
        Some(fault) => scene.cluster.dns().set_fault(Some(fault)),
        None => scene.cluster.dns().set_origins(Vec::new()),
    }
    sleep(Duration::from_secs(4)).await;
    let killed = scene.kill(&[Carrier]).await?;
    sleep(Duration::from_secs(4)).await;
    scene.cluster.dns().set_fault(None);
    scene.cluster.publish_name();
    scene.restart(&killed).await
}

async fn dns_changes(scene: &mut Scene) -> Result<()> {
    let [first, second] = [0, 1].map(|origin| scene.cluster.address(origin));
    let absent = IpAddr::from([10, 77, 255, 254]);
    let answers = [
        vec![second, first],
        vec![first],
        vec![first, absent],
        vec![],
        vec![second],
        vec![absent],
        vec![absent, second, first],
    ];
    let carrier = scene.node(Carrier).await?;
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
    scene.restart(&[carrier]).await
}

async fn hang_without_dns(scene: &mut Scene) -> Result<()> {
    scene.cluster.dns().set_fault(Some(DnsFault::Silent));
    scene.hang(Carrier, Duration::from_secs(4)).await?;
    scene.cluster.dns().set_fault(None);
    Ok(())
}

/// Leaves the address of an origin out of the name for a time.
async fn hide(scene: &mut Scene, part: Part) -> Result<()> {
    hide_address(scene, part).await?;
    sleep(Duration::from_secs(8)).await;
    scene.cluster.publish_name();
    Ok(())
}

async fn hide_address(scene: &Scene, part: Part) -> Result<()> {
    let hidden = scene.node(part).await?;
    let others = scene.cluster.origins().filter(|origin| *origin != hidden);
    let others = others.map(|origin| scene.cluster.address(origin));
    scene.cluster.dns().set_origins(others.collect());
    Ok(())
}

async fn kill_while_hidden(scene: &mut Scene) -> Result<()> {
    hide_address(scene, OtherOrigin).await?;
    sleep(Duration::from_secs(6)).await;
    let killed = scene.kill(&[Carrier]).await?;
    sleep(Duration::from_secs(2)).await;
    scene.cluster.publish_name();
    scene.restart(&killed).await
}

async fn replace_before_dns(scene: &mut Scene) -> Result<()> {
    for node in scene.kill(&[Carrier]).await? {
        scene.cluster.replace_unnamed(node).await?;
    }
    sleep(Duration::from_secs(6)).await;
    scene.cluster.publish_name();
    Ok(())
}

async fn replace_both_before_dns(scene: &mut Scene) -> Result<()> {
    for node in scene.kill(&[Carrier, OtherOrigin]).await? {
        scene.cluster.replace_unnamed(node).await?;
    }
    sleep(Duration::from_secs(4)).await;
    scene.cluster.publish_name();
    Ok(())
}
