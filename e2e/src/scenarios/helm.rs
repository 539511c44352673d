//! The chart: checked, installed, upgraded, tested; wrong values are refused.

use anyhow::ensure;

use crate::cluster::{Stage, beginning, command};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    let release = &stage.cluster.release;
    let chart = release.chart.as_str();
    helm(&["lint", "--strict", chart]).await?;

    stage.say("what it renders is what the API server takes");
    for values in [
        vec![],
        vec![
            "--set",
            "watchNamespaces={default},rbac.readSecrets=false,replicas=1",
        ],
    ] {
        let mut line = vec!["template", "rendered", chart, "--namespace", "default"];
        line.extend(values);
        let rendered = helm(&line).await?;
        command(
            &[
                "kubectl",
                "apply",
                "--dry-run=server",
                "--validate=strict",
                "-n",
                "default",
                "-f",
                "-",
            ],
            &rendered,
        )
        .await?
        .success()?;
    }
    let monitoring = "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true,metrics.dashboard.enabled=true";
    let rendered = helm(&["template", "rendered", chart, "--set", monitoring]).await?;
    for kind in ["ServiceMonitor", "PodMonitor"] {
        ensure!(
            rendered.contains(&format!("kind: {kind}\n")),
            "expected a {kind} in what the chart renders with {monitoring}"
        );
    }

    for wrong in [
        "replica=2",
        "replicas=two",
        "log.format=xml",
        "image.pullPolicy=Sometimes",
    ] {
        let refused = command(&["helm", "template", chart, "--set", wrong], "")
            .await?
            .failure()?;
        ensure!(
            refused.contains("schema"),
            "--set {wrong}: expected a refusal by the schema, seen {refused}"
        );
    }

    stage.say("installed, upgraded, tested");
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
    let args = [
        "-n",
        &release.namespace,
        "get",
        "deployment",
        &release.deployment(),
        "-o",
        "yaml",
    ];
    let deployed = command(&[&["kubectl"], args.as_slice()].concat(), "")
        .await?
        .success()?;
    ensure!(
        deployed.contains("value: debug"),
        "expected log.level=debug to reach the Deployment, seen {}",
        beginning(&deployed)
    );
    release
        .helm(&["test", &release.name, "--timeout", "150s"])
        .await?;
    release.install(&[]).await?;

    stage.say("the definition is there, and kept");
    let line = [
        "kubectl",
        "wait",
        "--for=condition=Established",
        "crd/liveclusters.livecluster.dev",
        "--timeout=30s",
    ];
    command(&line, "").await?.success()?;
    let line = [
        "kubectl",
        "get",
        "crd",
        "liveclusters.livecluster.dev",
        "-o",
        "yaml",
    ];
    let definition = command(&line, "").await?.success()?;
    ensure!(
        definition.contains("helm.sh/resource-policy: keep"),
        "no keep policy"
    );
    Ok(())
}

async fn helm(arguments: &[&str]) -> anyhow::Result<String> {
    command(&[&["helm"], arguments].concat(), "")
        .await?
        .success()
}
