//! `Ready` stays true while an edge is evicted, and while a scale-up starts further ones; `Degraded` says what is missing.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::EvictParams;
use livecluster_api::LiveCluster;
use livecluster_api::conditions::DEGRADED;
use serde_json::json;

use crate::cluster::{Namespace, condition_of, describe, ready_since};
use crate::wait::{DEADLINE, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let spec = json!({"edges": {"replicas": 4}});
    let ready = namespace.apply_ready("demo", spec).await?;

    namespace.say("one of four edges is evicted");
    let edges = namespace.pods("demo", "edge").await?;
    let edge = edges.first().context("no edge")?.name_any();
    // The budget counts them a moment after they are ready.
    eventually("an eviction", DEADLINE, || async {
        let pods = namespace.api::<Pod>();
        Ok(pods.evict(&edge, &EvictParams::default()).await?)
    })
    .await?;
    let expected = "Degraded, with three of four edges";
    let degraded = namespace.until_status("demo", expected, DEADLINE, |status| {
        let degraded = condition_of(status, DEGRADED);
        degraded.is_some_and(|it| it.status == "True" && it.message.contains("3 of 4 edges"))
    });
    degraded.await?;
    settled(&namespace, 4).await?;

    namespace.say("six edges");
    namespace.kubectl("scale lc/demo --replicas=6").await?;
    let after = settled(&namespace, 6).await?;
    let (first, last) = (ready_since(&ready), ready_since(&after));
    ensure!(
        first == last,
        "Ready since {first:?}, then since {last:?}; {}",
        describe(&after)
    );
    Ok(())
}

/// Waits until so many edges are available.
async fn settled(namespace: &Namespace, count: i32) -> Result<LiveCluster> {
    let expected = format!("{count} edges are available");
    let available = namespace.until_status("demo", &expected, DEADLINE, |status| {
        let degraded = condition_of(status, DEGRADED);
        status.edges.settled_replicas == count && degraded.is_some_and(|it| it.status == "False")
    });
    available.await?;
    namespace.get("demo").await
}
