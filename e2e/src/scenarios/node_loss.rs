//! A machine is gone from one moment to the next, with an origin and an edge on it. Streams that came in elsewhere go on, and
//! when the time that the spec allows is over, its pods are made anew.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use serde_json::json;

use crate::cluster::{Stage, eventually, is_ready};
use crate::live::Viewer;

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    let tolerations = json!([
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
    ]);
    let nodes = json!({"replicas": 2, "tolerations": tolerations});
    stage
        .apply_ready("demo", json!({"origins": nodes, "edges": nodes}))
        .await?;
    // The operator must survive to do its work, so the machine that is lost is one without the leader if possible.
    let machine = stage
        .cluster
        .workers()
        .last()
        .context("no worker")?
        .name
        .clone();
    let edges = stage.pods("demo", "edge").await?;
    let safe = edges
        .iter()
        .find(|pod| machine_of(pod) != Some(machine.as_str()))
        .context("all edges on one machine")?;
    let safe = stage.reach_pod(safe).await?;

    // Published at the edge that stays: one of these two is kept by the origin that is lost, most likely.
    let mut watched = Vec::new();
    for number in 0..4 {
        let stream = format!("live/stream-{number}");
        let encoder = stage.published(&safe.rtmp(&stream)).await?;
        watched.push((encoder, stage.watched(&safe.flv(&stream)).await?));
    }

    stage.say(format!("{machine} loses its power"));
    stage.cluster.power(&machine, false).await?;
    let result = lost(&stage, &machine, &mut watched, &safe).await;
    stage.say(format!("{machine} has power again"));
    stage.cluster.power(&machine, true).await?;
    machine_is_ready(&stage, &machine, true, Duration::from_secs(120)).await?;
    result?;
    stage.ready("demo").await?;
    Ok(())
}

async fn lost(
    stage: &Stage,
    machine: &str,
    watched: &mut [(crate::live::Encoder, Viewer)],
    safe: &crate::cluster::Reach,
) -> anyhow::Result<()> {
    // A viewer that comes now, to a stream that nobody on this edge has watched.
    for (encoder, viewer) in watched.iter_mut() {
        viewer.sees_more(25 * 20, Duration::from_secs(40)).await?;
        encoder.never_noticed()?;
        let seen = viewer.sightings();
        seen.has_no_gap().with_context(|| viewer.url().to_owned())?;
        let stall = seen.longest_stall(Instant::now());
        ensure!(
            stall < Duration::from_secs(5),
            "{} stalled for {stall:?}",
            viewer.url()
        );
    }
    machine_is_ready(stage, machine, false, Duration::from_secs(90)).await?;
    eventually(
        "the lost pods are made anew elsewhere",
        Duration::from_secs(90),
        || async {
            for role in ["origin", "edge"] {
                let pods = stage.pods("demo", role).await?;
                let sound = pods
                    .iter()
                    .filter(|pod| machine_of(pod) != Some(machine) && is_ready(pod))
                    .count();
                ensure!(sound == 2, "{sound} {role}s run elsewhere");
            }
            Ok(())
        },
    )
    .await?;
    let encoder = stage.published(&safe.rtmp("live/after")).await?;
    stage
        .watched(&stage.reach_role("demo", "origin").await?.flv("live/after"))
        .await?;
    encoder.never_noticed()
}

async fn machine_is_ready(
    stage: &Stage,
    machine: &str,
    wanted: bool,
    limit: Duration,
) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(stage.cluster.client.clone());
    let expected = format!("{machine} ready: {wanted}");
    eventually(&expected, limit, || async {
        let node = nodes.get(machine).await?;
        let conditions = node
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        let ready = conditions
            .iter()
            .any(|it| it.type_ == "Ready" && it.status == "True");
        ensure!(ready == wanted, "ready: {ready}");
        Ok(())
    })
    .await
}

fn machine_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}
