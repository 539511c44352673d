//! A LiveCluster that is made while names cannot be resolved: it is not called ready before its edges have found their
//! origins, and when it is, it takes streams at once.

use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use crate::cluster::{Stage, eventually, holds, is_ready};
use crate::live::{Encoder, Viewer};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    stage.say("the cluster has no DNS");
    let away = async {
        stage.cluster.scale(SYSTEM, DNS, 0).await?;
        stage.apply("demo", json!({})).await?;
        let expected = "a ready origin and two edges that run";
        eventually(expected, Duration::from_secs(60), || async {
            let origins = stage.pods("demo", "origin").await?;
            let edges = stage.pods("demo", "edge").await?;
            let run = edges.iter().filter(|edge| runs(edge)).count();
            let ready = origins.iter().filter(|origin| is_ready(origin)).count();
            ensure!(
                (ready, run) == (1, 2),
                "{ready} origins ready, {run} edges run"
            );
            Ok(())
        })
        .await?;
        holds("no edge is ready", Duration::from_secs(10), || async {
            for edge in stage.pods("demo", "edge").await? {
                ensure!(!is_ready(&edge), "{} is ready", edge.name_any());
            }
            Ok(())
        })
        .await?;
        stage
            .condition("demo", "Ready", "False", Duration::from_secs(5))
            .await
    };
    let result = away.await;
    // Other scenarios need it, whatever happened here.
    stage.cluster.scale(SYSTEM, DNS, 2).await?;
    result?;

    stage.say("the cluster has DNS again");
    stage.ready("demo").await?;
    let edges = stage.reach_pods("demo", "edge").await?;
    for (number, place) in edges.iter().enumerate() {
        let stream = format!("live/stream-{number}");
        let encoder = Encoder::publish(&place.rtmp(&stream)).await?;
        for edge in &edges {
            let mut viewer = Viewer::watch(&edge.flv(&stream)).await?;
            viewer.sees_more(50, Duration::from_secs(10)).await?;
        }
        encoder.never_noticed()?;
    }
    Ok(())
}

fn runs(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase == Some("Running")
}

const SYSTEM: &str = "kube-system";
const DNS: &str = "coredns";
