//! A LiveCluster created while the cluster has no DNS is not ready before its edges have found their origins. As soon as it is, every
//! Pod accepts streams and serves those of all others: viewers need not find out which of two origins has one.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::ResourceExt;
use kube::runtime::wait::Condition;
use kube::runtime::wait::conditions::is_pod_running;
use livecluster_api::conditions::READY;
use serde_json::json;

use crate::cluster::{Namespace, is_ready};
use crate::media::{Encoder, Viewer};
use crate::wait::{DEADLINE, MEDIA, eventually, holds};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    namespace.say("the cluster has no DNS");
    namespace.repaired_by(|it| async move { it.start_dns().await });
    namespace.stop_dns().await?;
    let spec = json!({"origins": {"replicas": 2}, "edges": {"replicas": 2}});
    namespace.apply("demo", spec).await?;
    edges_run_unready(&namespace).await?;
    namespace.repair().await?;

    namespace.say("the cluster has DNS again");
    namespace.ready("demo").await?;
    let mut pods = namespace.reach_pods("demo", "edge").await?;
    pods.extend(namespace.reach_pods("demo", "origin").await?);
    for (number, home) in pods.iter().enumerate() {
        let stream = format!("live/stream-{number}");
        let encoder = Encoder::publish(&home.rtmp(&stream)).await?;
        let mut viewers = Vec::new();
        for pod in &pods {
            viewers.push(Viewer::watch(&pod.http(&stream)).await?);
        }
        Viewer::all_see_more(&mut viewers, 50, MEDIA).await?;
        for viewer in &viewers {
            viewer.assert_uninterrupted(&encoder)?;
        }
        encoder.assert_undisturbed()?;
    }
    Ok(())
}

/// Waits until both origins are ready and both edges run, and fails unless no edge is ready for ten seconds.
async fn edges_run_unready(namespace: &Namespace) -> Result<()> {
    let expected = "two ready origins and two edges that run";
    eventually(expected, DEADLINE, || async {
        let origins = namespace.pods("demo", "origin").await?;
        let edges = namespace.pods("demo", "edge").await?;
        let ready = origins.iter().filter(|origin| is_ready(origin)).count();
        let runs = |edge| is_pod_running().matches_object(Some(edge));
        let run = edges.iter().filter(|edge| runs(*edge)).count();
        let reached = (ready, run) == (2, 2);
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
    let unready = namespace.until_condition("demo", READY, "False", DEADLINE);
    unready.await.map(drop)
}
