//! The strictest Pod Security Standard admits everything: the operator, its test, the media nodes.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::cluster::Namespace;
use crate::process::run as run_line;

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    // The scenario's namespace enforces it, as every scenario's does.
    let edges = json!({
        "replicas": 1,
        "podLabels": {"team": "live"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
    });
    let spec = json!({"edges": edges});
    namespace.apply_ready("demo", spec).await?;

    let system = namespace.cluster.release.namespace.as_str();
    let label = "pod-security.kubernetes.io/enforce=restricted";
    let line = format!("label --dry-run=server --overwrite namespace {system} {label}");
    assert_no_violation(&namespace, &line, "").await?;

    // What else the chart creates, such as the Pod of `helm test`, in this namespace.
    let chart = &namespace.cluster.release.chart;
    let line = format!("helm template test {chart} -s templates/tests/self-test.yaml");
    let own = format!("namespace: {}", namespace.name);
    let rendered = run_line(&line).await?.replace("namespace: default", &own);
    let line = "apply --dry-run=server -f -";
    assert_no_violation(&namespace, line, &rendered).await
}

async fn assert_no_violation(namespace: &Namespace, line: &str, input: &str) -> Result<()> {
    let finished = namespace.try_kubectl(line, input).await?;
    let warnings = finished.stderr.clone();
    finished.success()?;
    let violates = warnings.contains("violate");
    ensure!(!violates, "kubectl {line}: {warnings}");
    Ok(())
}
