//! The operator is uninstalled while a stream runs: the stream goes on, a new one starts, and nothing is left when the LiveCluster is
//! deleted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::cluster::{LEASE, Namespace, STREAM};
use crate::process::run as run_line;
use crate::wait::{DEADLINE, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    namespace.repaired_by(installed_again);
    uninstall(&namespace).await?;
    namespace.repair().await?;
    namespace.repaired_by(installed_again);
    reinstall(&namespace).await
}

/// Installs the operator again, without what a refused uninstallation has left.
async fn installed_again(namespace: Namespace) -> Result<()> {
    let release = &namespace.cluster.release;
    release.restore().await?;
    let system = namespace.other(&release.namespace);
    let name = release.deployment();
    let (hook, role) = (
        format!("{name}-uninstall-check"),
        format!("{}:{name}:uninstall-check", release.namespace),
    );
    let left =
        format!("job/{hook} serviceaccount/{hook} clusterrole/{role} clusterrolebinding/{role}");
    system
        .kubectl(&format!("delete --ignore-not-found {left}"))
        .await
        .map(drop)
}

/// Uninstalls the operator while it leads, and installs it again immediately. The permissions of the leader are gone before it can
/// release its Lease.
async fn reinstall(namespace: &Namespace) -> Result<()> {
    let release = &namespace.cluster.release;
    let system = namespace.other(&release.namespace);
    system.say("uninstalled and installed again, it leads immediately");
    release
        .helm(&format!("uninstall {} --wait", release.name))
        .await?;
    namespace.repair().await?;
    let lease = eventually("a leader", DEADLINE, || async {
        let lease: Lease = system.get(&release.deployment()).await?;
        let spec = lease.spec.unwrap_or_default();
        let acquired = spec.acquire_time.context("no acquireTime")?.0;
        Ok((spec.holder_identity.unwrap_or_default(), acquired))
    });
    let (holder, acquired) = lease.await?;
    let pod: Pod = system.get(&holder).await?;
    let states = pod.status.and_then(|status| status.container_statuses);
    let state = states.and_then(|states| states.into_iter().next()?.state?.running?.started_at);
    let started = state.context("the leader does not run")?.0;
    let took = acquired.duration_since(started).as_millis();
    system.say(format_args!("{holder} leads {took} ms after its start"));
    // The start is in whole seconds, rounded down. An operator that finds the Lease of another one waits longer.
    ensure!(
        took < LEASE.as_millis().try_into()?,
        "it leads after {took} ms"
    );
    Ok(())
}

async fn uninstall(namespace: &Namespace) -> Result<()> {
    let release = &namespace.cluster.release;
    let (helm_uninstall, selector) = (
        format!("uninstall {} --wait", release.name),
        format!("app.kubernetes.io/instance={}", release.name),
    );
    let limit = DEADLINE.as_secs();
    namespace.apply_ready("the-last", json!({})).await?;
    let edge = namespace.reach_role("the-last", "edge").await?;
    let stream = namespace.watched_stream(STREAM, &edge, &edge).await?;

    namespace.say("helm uninstall");
    release.helm(&helm_uninstall).await?;
    stream.assert_goes_on(Duration::from_secs(15)).await?;
    let new = namespace.watched_stream("live/new", &edge, &edge).await?;
    let kept = namespace.kubectl("get lc -o name").await?;
    let expected = "livecluster.livecluster.dev/the-last";
    ensure!(kept.trim() == expected, "helm uninstall keeps {kept:?}");
    nothing_left(namespace, &selector, Some("customresourcedefinition")).await?;
    stream.assert_uninterrupted()?;
    drop((stream, new));
    let line = format!("get deployments -l {CHILDREN} -o name");
    let children = namespace.kubectl(&line).await?;
    ensure!(children.lines().count() == 2, "Deployments: {children:?}");
    namespace
        .kubectl(&format!("delete lc/the-last --timeout={limit}s"))
        .await?;
    nothing_left(namespace, CHILDREN, None).await?;

    if namespace.may_break("crds.keep=false, which deletes every LiveCluster") {
        namespace.say(
            "with crds.keep=false the definition goes too, but not while a LiveCluster exists",
        );
        release.install(&["crds.keep=false"]).await?;
        let small = json!({"edges": {"replicas": 1}});
        namespace.apply_ready("the-last", small).await?;
        let refused = release.helm(&helm_uninstall).await;
        ensure!(
            refused.is_err(),
            "uninstalled although a LiveCluster exists"
        );
        namespace.ready("the-last").await?;
        namespace.say("the refused uninstallation is taken back, and upgrades are possible again");
        let history = format!("history {} --max 1 --output json", release.name);
        let history: serde_json::Value = serde_json::from_str(&release.helm(&history).await?)?;
        let revision = &history[0]["revision"];
        let rollback = format!(
            "rollback {} {revision} --wait --timeout {limit}s",
            release.name
        );
        release.helm(&rollback).await?;
        release.install(&["crds.keep=false"]).await?;
        let line = format!("delete lc/the-last --timeout={limit}s");
        namespace.kubectl(&line).await?;
        release.helm(&helm_uninstall).await?;
        let crd = "crd/liveclusters.livecluster.dev";
        let line = format!("kubectl wait --for=delete {crd} --timeout={limit}s");
        run_line(&line).await?;
        nothing_left(namespace, CHILDREN, None).await?;
    }
    Ok(())
}

/// Waits until no object of any kind in any namespace has these labels, except for one kind.
async fn nothing_left(namespace: &Namespace, selector: &str, except: Option<&str>) -> Result<()> {
    let kinds = run_line("kubectl api-resources --verbs=list -o name").await?;
    let kinds: Vec<&str> = kinds
        .lines()
        .filter(|kind| !kind.ends_with("metrics.k8s.io") && !kind.starts_with("events"))
        .filter(|kind| except.is_none_or(|except| !kind.starts_with(except)))
        .collect();
    let kinds = kinds.join(",");
    let expected = format!("nothing with {selector}");
    eventually(&expected, DEADLINE, || async {
        let line = format!("get {kinds} -A -l {selector} -o name");
        let left = namespace.kubectl(&line).await?;
        ensure!(left.is_empty(), "left: {}", left.replace('\n', " "));
        Ok(())
    })
    .await
}

const CHILDREN: &str =
    "app.kubernetes.io/managed-by=livecluster-operator,app.kubernetes.io/instance=the-last";
