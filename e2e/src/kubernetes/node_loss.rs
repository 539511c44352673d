//! A node loses its power, with an origin and an edge on it. Streams that are published elsewhere go on, the status names the node,
//! and its Pods are replaced half a minute after Kubernetes has noticed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use livecluster_api::LiveClusterStatus;
use livecluster_api::conditions::DEGRADED;
use serde_json::json;

use crate::cluster::{Namespace, Reach, WatchedStream, condition_of, is_ready, node_of};
use crate::media::Viewer;
use crate::wait::{DEADLINE, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let pods = json!({"replicas": 2});
    let spec = json!({"origins": pods, "edges": pods});
    namespace.apply_ready("demo", spec).await?;
    let cluster = &namespace.cluster;
    // An operator on another node names it in the status.
    let operators = namespace.operator_nodes().await?;
    let mut nodes = cluster.workers().rev().map(|worker| &worker.name);
    let node = nodes.find(|node| operators.iter().any(|it| it != *node));
    let node = node.context("no operator on another worker")?;
    let (_lost, safe) = namespace.edges_apart("demo", node).await?;
    let safe = namespace.reach_pod(&safe).await?;

    // Published at the edge that stays. Most likely, the origin that is lost keeps one of these four.
    let names: Vec<String> = (0..4).map(|it| format!("live/stream-{it}")).collect();
    let streams = names.iter();
    let streams = streams.map(|name| namespace.watched_stream(name, &safe, &safe));
    let mut streams = try_join_all(streams).await?;

    namespace.say(format_args!("{node} loses its power"));
    let name = node.clone();
    namespace.repaired_by(move |it| power_on(it, name.clone()));
    cluster.power_off(node).await?;
    assert_survived(&namespace, node, &mut streams, &safe).await?;
    namespace.repair().await?;
    namespace.ready("demo").await?;
    Ok(())
}

async fn power_on(namespace: Namespace, node: String) -> Result<()> {
    namespace.say(format_args!("{node} has power again"));
    namespace.cluster.power_on(&node).await?;
    let limit = DEADLINE.as_secs();
    let ready = format!("wait --for=condition=Ready node/{node} --timeout={limit}s");
    namespace.kubectl(&ready).await.map(drop)
}

/// Fails unless the streams go on without the node, and its Pods are replaced.
async fn assert_survived(
    namespace: &Namespace,
    node: &str,
    streams: &mut [WatchedStream],
    safe: &Reach,
) -> Result<()> {
    let viewers = streams.iter_mut().map(|stream| &mut stream.viewer);
    Viewer::all_see_more(viewers, 25 * 20, Duration::from_secs(40)).await?;
    for stream in streams {
        stream.assert_uninterrupted()?;
        let stall = stream.viewer.seen().longest_stall();
        let url = stream.viewer.url();
        ensure!(
            stall < Duration::from_secs(5),
            "{url} stalled for {stall:?}"
        );
    }
    let limit = DEADLINE.as_secs();
    let lost = format!("wait --for=condition=Ready=Unknown node/{node} --timeout={limit}s");
    namespace.kubectl(&lost).await?;
    let named = |status: &LiveClusterStatus| {
        condition_of(status, DEGRADED).is_some_and(|degraded| degraded.message.contains(node))
    };
    let expected = "Degraded names the lost node";
    namespace
        .until_status("demo", expected, DEADLINE, named)
        .await?;
    let expected = "the lost Pods are replaced on another node";
    eventually(expected, DEADLINE, || async {
        for role in ["origin", "edge"] {
            let pods = namespace.pods("demo", role).await?;
            let elsewhere = pods.iter().filter(|pod| node_of(pod) != Some(node));
            let ready = elsewhere.filter(|pod| is_ready(pod)).count();
            ensure!(ready == 2, "{ready} {role} Pods are ready elsewhere");
        }
        Ok(())
    })
    .await?;
    let origin = namespace.reach_role("demo", "origin").await?;
    let after = namespace.watched_stream("live/after", safe, &origin);
    after.await?.assert_uninterrupted()
}
