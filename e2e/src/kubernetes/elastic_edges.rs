//! The number of edges follows their viewers. Edges are added, take new viewers where there is room, and leave without cutting one off.
//! An announced event has its edges before its viewers come.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use livecluster_api::conditions::EVENT_CAPACITY_READY;
use serde_json::{Value, json};

use crate::cluster::{Namespace, Reach, STREAM, condition};
use crate::media::{Encoder, Viewer};
use crate::process::run as run_line;
use crate::wait::{DEADLINE, MEDIA, eventually};

/// The faster viewers come, the more room for the next ones the operator leaves in an edge before it takes no more.
const BETWEEN_VIEWERS: Duration = Duration::from_secs(1);

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let scale_down = json!({"stabilizationWindowSeconds": 10, "percentPerMinute": 100});
    let autoscaling = json!({
        "maxReplicas": 3, "targetViewers": 4, "bufferPercent": 0, "behavior": {"scaleDown": scale_down}
    });
    let spec = json!({"edges": {"service": {"type": "NodePort"}, "autoscaling": autoscaling}});
    namespace.apply_ready("demo", spec).await?;
    let origin = namespace.reach_role("demo", "origin").await?;
    let encoder = namespace.published(&origin.rtmp(STREAM)).await?;
    let service = namespace.reach_service("demo-edge").await?;
    let pods = namespace.pods("demo", "edge").await?;
    let first = pods.first().context("no edge")?;
    let mut early = watched(&namespace, &service, 10).await?;

    namespace.say("edges are added for ten viewers");
    let grown = namespace.until_status("demo", "three ready edges", DEADLINE, |status| {
        status.edges.ready == "3/3"
    });
    grown.await?;

    let late = until_full(&namespace, &service, first).await?;
    early.truncate(2);
    retire(&namespace, late, &encoder).await?;
    announced(&namespace).await?;
    Viewer::all_see_more(&mut early, 25, MEDIA).await?;
    for viewer in &early {
        viewer.assert_uninterrupted(&encoder)?;
    }
    encoder.assert_undisturbed()
}

/// Adds viewers until the first edge is full, and fails unless the other edges get the viewers after that. Returns the added viewers.
async fn until_full(namespace: &Namespace, service: &Reach, first: &Pod) -> Result<Vec<Viewer>> {
    namespace.say("the first edge has more than its part: new viewers go to the others");
    let mut late = Vec::new();
    let line = format!(
        "get pod {} -L livecluster.dev/serving --no-headers",
        first.name_any()
    );
    while !namespace.kubectl(&line).await?.trim_end().ends_with("full") {
        ensure!(late.len() < 30, "the first edge still takes new viewers");
        late.extend(watched(namespace, service, 1).await?);
        tokio::time::sleep(BETWEEN_VIEWERS).await;
    }
    namespace.until_addresses("demo-edge", 2).await?;
    let reached = namespace.reach_pod(first).await?;
    // As soon as the node has programmed them.
    let others = eventually("six viewers go to the others", DEADLINE, || async {
        let before = viewers(&reached).await?;
        let others = watched(namespace, service, 6).await?;
        let after = viewers(&reached).await?;
        ensure!(
            before == after,
            "the full edge had {before} viewers, and then {after}"
        );
        Ok(others)
    });
    late.extend(others.await?);
    let status = namespace.status("demo").await?;
    ensure!(status.edges.ready == "3/3", "{status:?}");
    Ok(late)
}

/// Disconnects the late viewers but one, and fails unless its edge retires, serves it to its end, and is removed then.
async fn retire(namespace: &Namespace, mut late: Vec<Viewer>, encoder: &Encoder) -> Result<()> {
    namespace.say("edges retire with few viewers, and keep them");
    let mut last = late.pop().context("no viewer joined late")?;
    drop(late);
    let retiring = namespace.until_status(
        "demo",
        "an edge retires with its viewer",
        DEADLINE,
        |status| {
            let draining = status.draining.iter();
            let serves = draining.filter(|pod| pod.reason == "Retiring" && pod.viewers == Some(1));
            status.edges.ready == "1/1" && serves.count() == 1
        },
    );
    retiring.await?;
    last.sees_more(25, MEDIA).await?;
    last.assert_uninterrupted(encoder)?;
    drop(last);
    let shrunk = namespace.until_status("demo", "one edge", DEADLINE, |status| {
        status.edges.ready == "1/1" && status.draining_pods == 0
    });
    shrunk.await.map(drop)
}

/// Announces an event that needs three edges, and one that needs more than are allowed.
async fn announced(namespace: &Namespace) -> Result<()> {
    let event = |minutes: i64, viewers: u32| {
        let starts_at = Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
        json!({"startsAt": starts_at.to_string(), "duration": "1h", "viewers": viewers})
    };
    namespace.say("an event with twelve viewers begins in five minutes, and a larger one tomorrow");
    for (events, status, reason) in [
        (vec![event(5, 12)], "True", "CapacityReady"),
        (
            vec![event(5, 12), event(24 * 60, 13)],
            "False",
            "EventExceedsMaxReplicas",
        ),
    ] {
        let autoscaling = json!({"edges": {"autoscaling": {"events": events}}});
        namespace.edit("demo", autoscaling).await?;
        let reported = namespace.until_condition("demo", EVENT_CAPACITY_READY, status, DEADLINE);
        let reported = reported.await?;
        let found = condition(&reported, EVENT_CAPACITY_READY);
        ensure!(found.is_some_and(|it| it.reason == reason), "{found:?}");
        let edges = &reported.status.context("no status")?.edges;
        ensure!(edges.ready == "3/3", "{edges:?}");
    }
    Ok(())
}

async fn watched(namespace: &Namespace, service: &Reach, count: usize) -> Result<Vec<Viewer>> {
    let urls = vec![service.http(STREAM); count];
    namespace.all_watched(&urls).await
}

/// Returns the viewers of one edge.
async fn viewers(edge: &Reach) -> Result<u64> {
    let line = format!(
        "curl --silent --show-error --max-time 5 http://{}/streams.json",
        edge.http
    );
    let list: Value = serde_json::from_str(&run_line(&line).await?)?;
    let viewers = &list["streams"][0]["viewers"];
    viewers
        .as_u64()
        .with_context(|| format!("no stream in {list}"))
}
