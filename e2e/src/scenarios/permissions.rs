//! The operator has all rights that it needs and asks for none that it lacks; with one missing it says which.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::json;

use crate::cluster::{Stage, command, eventually};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    // A cluster that was kept also remembers what was asked in an earlier run.
    let began = Timestamp::now();
    stage.apply_ready("demo", json!({})).await?;
    stage
        .edit(
            "demo",
            json!({"edges": {"replicas": 1, "podDisruptionBudget": {"enabled": false}}}),
        )
        .await?;
    stage.ready("demo").await?;
    if stage.may_break("what the API server's audit log says") {
        let mut requests = stage.cluster.requests().await?;
        requests.retain(|it| it.request_received_timestamp.0 > began);
        ensure!(
            !requests.is_empty(),
            "the audit log knows nothing of the operator"
        );
        // In a namespace that is on its way out nobody may create anything: that is no lack of rights.
        let refused: Vec<_> = requests
            .iter()
            .filter(|it| {
                it.response_status.code == 403 && it.object_ref.namespace == stage.namespace
            })
            .map(|it| format!("{} {}", it.verb, it.uri))
            .collect();
        ensure!(
            refused.is_empty(),
            "expected the operator to be refused nothing, seen {refused:?}"
        );
    }

    stage.say("an operator of this namespace only, with a rule too few");
    let result = limited(&stage).await;
    helm(&stage, &["uninstall", "limited"]).await?.success()?;
    result
}

async fn limited(stage: &Stage) -> anyhow::Result<()> {
    let release = &stage.cluster.release;
    let watch = format!("watchNamespaces={{{}}}", stage.namespace);
    let mut values = vec![
        "crds.install=false",
        "replicas=1",
        "log.format=text",
        &watch,
    ];
    values.extend(release.values.iter().map(String::as_str));
    let mut line = vec!["install", "limited", release.chart.as_str()];
    for value in values {
        line.extend(["--set", value]);
    }
    helm(stage, &line).await?.success()?;
    let deployment = "deployment/limited-livecluster-operator";
    stage
        .kubectl(&["rollout", "status", deployment, "--timeout=60s"])
        .await
        .context("with all rules")?;

    let role = "limited-livecluster-operator";
    let rules = stage
        .kubectl(&["get", "role", role, "-o", "jsonpath={.rules}"])
        .await?;
    let mut rules: Vec<serde_json::Value> = serde_json::from_str(&rules)?;
    rules.retain(|rule| rule["resources"] != json!(["poddisruptionbudgets"]));
    let patch = json!({"rules": rules}).to_string();
    stage
        .kubectl(&["patch", "role", role, "--type=merge", "-p", &patch])
        .await?;
    stage.kubectl(&["rollout", "restart", deployment]).await?;
    eventually(
        "an operator that names poddisruptionbudgets",
        Duration::from_secs(60),
        || async {
            let pods = [
                "-l",
                "app.kubernetes.io/instance=limited",
                "--prefix",
                "--tail=-1",
            ];
            let mut said = stage
                .kubectl(&[&["logs"], pods.as_slice()].concat())
                .await
                .unwrap_or_default();
            said += &stage
                .kubectl(&[&["logs", "--previous"], pods.as_slice()].concat())
                .await
                .unwrap_or_default();
            let named = said.lines().any(|line| {
                line.contains("poddisruptionbudgets") && line.contains("lacks permissions")
            });
            ensure!(
                named,
                "its log: {}",
                said.lines().rev().take(5).collect::<Vec<_>>().join(" / ")
            );
            Ok(())
        },
    )
    .await
}

async fn helm(stage: &Stage, arguments: &[&str]) -> anyhow::Result<crate::cluster::Finished> {
    command(&[&["helm", "-n", &stage.namespace], arguments].concat(), "").await
}
