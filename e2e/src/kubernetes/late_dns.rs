//! A LiveCluster created while the cluster has no DNS is not ready before its edges have found their origins, and accepts streams as
//! soon as it is.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use crate::cluster::{Namespace, is_ready};
use crate::media::{Encoder, Viewer};
use crate::wait::{eventually, holds};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let cluster = &namespace.cluster;
    namespace.say("the cluster has no DNS");
    let without = async {
        cluster.scale("kube-system", "coredns", 0).await?;
        namespace.apply("demo", json!({})).await?;
        edges_run_unready(&namespace).await
    };
    let result = without.await;
    // Other scenarios need DNS, also when this one fails.
    cluster.scale("kube-system", "coredns", 2).await?;
    result?;

    namespace.say("the cluster has DNS again");
    namespace.ready("demo").await?;
    let edges = namespace.reach_pods("demo", "edge").await?;
    for (number, home) in edges.iter().enumerate() {
        let stream = format!("live/stream-{number}");
        let encoder = Encoder::publish(&home.rtmp(&stream)).await?;
        for edge in &edges {
            let mut viewer = Viewer::watch(&edge.http(&stream)).await?;
            viewer.sees_more(50, Duration::from_secs(10)).await?;
        }
        encoder.assert_undisturbed()?;
    }
    Ok(())
}

/// Waits until the origin is ready and both edges run, and fails unless no edge is ready for ten seconds.
async fn edges_run_unready(namespace: &Namespace) -> Result<()> {
    let expected = "a ready origin and two edges that run";
    eventually(expected, Duration::from_secs(60), || async {
        let origins = namespace.pods("demo", "origin").await?;
        let edges = namespace.pods("demo", "edge").await?;
        let ready = origins.iter().filter(|origin| is_ready(origin)).count();
        let run = edges.iter().filter(|edge| runs(edge)).count();
        let reached = (ready, run) == (1, 2);
        ensure!(reached, "{ready} origins ready, {run} edges run");
        Ok(())
    })
    .await?;
    holds("no edge is ready", Duration::from_secs(10), || async {
        for edge in namespace.pods("demo", "edge").await? {
            ensure!(!is_ready(&edge), "{} is ready", edge.name_any());
        }
        Ok(())
    })
    .await?;
    let limit = Duration::from_secs(5);
    let unready = namespace.condition("demo", "Ready", "False", limit);
    unready.await.map(drop)
}

fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
    phase == Some("Running")
}
