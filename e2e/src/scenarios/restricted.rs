//! Everything is admitted by the strictest Pod Security Standard: the operator, its test, the nodes.

use anyhow::ensure;
use serde_json::json;

use crate::cluster::{Stage, command};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    // The scenario's own namespace enforces it, as every scenario's does.
    let spec = json!({"edges": {"replicas": 1, "podLabels": {"team": "live"}, "nodeSelector": {"kubernetes.io/os": "linux"}}});
    stage.apply_ready("demo", spec).await?;

    let system = stage.cluster.release.namespace.as_str();
    let label = "pod-security.kubernetes.io/enforce=restricted";
    let line = [
        "kubectl",
        "label",
        "--dry-run=server",
        "--overwrite",
        "namespace",
        system,
        label,
    ];
    let answer = command(&line, "").await?;
    let warned = answer.stderr.clone();
    answer.success()?;
    ensure!(
        !warned.contains("violate"),
        "expected {system} to fulfil `restricted`, seen {warned}"
    );

    // What the chart makes besides, such as the Job of `helm test`, as a Pod of this namespace.
    let chart = stage.cluster.release.chart.as_str();
    let rendered = command(
        &[
            "helm",
            "template",
            "test",
            chart,
            "-s",
            "templates/tests/self-test.yaml",
        ],
        "",
    )
    .await?
    .success()?;
    let line = ["apply", "--dry-run=server", "-f", "-"];
    let rendered = rendered.replace(
        "namespace: default",
        &format!("namespace: {}", stage.namespace),
    );
    let answer = stage.try_kubectl(&line, &rendered).await?;
    let warned = answer.stderr.clone();
    answer.success()?;
    ensure!(
        !warned.contains("violate"),
        "expected the pod of `helm test` to fulfil `restricted`, seen {warned}"
    );
    Ok(())
}
