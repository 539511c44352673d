//! The leading operator goes, by a kill and by a farewell: another one leads within the lease's time, never two at once, and no
//! node of any cluster is touched.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::cluster::{Stage, eventually, is_ready};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    stage.apply_ready("demo", json!({})).await?;
    let before = nodes(&stage).await?;
    let system = stage.elsewhere(&stage.cluster.release.namespace);

    if stage.may_break("kill -9 of the leader") {
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
        stage.operator_works("demo", "after the kill").await?;
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
    stage.operator_works("demo", "after the farewell").await?;

    let after = nodes(&stage).await?;
    ensure!(
        before == after,
        "expected the nodes to be the same containers; of the old ones {:?} are gone, and {:?} are new",
        before.difference(&after).collect::<Vec<_>>(),
        after.difference(&before).collect::<Vec<_>>()
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
            ensure!(ready == 2, "{ready} of them");
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
    let expected = format!("another leader than {old}");
    let new = eventually(&expected, limit, || async {
        let leading = leading(system).await?;
        if leading.len() > 1 {
            // No waiting mends that.
            return Ok(Err(anyhow!(
                "expected one leader at most, seen {leading:?}"
            )));
        }
        let now = leader(system).await?;
        // A killed leader's own container may come back and lead again: then it is a new one.
        let again =
            now == old && container(&system.api::<Pod>().get_opt(old).await?) != old_container;
        ensure!(now != old || again, "{now} still holds the lease");
        Ok(Ok(now))
    })
    .await??;
    let took = gone.elapsed();
    let expected = format!("{new}, which holds the lease, is the one that says that it leads");
    eventually(&expected, Duration::from_secs(10), || async {
        let leading = leading(system).await?;
        ensure!(leading == [new.as_str()], "{leading:?}");
        Ok(())
    })
    .await?;
    Ok(took)
}

fn container(pod: &Option<Pod>) -> Option<String> {
    let statuses = pod.as_ref()?.status.as_ref()?.container_statuses.as_ref()?;
    statuses.first()?.container_id.clone()
}

/// The operators that say of themselves that they lead.
async fn leading(system: &Stage) -> anyhow::Result<Vec<String>> {
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
    Ok(leading)
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
