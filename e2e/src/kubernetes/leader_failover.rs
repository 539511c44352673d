//! The leading operator is killed, frozen, or deleted: an operator works on, never two at the same time, and no media node is restarted. A
//! leader that is frozen past its lease writes nothing when it resumes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
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
    kill(&namespace, &system).await?;
    freeze(&namespace, &system).await?;
    delete(&namespace, &system).await?;
    let after = media_nodes(&namespace).await?;
    let same = before == after;
    ensure!(
        same,
        "expected the same containers {before:?}, seen {after:?}"
    );
    Ok(())
}

/// Kills the leader's process. Its container starts again and may lead again.
async fn kill(namespace: &Namespace, system: &Namespace) -> Result<()> {
    let old = leader(system).await?;
    namespace.say(format_args!("kill -9 of {old}"));
    let pod = system.get::<Pod>(&old).await?;
    system.signal(&pod, "KILL").await?;
    let works = namespace.assert_operator_works("demo", "after-kill");
    works.await?;
    all_ready(system).await?;
    let again = system.get::<Pod>(&old).await?;
    let restarted = container(&again) != container(&pod);
    ensure!(restarted, "{old} still runs in the container of before");
    Ok(())
}

/// Freezes the leader until another one leads, and lets it resume while there is work to do.
async fn freeze(namespace: &Namespace, system: &Namespace) -> Result<()> {
    let old = leader(system).await?;
    namespace.say(format_args!("SIGSTOP of {old} for {FROZEN:?}"));
    let pod = system.get::<Pod>(&old).await?;
    let (start, since) = (Instant::now(), Timestamp::now());
    system.signal(&pod, "STOP").await?;
    let frozen = async {
        let new = another_leads(system, &old, FROZEN).await?;
        let works = namespace.assert_operator_works("demo", "while-frozen");
        works.await?;
        tokio::time::sleep(FROZEN.saturating_sub(start.elapsed())).await;
        // Work that the old leader would do, if it still acted as the leader.
        let mark = json!({"edges": {"service": {"annotations": {"mark": "resumed"}}}});
        namespace.edit("demo", mark).await?;
        anyhow::Ok(new)
    };
    let new = frozen.await;
    system.signal(&pod, "CONT").await?;
    let works = namespace.assert_operator_works("demo", "after-resuming");
    works.await?;
    // In which the old leader would write.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_writes_nothing(system, &old, &new?, since).await?;
    all_ready(system).await
}

/// Deletes the leader's Pod, which gives its lease up.
async fn delete(namespace: &Namespace, system: &Namespace) -> Result<()> {
    let old = leader(system).await?;
    namespace.say(format_args!("{old} is deleted"));
    let since = Timestamp::now();
    let line = format!("delete pod {old} --wait=false");
    system.kubectl(&line).await?;
    let new = another_leads(system, &old, Duration::from_secs(5)).await?;
    let works = namespace.assert_operator_works("demo", "after-deletion");
    works.await?;
    all_ready(system).await?;
    assert_writes_nothing(system, &old, &new, since).await
}

/// Waits until another operator holds the lease, and returns its name.
async fn another_leads(system: &Namespace, old: &str, limit: Duration) -> Result<String> {
    let start = Instant::now();
    let expected = format!("another leader than {old}");
    let new = eventually(&expected, limit, || async {
        let now = leader(system).await?;
        ensure!(now != old, "{now} still holds the lease");
        Ok(now)
    });
    let new = new.await?;
    let took = start.elapsed().as_millis();
    system.say(format_args!("{new} leads after {took} ms"));
    Ok(new)
}

/// Fails if the old leader has written anything after the new one took over.
async fn assert_writes_nothing(
    system: &Namespace,
    old: &str,
    new: &str,
    since: Timestamp,
) -> Result<()> {
    let requests = system.cluster.requests(since).await?;
    let writes = requests
        .iter()
        .filter(|it| it.writes() && it.status() < 300);
    let mut by_new = writes.clone().filter(|it| it.pod() == Some(new));
    let takeover = by_new.find(|it| it.object_ref.resource == "leases");
    let takeover = takeover.with_context(|| format!("{new} wrote no lease"))?;
    let late = writes.filter(|it| it.pod() == Some(old) && it.at() > takeover.at());
    let late: Vec<_> = late.map(|it| format!("{} {}", it.verb, it.uri)).collect();
    ensure!(
        late.is_empty(),
        "{old} wrote after {new} took over: {late:?}"
    );
    Ok(())
}

async fn leader(system: &Namespace) -> Result<String> {
    let lease: Lease = system.get(&system.cluster.release.deployment()).await?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    let holder = holder.filter(|holder| !holder.is_empty());
    holder.context("the lease has no holder")
}

async fn all_ready(system: &Namespace) -> Result<()> {
    let selector = ListParams::default().labels("app.kubernetes.io/component=operator");
    let expected = "both operators are ready again";
    eventually(expected, Duration::from_secs(60), || async {
        let operators = system.api::<Pod>().list(&selector).await?.items;
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
