//! Edges are added by a HorizontalPodAutoscaler and removed by `kubectl scale`. Those that leave keep their viewers, and get no new
//! ones.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::json;

use crate::cluster::{Namespace, STREAM};
use crate::media::Viewer;
use crate::wait::{DEADLINE, MEDIA, eventually, holds};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let one = json!({"edges": {"replicas": 1, "service": {"type": "NodePort"}}});
    namespace.apply_ready("demo", one).await?;
    let origin = namespace.reach_role("demo", "origin").await?;
    let encoder = namespace.published(&origin.rtmp(STREAM)).await?;
    let first = namespace.reach_role("demo", "edge").await?;
    let earliest = namespace.watched(&first.http(STREAM)).await?;

    namespace.say("three edges by a HorizontalPodAutoscaler");
    namespace.kubectl_apply(AUTOSCALER).await?;
    edges(&namespace, 3).await?;
    let mut urls = Vec::new();
    for edge in namespace.reach_pods("demo", "edge").await? {
        urls.extend([edge.http(STREAM), edge.rtmp(STREAM)]);
    }
    let service = namespace.reach_service("demo-edge").await?;
    urls.extend(vec![service.http(STREAM); 4]);
    let mut viewers = namespace.all_watched(&urls).await?;
    viewers.push(earliest);

    reads_metrics(&namespace).await?;
    namespace.kubectl("delete hpa demo-edges").await?;

    namespace.say("one edge by kubectl scale; the viewers of the other two stay");
    namespace.kubectl("scale lc/demo --replicas=1").await?;
    let two = namespace.until_status("demo", "two edges retire", DEADLINE, |status| {
        status.edges.retiring_replicas == 2
    });
    two.await?;
    namespace.until_addresses("demo-edge", 1).await?;
    holds("every viewer stays", Duration::from_secs(20), || async {
        viewers.iter().try_for_each(Viewer::assert_connected)
    })
    .await?;
    Viewer::all_see_more(&mut viewers, 25, MEDIA).await?;
    for viewer in &viewers {
        viewer.assert_uninterrupted(&encoder)?;
    }

    namespace.say("the edges leave with their viewers");
    drop(viewers);
    edges(&namespace, 1).await?;
    encoder.assert_undisturbed()
}

/// Waits until the autoscaler has counted the edges, and asked for the metrics of the Pods of the selector.
async fn reads_metrics(namespace: &Namespace) -> Result<()> {
    let expected = "the autoscaler asks for the metrics of three edges";
    eventually(expected, DEADLINE, || async {
        let autoscaler: HorizontalPodAutoscaler = namespace.get("demo-edges").await?;
        let status = autoscaler.status.context("no status")?;
        let conditions = status.conditions.unwrap_or_default();
        let has = |kind: &str, reason: &str| {
            let mut conditions = conditions.iter();
            conditions.any(|it| it.type_ == kind && it.reason.as_deref() == Some(reason))
        };
        // The cluster has no metrics server: it is the metrics that are missing, not the selector.
        let asks = has("AbleToScale", "SucceededGetScale")
            && has("ScalingActive", "FailedGetResourceMetric");
        ensure!(asks && status.current_replicas == Some(3), "{conditions:?}");
        Ok(())
    })
    .await
}

/// With a minimum, it scales also where there are no metrics.
const AUTOSCALER: &str = r"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: demo-edges}
spec:
  scaleTargetRef: {apiVersion: livecluster.dev/v1alpha1, kind: LiveCluster, name: demo}
  minReplicas: 3
  maxReplicas: 4
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}
";

/// Waits until there are so many edges, all ready, and none is terminating.
async fn edges(namespace: &Namespace, count: i32) -> Result<()> {
    let expected = format!("{count} edges");
    let reached = namespace.until_status("demo", &expected, DEADLINE, |status| {
        let edges = &status.edges;
        let ready = (edges.replicas, edges.ready_replicas);
        ready == (count, count) && status.draining_pods == 0
    });
    reached.await.map(drop)
}
