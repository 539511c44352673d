//! The chart is checked, installed, upgraded and tested, and refuses wrong values.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde::Deserialize as _;
use serde_json::Value;

use crate::cluster::Namespace;
use crate::process::{self, beginning, run as run_line};
use crate::wait::DEADLINE;

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let chart = namespace.cluster.release.chart.as_str();
    run_line(&format!("helm lint --strict {chart}")).await?;
    renders(&namespace, chart).await?;
    refuses(chart).await?;
    installs(&namespace).await?;

    namespace.say("the definition is there, and kept");
    let crd = "crd/liveclusters.livecluster.dev";
    run_line(&format!(
        "kubectl wait --for=condition=Established {crd} --timeout={}s",
        DEADLINE.as_secs()
    ))
    .await?;
    let definition = run_line(&format!("kubectl get {crd} -o yaml")).await?;
    let kept = definition.contains("helm.sh/resource-policy: keep");
    ensure!(kept, "no keep policy");
    Ok(())
}

async fn renders(namespace: &Namespace, chart: &str) -> Result<()> {
    namespace.say("the API server accepts what the chart renders");
    let template = format!("helm template rendered {chart} {KUBERNETES}");
    let other = "--set watchNamespaces={default},rbac.readSecrets=true,replicas=1";
    for values in ["", other] {
        let rendered = run_line(&format!("{template} --namespace default {values}")).await?;
        let line = "kubectl apply --dry-run=server --validate=strict -n default -f -";
        let mut apply = process::command(line);
        process::finish(&mut apply, &rendered).await?.success()?;
    }
    let every = "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true,metrics.prometheusRule.enabled=true,metrics.dashboard.enabled=true,crds.keep=false,commonLabels.team=video";
    // Of labels that are given twice, one wins.
    let twice = r"commonLabels.app\.kubernetes\.io/name=other,commonLabels.stage=all,podLabels.stage=live,metrics.podMonitor.labels.stage=live";
    let rendered = run_line(&format!("{template} --set {every} --set {twice}")).await?;
    let mut kinds = BTreeSet::new();
    for document in serde_yaml::Deserializer::from_str(&rendered) {
        let object = Value::deserialize(document)?;
        let Some(kind) = object["kind"].as_str() else {
            continue;
        };
        let metadata = &object["metadata"];
        let labelled = metadata["labels"]["team"] == "video";
        ensure!(labelled, "{kind} {} lacks a label", metadata["name"]);
        kinds.insert(kind.to_owned());
    }
    for kind in [
        "CustomResourceDefinition",
        "ServiceMonitor",
        "PodMonitor",
        "PrometheusRule",
    ] {
        ensure!(kinds.contains(kind), "no {kind} with {every}: {kinds:?}");
    }
    Ok(())
}

async fn refuses(chart: &str) -> Result<()> {
    for wrong in [
        "replica=2",
        "replicas=two",
        "log.format=xml",
        "log.level=LOUD",
        "image.pullPolicy=Sometimes",
    ] {
        let mut command =
            process::command(&format!("helm template {chart} {KUBERNETES} --set {wrong}"));
        let refused = process::finish(&mut command, "").await?.failure()?;
        let schema = refused.contains("schema");
        ensure!(
            schema,
            "{wrong}: expected a refusal by the schema, seen {refused}"
        );
    }
    Ok(())
}

async fn installs(namespace: &Namespace) -> Result<()> {
    namespace.say("installed, upgraded, tested");
    namespace.repaired_by(|it| async move { it.cluster.release.restore().await });
    let release = &namespace.cluster.release;
    let notes = release.install(&["log.level=debug", "replicas=2"]).await?;
    for next in [
        "helm test",
        "kubectl",
        "kind: LiveCluster",
        "kubectl explain lc",
    ] {
        ensure!(
            notes.contains(next),
            "NOTES.txt does not name {next}: {notes}"
        );
    }
    let system = namespace.other(&release.namespace);
    let line = format!("get deployment {} -o yaml", release.deployment());
    let deployed = system.kubectl(&line).await?;
    let debug = deployed.contains("value: debug");
    ensure!(
        debug,
        "log.level=debug does not reach {}",
        beginning(&deployed)
    );
    let name = &release.name;
    let limit = DEADLINE.as_secs();
    release
        .helm(&format!("test {name} --timeout {limit}s"))
        .await?;
    namespace.repair().await
}

/// The oldest Kubernetes that the chart accepts: without a cluster, Helm assumes one of its own.
const KUBERNETES: &str = "--kube-version 1.33";
