//! The leading operator goes, by a kill and by a farewell: another one leads within the lease's time, never two at once, and no
//! node of any cluster is touched.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::cluster::{Stage, eventually};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    stage.apply_ready("demo", json!({})).await?;
    let before = nodes(&stage).await?;
    let system = stage.elsewhere(&stage.cluster.release.namespace);

    if stage.cluster.kind.is_some() {
        let leader = leader(&system).await?;
        stage.say(format!("kill -9 of {leader}"));
        let took = change(
            &system,
            &leader,
            Duration::from_secs(30),
            system.kill(&system.get::<Pod>(&leader).await?, "KILL"),
        )
        .await?;
        stage.say(format!("another one leads after {} ms", took.as_millis()));
        works(&stage, "1").await?;
    }

    let leader = leader(&system).await?;
    stage.say(format!("{leader} is deleted"));
    let farewell = async {
        system
            .kubectl(&["delete", "pod", &leader, "--wait=false"])
            .await
            .map(drop)
    };
    let took = change(&system, &leader, Duration::from_secs(5), farewell).await?;
    stage.say(format!("another one leads after {} ms", took.as_millis()));
    works(&stage, "2").await?;

    let after = nodes(&stage).await?;
    ensure!(
        before == after,
        "nodes were restarted: before {before:?}, after {after:?}"
    );
    eventually(
        "both operators are ready again",
        Duration::from_secs(60),
        || async {
            let ready = operators(&system)
                .await?
                .iter()
                .filter(|pod| is_ready(pod))
                .count();
            ensure!(ready == 2, "{ready}");
            Ok(())
        },
    )
    .await
}

/// Does away with the leader; how long it took until another one led. Meanwhile no two lead.
async fn change(
    system: &Stage,
    old: &str,
    limit: Duration,
    away: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Duration> {
    away.await?;
    let gone = Instant::now();
    let old_container = container(&system.api::<Pod>().get_opt(old).await?);
    eventually("another leader", limit, || async {
        never_two(system).await?;
        let now = leader(system).await?;
        // A killed leader's own container may come back and lead again: then it is a new one.
        let again =
            now == old && container(&system.api::<Pod>().get_opt(old).await?) != old_container;
        ensure!(now != old || again, "{now} still holds the lease");
        Ok(())
    })
    .await?;
    Ok(gone.elapsed())
}

fn container(pod: &Option<Pod>) -> Option<String> {
    let statuses = pod.as_ref()?.status.as_ref()?.container_statuses.as_ref()?;
    statuses.first()?.container_id.clone()
}

/// Each operator says whether it leads; at most one of them may.
async fn never_two(system: &Stage) -> anyhow::Result<()> {
    let mut leading = Vec::new();
    for pod in operators(system).await? {
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}:8080/proxy/metrics",
            system.namespace,
            pod.name_any()
        );
        let request = http::Request::get(path).body(Vec::new())?;
        let answer = system.cluster.client.request_text(request);
        // One that is down, or going down, leads nobody.
        let answer = tokio::time::timeout(Duration::from_millis(500), answer).await;
        let metrics = answer
            .unwrap_or_else(|_| Ok(String::new()))
            .unwrap_or_default();
        if metrics.lines().any(|line| line == "live_operator_leader 1") {
            leading.push(pod.name_any());
        }
    }
    assert!(leading.len() < 2, "two leaders at once: {leading:?}");
    Ok(())
}

/// An edit is done: somebody is at work.
async fn works(stage: &Stage, value: &str) -> anyhow::Result<()> {
    let spec = json!({"edges": {"service": {"annotations": {"round": value}}}});
    stage.edit("demo", spec).await?;
    eventually("the new leader works", Duration::from_secs(20), || async {
        let service: k8s_openapi::api::core::v1::Service = stage.get("demo-edge").await?;
        ensure!(
            service
                .annotations()
                .get("round")
                .is_some_and(|it| it == value),
            "not yet"
        );
        Ok(())
    })
    .await
}

async fn leader(system: &Stage) -> anyhow::Result<String> {
    let lease: Lease = system.get(&system.cluster.release.deployment()).await?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    holder
        .filter(|holder| !holder.is_empty())
        .context("nobody holds the lease")
}

async fn operators(system: &Stage) -> anyhow::Result<Vec<Pod>> {
    let selector = ListParams::default().labels("app.kubernetes.io/component=operator");
    let api: Api<Pod> = system.api();
    Ok(api.list(&selector).await?.items)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|it| it.type_ == "Ready" && it.status == "True")
    })
}

/// The nodes, by what a restart would change.
async fn nodes(stage: &Stage) -> anyhow::Result<BTreeSet<(String, Option<String>)>> {
    let mut nodes = BTreeSet::new();
    for role in ["origin", "edge"] {
        for pod in stage.pods("demo", role).await? {
            nodes.insert((pod.name_any(), container(&Some(pod))));
        }
    }
    Ok(nodes)
}
