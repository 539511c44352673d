//! The leading operator is killed, frozen, or deleted: an operator works on, never two at the same time, and no media node is restarted. A
//! leader that is frozen past its lease writes nothing when it resumes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;

use crate::cluster::{LEASE, Namespace, container, is_ready};
use crate::wait::{DEADLINE, eventually};

/// Longer than [`LEASE`], so that another operator leads before the frozen one resumes.
const FROZEN: Duration = Duration::from_secs(20);

/// How often the frozen operator may be started again before it resumes.
const ATTEMPTS: usize = 3;

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
    eventually("another container of it", DEADLINE, || async {
        let same = is_of_before(system, &pod).await?;
        ensure!(!same, "{old} still runs in the container of before");
        Ok(())
    })
    .await?;
    all_ready(system).await
}

/// Freezes the leader until another one leads, and lets it resume while there is work to do. Where all of that takes longer than its
/// liveness probe waits, its container is another one meanwhile, and all of it is done again.
async fn freeze(namespace: &Namespace, system: &Namespace) -> Result<()> {
    for attempt in 0..ATTEMPTS {
        if resumes(namespace, system, attempt).await? {
            return Ok(());
        }
        namespace.say("it did not resume: its container was started again");
    }
    bail!("it did not resume {ATTEMPTS} times")
}

/// Returns whether a leader that was frozen has resumed.
async fn resumes(namespace: &Namespace, system: &Namespace, attempt: usize) -> Result<bool> {
    let old = leader(system).await?;
    namespace.say(format_args!("SIGSTOP of {old} for {FROZEN:?}"));
    let pod = system.get::<Pod>(&old).await?;
    let (start, since) = (Instant::now(), Timestamp::now());
    let (other, frozen) = (system.clone(), pod.clone());
    namespace.repaired_by(move |_| resume(other.clone(), frozen.clone()));
    system.signal(&pod, "STOP").await?;
    let new = another_leads(system, &old).await?;
    let mark = format!("while-frozen-{attempt}");
    namespace.assert_operator_works("demo", &mark).await?;
    tokio::time::sleep(FROZEN.saturating_sub(start.elapsed())).await;
    // Work that the old leader would do, if it still acted as the leader.
    let mark = format!("resumed-{attempt}");
    let mark = json!({"edges": {"service": {"annotations": {"mark": mark}}}});
    namespace.edit("demo", mark).await?;
    let frozen = is_of_before(system, &pod).await?;
    namespace.repair().await?;
    let mark = format!("after-resuming-{attempt}");
    namespace.assert_operator_works("demo", &mark).await?;
    // In which the old leader would write.
    tokio::time::sleep(Duration::from_secs(5)).await;
    takeover(system, &old, &new, since).await?;
    all_ready(system).await?;
    Ok(frozen)
}

/// Lets an operator go on that was frozen.
async fn resume(system: Namespace, frozen: Pod) -> Result<()> {
    if is_of_before(&system, &frozen).await? {
        system.signal(&frozen, "CONT").await?;
    }
    Ok(())
}

/// Returns whether a Pod still has the container of before.
async fn is_of_before(system: &Namespace, before: &Pod) -> Result<bool> {
    let now = system.get::<Pod>(&before.name_any()).await?;
    Ok(container(&now) == container(before))
}

/// Deletes the leader's Pod, which gives its lease up.
async fn delete(namespace: &Namespace, system: &Namespace) -> Result<()> {
    let old = leader(system).await?;
    namespace.say(format_args!("{old} is deleted"));
    let since = Timestamp::now();
    let line = format!("delete pod {old} --wait=false");
    system.kubectl(&line).await?;
    let new = another_leads(system, &old).await?;
    let works = namespace.assert_operator_works("demo", "after-deletion");
    works.await?;
    all_ready(system).await?;
    let gap = takeover(system, &old, &new, since).await?;
    let given_up = gap.is_some_and(|gap| gap < LEASE);
    ensure!(
        given_up,
        "{old} has not given its lease up: {new} leads {gap:?} after it wrote it last"
    );
    Ok(())
}

/// Waits until another operator holds the lease, and returns its name.
async fn another_leads(system: &Namespace, old: &str) -> Result<String> {
    let start = Instant::now();
    let expected = format!("another leader than {old}");
    let new = eventually(&expected, DEADLINE, || async {
        let now = leader(system).await?;
        ensure!(now != old, "{now} still holds the lease");
        Ok(now)
    });
    let new = new.await?;
    let took = start.elapsed().as_millis();
    system.say(format_args!("{new} leads after {took} ms"));
    Ok(new)
}

/// Fails if the old leader has written anything after the new one took over. Returns how long before that it wrote
/// the lease last, if it did since then.
async fn takeover(
    system: &Namespace,
    old: &str,
    new: &str,
    since: Timestamp,
) -> Result<Option<Duration>> {
    let requests = system.cluster.requests(since).await?;
    let writes = requests
        .iter()
        .filter(|it| it.writes() && it.status() < 300);
    let mut by_new = writes.clone().filter(|it| it.pod() == Some(new));
    let takeover = by_new.find(|it| it.object_ref.resource == "leases");
    let takeover = takeover.with_context(|| format!("{new} wrote no lease"))?;
    let by_old = writes.filter(|it| it.pod() == Some(old));
    let late = by_old.clone().filter(|it| it.at() > takeover.at());
    let late: Vec<_> = late.map(|it| format!("{} {}", it.verb, it.uri)).collect();
    ensure!(
        late.is_empty(),
        "{old} wrote after {new} took over: {late:?}"
    );
    let leases = by_old.filter(|it| it.object_ref.resource == "leases");
    let mut gaps = leases.map(|it| takeover.at().duration_since(it.at()).unsigned_abs());
    Ok(gaps.next_back())
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
    eventually(expected, DEADLINE, || async {
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
