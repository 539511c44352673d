//! The leading operator is killed, frozen, or deleted: another one leads within the lease's time, never two at once, and no media node
//! is restarted. A leader that is frozen past its lease writes nothing when it resumes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;

use crate::cluster::{Namespace, container, is_ready};
use crate::wait::eventually;

/// Longer than the lease, so that another operator leads before the frozen one resumes.
const FROZEN: Duration = Duration::from_secs(20);

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    namespace.apply_ready("demo", json!({})).await?;
    let before = media_nodes(&namespace).await?;
    let system = namespace.other(&namespace.cluster.release.namespace);

    if namespace.may_break("kill -9 and SIGSTOP of the leader") {
        let leader = leader(&system).await?;
        namespace.say(format_args!("kill -9 of {leader}"));
        let pod = system.get::<Pod>(&leader).await?;
        let kill = system.signal(&pod, "KILL");
        change(&system, &leader, Duration::from_secs(30), kill).await?;
        namespace
            .assert_operator_works("demo", "after-kill")
            .await?;
        all_ready(&system).await?;
        freeze(&namespace, &system).await?;
    }

    let leader = leader(&system).await?;
    namespace.say(format_args!("{leader} is deleted"));
    let delete = async {
        let line = format!("delete pod {leader} --wait=false");
        system.kubectl(&line).await.map(drop)
    };
    change(&system, &leader, Duration::from_secs(5), delete).await?;
    namespace
        .assert_operator_works("demo", "after-deletion")
        .await?;

    let after = media_nodes(&namespace).await?;
    let same = before == after;
    ensure!(
        same,
        "expected the same containers {before:?}, seen {after:?}"
    );
    all_ready(&system).await
}

/// Freezes the leader until another one leads, and fails if it writes anything after that.
async fn freeze(namespace: &Namespace, system: &Namespace) -> Result<()> {
    let old = leader(system).await?;
    namespace.say(format_args!("SIGSTOP of {old} for {FROZEN:?}"));
    let pod = system.get::<Pod>(&old).await?;
    let (start, since) = (Instant::now(), Timestamp::now());
    let frozen = async {
        change(system, &old, FROZEN, system.signal(&pod, "STOP")).await?;
        namespace
            .assert_operator_works("demo", "while-frozen")
            .await?;
        tokio::time::sleep(FROZEN.saturating_sub(start.elapsed())).await;
        // Work that the old leader would do, if it took itself for the leader.
        let scale = json!({"edges": {"service": {"annotations": {"mark": "resumed"}}}});
        namespace.edit("demo", scale).await
    };
    let result = frozen.await;
    system.signal(&pod, "CONT").await?;
    result?;
    let new = leader(system).await?;
    namespace
        .assert_operator_works("demo", "after-resuming")
        .await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_leads(system, &new).await?;

    let requests = namespace.cluster.requests(since).await?;
    let writes = requests
        .iter()
        .filter(|it| it.writes() && it.status() < 300);
    let by = |pod: String| writes.clone().filter(move |it| it.pod() == Some(&pod));
    let takeover = by(new.clone()).find(|it| it.object_ref.resource == "leases");
    let takeover = takeover.with_context(|| format!("{new} wrote no lease"))?;
    let late = by(old.clone()).filter(|it| it.at() > takeover.at());
    let late: Vec<_> = late.map(|it| format!("{} {}", it.verb, it.uri)).collect();
    ensure!(
        late.is_empty(),
        "{old} wrote after {new} took over: {late:?}"
    );
    Ok(())
}

/// Removes the leader, and waits until another one leads. Meanwhile no two lead.
async fn change(
    system: &Namespace,
    old: &str,
    limit: Duration,
    remove: impl Future<Output = Result<()>>,
) -> Result<()> {
    remove.await?;
    let start = Instant::now();
    let current = async || {
        let pod = system.api::<Pod>().get_opt(old).await?;
        anyhow::Ok(pod.as_ref().and_then(container).map(str::to_owned))
    };
    let old_container = current().await?;
    let expected = format!("another leader than {old}");
    let new = eventually(&expected, limit, || async {
        let leading = leading(system).await?;
        if leading.len() > 1 {
            // No waiting repairs that.
            return Ok(Err(anyhow!("more than one operator leads: {leading:?}")));
        }
        let now = leader(system).await?;
        // A killed leader's container may be restarted and lead again: then it is a new one.
        let again = now == old && current().await? != old_container;
        ensure!(now != old || again, "{now} still holds the lease");
        Ok(Ok(now))
    })
    .await??;
    let took = start.elapsed().as_millis();
    system.say(format_args!("{new} leads after {took} ms"));
    assert_leads(system, &new).await
}

/// Fails unless the holder of the lease is the only operator that reports to lead.
async fn assert_leads(system: &Namespace, holder: &str) -> Result<()> {
    let expected = format!("only {holder}, which holds the lease, leads");
    eventually(&expected, Duration::from_secs(10), || async {
        let leading = leading(system).await?;
        ensure!(leading == [holder], "{leading:?}");
        Ok(())
    })
    .await
}

/// The operators whose metrics report that they lead.
async fn leading(system: &Namespace) -> Result<Vec<String>> {
    let mut leading = Vec::new();
    for pod in operators(system).await? {
        let (namespace, name) = (&system.name, pod.name_any());
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:8080/proxy/metrics");
        let request = http::Request::get(path).body(Vec::new())?;
        let answer = system.cluster.client.request_text(request);
        // One that does not answer leads nothing.
        let answer = tokio::time::timeout(Duration::from_millis(500), answer).await;
        let metrics = answer.map(Result::unwrap_or_default).unwrap_or_default();
        if metrics.lines().any(|line| line == "live_operator_leader 1") {
            leading.push(name);
        }
    }
    Ok(leading)
}

async fn leader(system: &Namespace) -> Result<String> {
    let lease: Lease = system.get(&system.cluster.release.deployment()).await?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    let holder = holder.filter(|holder| !holder.is_empty());
    holder.context("the lease has no holder")
}

async fn operators(system: &Namespace) -> Result<Vec<Pod>> {
    let selector = ListParams::default().labels("app.kubernetes.io/component=operator");
    Ok(system.api().list(&selector).await?.items)
}

async fn all_ready(system: &Namespace) -> Result<()> {
    let expected = "both operators are ready again";
    eventually(expected, Duration::from_secs(60), || async {
        let operators = operators(system).await?;
        let ready = operators.iter().filter(|pod| is_ready(pod)).count();
        ensure!(ready == 2, "{ready} of them");
        Ok(())
    })
    .await
}

/// The Pods of the LiveCluster with their containers, which a restart changes.
async fn media_nodes(namespace: &Namespace) -> Result<BTreeSet<(String, Option<String>)>> {
    let mut nodes = BTreeSet::new();
    for role in ["origin", "edge"] {
        for pod in namespace.pods("demo", role).await? {
            nodes.insert((pod.name_any(), container(&pod).map(str::to_owned)));
        }
    }
    Ok(nodes)
}
