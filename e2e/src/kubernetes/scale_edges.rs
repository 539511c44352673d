//! Edges are added and removed by `kubectl scale` and by the spec; no viewer is cut off.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::cluster::Namespace;
use crate::media::Viewer;
use crate::wait::holds;

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let one = json!({"edges": {"replicas": 1}});
    namespace.apply_ready("demo", one.clone()).await?;
    let origin = namespace.reach_role("demo", "origin").await?;
    let encoder = namespace.published(&origin.rtmp(STREAM)).await?;
    let first = namespace.reach_role("demo", "edge").await?;
    let earliest = namespace.watched(&first.http(STREAM)).await?;

    namespace.say("three edges by kubectl scale");
    namespace.kubectl("scale lc/demo --replicas=3").await?;
    edges(&namespace, 3).await?;
    let mut viewers = Vec::new();
    for edge in namespace.reach_pods("demo", "edge").await? {
        viewers.push(namespace.watched(&edge.http(STREAM)).await?);
        viewers.push(namespace.watched(&edge.rtmp(STREAM)).await?);
    }
    viewers.push(earliest);

    namespace.say("one edge by the spec; the viewers of the other two stay");
    namespace.edit("demo", one).await?;
    let limit = Duration::from_secs(30);
    let two = namespace.until_status("demo", "two edges are terminating", limit, |status| {
        status.edges.terminating_replicas == 2
    });
    two.await?;
    holds("every viewer stays", Duration::from_secs(20), || async {
        viewers.iter().try_for_each(Viewer::assert_connected)
    })
    .await?;
    for viewer in &mut viewers {
        viewer.sees_more(25, Duration::from_secs(5)).await?;
        viewer.assert_uninterrupted(&encoder)?;
    }

    namespace.say("the edges leave with their viewers");
    drop(viewers);
    edges(&namespace, 1).await?;
    encoder.assert_undisturbed()
}

/// Waits until there are so many edges, all ready, and none is terminating.
async fn edges(namespace: &Namespace, count: i32) -> Result<()> {
    let (expected, limit) = (format!("{count} edges"), Duration::from_secs(90));
    let reached = namespace.until_status("demo", &expected, limit, |status| {
        let edges = &status.edges;
        let ready = (edges.replicas, edges.ready_replicas);
        ready == (count, count) && edges.terminating_replicas == 0
    });
    reached.await.map(drop)
}

const STREAM: &str = "live/livestream";
