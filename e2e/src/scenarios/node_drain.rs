//! `kubectl drain` of a machine: the disruption budgets are kept, the drain ends, the streams live.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kube::ResourceExt;
use livecluster_api::LiveCluster;
use serde_json::json;

use crate::cluster::{Stage, command, eventually};
use crate::live::CLEAN;

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    let machine = stage
        .cluster
        .workers()
        .next()
        .context("no worker")?
        .name
        .clone();
    let spec = json!({
        "origins": {"replicas": 2, "drainTimeoutSeconds": DRAIN},
        "edges": {"replicas": 2, "drainTimeoutSeconds": DRAIN},
    });
    stage.apply_ready("demo", spec).await?;
    let (stays, leaves) = edges(&stage, &machine).await?;
    let (stays, leaves) = (
        stage.reach_pod(&stays).await?,
        stage.reach_pod(&leaves).await?,
    );
    let encoder = stage.published(&stays.rtmp(STREAM)).await?;
    let steady = stage.watched(&stays.flv(STREAM)).await?;
    // By both protocols: each has its own way to say that a viewer is let go, which a node that is killed does not use.
    let mut moved = [
        stage.watched(&leaves.flv(STREAM)).await?,
        stage.watched(&leaves.rtmp(STREAM)).await?,
    ];

    drain(&stage, &machine).await?;

    stage.say("everything is elsewhere");
    stage.ready("demo").await?;
    for viewer in &mut moved {
        let how = viewer.ends(Duration::from_secs(5)).await?;
        ensure!(
            how == CLEAN,
            "{}, on the drained machine: expected {CLEAN}, seen {how}",
            viewer.url()
        );
        let seen = viewer.sightings();
        seen.has_no_gap().context("until its node left")?;
    }
    let again = stage
        .watched(&stage.reach_role("demo", "edge").await?.flv(STREAM))
        .await?;
    again.is_still_there()?;
    encoder.never_noticed()?;
    steady.is_still_there()?;
    let seen = steady.sightings();
    seen.has_no_gap()
        .context("the viewer on the other machine")?;
    let stall = seen.longest_stall(Instant::now());
    ensure!(
        stall < Duration::from_secs(5),
        "the viewer on the other machine stalled for {stall:?}"
    );
    Ok(())
}

/// Drains a machine while the budgets are watched, and then lets it take pods again.
async fn drain(stage: &Stage, machine: &str) -> anyhow::Result<()> {
    stage.say(format!("kubectl drain {machine}"));
    let drained = async {
        let line = [
            "kubectl",
            "drain",
            machine,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--timeout=150s",
        ];
        command(&line, "").await?.success()
    };
    let watched = watch_budget(stage);
    let result = tokio::select! {
        result = drained => result.map(drop),
        broken = watched => broken,
    };
    let uncordoned = command(&["kubectl", "uncordon", machine], "")
        .await?
        .success();
    result?;
    uncordoned.map(drop)
}

/// An edge that stays, and one on the machine that is drained.
async fn edges(
    stage: &Stage,
    machine: &str,
) -> anyhow::Result<(
    k8s_openapi::api::core::v1::Pod,
    k8s_openapi::api::core::v1::Pod,
)> {
    let pods = stage.pods("demo", "edge").await?;
    let on = |pod: &&k8s_openapi::api::core::v1::Pod| {
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(machine)
    };
    let (there, elsewhere): (Vec<_>, Vec<_>) = pods.iter().partition(on);
    match (elsewhere.first(), there.first()) {
        (Some(stays), Some(leaves)) => Ok(((*stays).clone(), (*leaves).clone())),
        _ => anyhow::bail!(
            "expected the two edges on different machines, seen {:?}",
            pods.iter()
                .map(|pod| (
                    pod.name_any(),
                    pod.spec.as_ref().and_then(|it| it.node_name.clone())
                ))
                .collect::<Vec<_>>()
        ),
    }
}

/// Never ends unless a role has no ready node at some time.
async fn watch_budget(stage: &Stage) -> anyhow::Result<()> {
    let began = Instant::now();
    let (origins, edges) = eventually("never", Duration::from_secs(600), || async {
        let status = stage
            .get::<LiveCluster>("demo")
            .await?
            .status
            .context("no status")?;
        let ready = (status.origins.ready_replicas, status.edges.ready_replicas);
        ensure!(ready.0 == 0 || ready.1 == 0, "fine");
        Ok(ready)
    })
    .await?;
    anyhow::bail!(
        "expected a ready origin and a ready edge all the time; seen {origins} origins and {edges} edges ready, {} s after \
         the drain began",
        began.elapsed().as_secs()
    )
}

const STREAM: &str = "live/livestream";
/// Short, so that the drained machine's viewer is let go while we watch.
const DRAIN: u32 = 20;
