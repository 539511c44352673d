//! `kubectl drain` of a node keeps the disruption budgets, shows who serves on until when, ends, and streams go on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::try_join;
use serde_json::json;

use crate::cluster::{Namespace, STREAM};
use crate::process::run as run_line;
use crate::wait::DEADLINE;

/// Short, so that the viewers on the drained node are disconnected during the scenario, and long enough for an operator that is itself
/// on the drained node to be replaced before.
const DRAIN: Duration = Duration::from_secs(60);

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let node = namespace.cluster.workers().next().context("no worker")?;
    let pods = json!({"replicas": 2, "drainTimeoutSeconds": DRAIN.as_secs()});
    let spec = json!({"origins": pods, "edges": pods});
    namespace.apply_ready("demo", spec).await?;
    let (leaves, stays) = namespace.edges_apart("demo", &node.name).await?;
    let stays = namespace.reach_pod(&stays).await?;
    let leaves = namespace.reach_pod(&leaves).await?;
    let steady = namespace.watched_stream(STREAM, &stays, &stays).await?;
    // By both protocols: each has its own way to end a stream, which a node that is killed does not use.
    let urls = [leaves.http(STREAM), leaves.rtmp(STREAM)];
    let mut moved = namespace.all_watched(&urls).await?;

    let plan = async {
        let plan = namespace.shows_plan("demo", "edge", DRAIN).await?;
        // One may be disconnected already.
        let (here, viewers) = (plan.node == node.name, plan.viewers);
        ensure!(here && viewers <= Some(2), "{plan:?}");
        Ok(())
    };
    let uncordon = format!("kubectl uncordon {}", node.name);
    namespace.repaired_by(move |_| {
        let uncordon = uncordon.clone();
        async move { run_line(&uncordon).await.map(drop) }
    });
    try_join!(drain(&namespace, &node.name), plan)?;
    namespace.repair().await?;

    namespace.say("every Pod is on another node");
    namespace.ready("demo").await?;
    for viewer in &mut moved {
        let ended = viewer.ends(DEADLINE).await;
        ended.context("on the drained node")?;
        viewer.assert_uninterrupted(&steady.encoder)?;
    }
    let edge = namespace.reach_role("demo", "edge").await?;
    namespace.watched(&edge.http(STREAM)).await?;
    steady.assert_uninterrupted()?;
    let stall = steady.viewer.seen().longest_stall();
    let limit = Duration::from_secs(5);
    ensure!(
        stall < limit,
        "the viewer on the other node stalled for {stall:?}"
    );
    Ok(())
}

/// Drains a node while the budgets are watched.
async fn drain(namespace: &Namespace, node: &str) -> Result<()> {
    namespace.say(format_args!("kubectl drain {node}"));
    let limit = DEADLINE.as_secs();
    let options = format!("--ignore-daemonsets --delete-emptydir-data --timeout={limit}s");
    let line = format!("kubectl drain {node} {options}");
    tokio::select! {
        drained = run_line(&line) => drained.map(drop),
        broken = watch_budget(namespace) => broken,
    }
}

/// Never ends unless a role has no ready Pod at some time.
async fn watch_budget(namespace: &Namespace) -> Result<()> {
    let start = Instant::now();
    loop {
        let status = namespace.status("demo").await?;
        let ready = (status.origins.ready_replicas, status.edges.ready_replicas);
        let after = start.elapsed();
        let kept = ready.0 > 0 && ready.1 > 0;
        ensure!(
            kept,
            "{ready:?} origins and edges are ready {after:?} after the drain began"
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
