//! A rollout that cannot end holds no other one: the cure of both roles takes effect, and a change of the origins rolls while the
//! edges cannot be scheduled. Streams can be played meanwhile, and the status names what is missing.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use livecluster_api::conditions::{DEGRADED, PROGRESSING};
use livecluster_api::{LiveCluster, LiveClusterStatus};
use serde_json::json;

use crate::cluster::{Namespace, STREAM, condition_of, is_ready, ready_since};
use crate::wait::{DEADLINE, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    namespace.say("origins that no node admits, and edges that find none");
    let nowhere = json!({"nodeSelector": {"e2e.livecluster.dev/node": "none"}});
    let broken = json!({"origins": nowhere, "edges": {"replicas": 1}});
    namespace.apply("demo", broken).await?;
    let expected = "the edge has found no origin";
    let seen = namespace.until_status("demo", expected, DEADLINE, |status| {
        mentions(status, DEGRADED, "Unschedulable")
            && mentions(status, DEGRADED, "has found no origin")
    });
    seen.await?;

    namespace.say("the cure of the origins, together with a change of both roles");
    let cure = json!({"origins": {"nodeSelector": null}, "stream": {"lingerSeconds": 11}});
    namespace.edit("demo", cure).await?;
    namespace
        .until_condition("demo", PROGRESSING, "False", DEADLINE)
        .await?;
    let ready = namespace.ready("demo").await?;
    let origin = namespace.reach_role("demo", "origin").await?;
    let edge = namespace.reach_role("demo", "edge").await?;
    let stream = namespace.watched_stream(STREAM, &edge, &edge).await?;

    namespace.say("edges that no node admits, and then a change of the origins");
    namespace.edit("demo", json!({"edges": nowhere})).await?;
    let stuck = namespace.until_status(
        "demo",
        "the new edge is unschedulable",
        DEADLINE,
        |status| {
            mentions(status, DEGRADED, "Unschedulable")
                && mentions(status, PROGRESSING, "Unschedulable")
        },
    );
    stuck.await?;
    let before = namespace.pods("demo", "origin").await?;
    let before: Vec<String> = before.iter().map(ResourceExt::name_any).collect();
    let change = json!({"origins": {"drainTimeoutSeconds": 60}});
    namespace.edit("demo", change).await?;
    eventually("another origin is ready", DEADLINE, || async {
        let origins = namespace.pods("demo", "origin").await?;
        let is_new = |pod: &&Pod| !before.contains(&pod.name_any());
        let new = origins.iter().filter(is_new).filter(|pod| is_ready(pod));
        ensure!(new.count() == 1, "the origin is still one of {before:?}");
        Ok(())
    })
    .await?;
    let new = namespace.watched_stream("live/new", &origin, &edge).await?;

    namespace.say("Ready was true all the time; the cure of the edges ends the rollout");
    let cure = json!({"edges": {"nodeSelector": null}});
    namespace.edit("demo", cure).await?;
    namespace
        .until_condition("demo", PROGRESSING, "False", DEADLINE)
        .await?;
    let last: LiveCluster = namespace.get("demo").await?;
    let (first, last) = (ready_since(&ready), ready_since(&last));
    ensure!(first == last, "Ready since {first:?}, then since {last:?}");
    stream.assert_connected()?;
    new.assert_connected()
}

fn mentions(status: &LiveClusterStatus, kind: &str, part: &str) -> bool {
    let found = condition_of(status, kind);
    found.is_some_and(|it| it.reason == part || it.message.contains(part))
}
