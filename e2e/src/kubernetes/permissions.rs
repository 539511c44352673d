//! The operator has all permissions that it needs and asks for none that it lacks; when one is missing it names it.

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::{AuditedRequest, Namespace, set};
use crate::process;
use crate::wait::{DEADLINE, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let start = Timestamp::now();
    namespace.apply_ready("demo", json!({})).await?;
    let fewer = json!({"edges": {"replicas": 1, "podDisruptionBudget": {"enabled": false}}});
    namespace.edit("demo", fewer).await?;
    namespace.ready("demo").await?;
    if namespace.may_break("what the API server's audit log holds") {
        // Of this namespace only: in one that is terminating nothing can be created, which is no lack of permissions.
        let requests = namespace.requests(start).await?;
        let writes = requests.iter().any(AuditedRequest::writes);
        ensure!(writes, "the audit log has no write of the operator");
        let refused = requests.iter().filter(|it| it.status() == 403);
        let refused: Vec<_> = refused
            .map(|it| format!("{} {}", it.verb, it.uri))
            .collect();
        ensure!(refused.is_empty(), "the operator is refused {refused:?}");
    }

    namespace.say("an operator of this namespace only, with a rule too few");
    namespace
        .repaired_by(|it| async move { helm(&it, "uninstall limited --ignore-not-found").await });
    limited(&namespace).await
}

async fn limited(namespace: &Namespace) -> Result<()> {
    let release = &namespace.cluster.release;
    let watched = format!("watchNamespaces={{{}}}", namespace.name);
    let values = [
        "crds.install=false",
        "replicas=1",
        "log.format=text",
        &watched,
    ];
    let values = set(values
        .into_iter()
        .chain(release.values.iter().map(String::as_str)));
    helm(
        namespace,
        &format!("install limited {} {values}", release.chart),
    )
    .await?;
    let name = "limited-livecluster-operator";
    let limit = DEADLINE.as_secs();
    let line = format!("rollout status deployment/{name} --timeout={limit}s");
    let started = namespace.kubectl(&line).await;
    started.context("with all rules")?;

    let line = format!("get role {name} -o jsonpath={{.rules}}");
    let mut rules: Vec<Value> = serde_json::from_str(&namespace.kubectl(&line).await?)?;
    rules.retain(|rule| rule["resources"] != json!(["poddisruptionbudgets"]));
    let role = format!("role/{name}");
    let fewer = json!({"rules": rules});
    namespace.kubectl_patch(&role, &fewer).await?;
    let line = format!("rollout restart deployment/{name}");
    namespace.kubectl(&line).await?;
    let expected = "an operator that names poddisruptionbudgets";
    eventually(expected, DEADLINE, || async {
        let mut log = String::new();
        for container in ["", "--previous"] {
            let pods = "-l app.kubernetes.io/instance=limited --prefix --tail=-1";
            let line = format!("logs {container} {pods}");
            log += &namespace.kubectl(&line).await.unwrap_or_default();
        }
        let names = |line: &str| {
            line.contains("poddisruptionbudgets") && line.contains("lacks permissions")
        };
        let last: Vec<_> = log.lines().rev().take(5).collect();
        ensure!(log.lines().any(names), "its log: {}", last.join(" / "));
        Ok(())
    })
    .await
}

async fn helm(namespace: &Namespace, line: &str) -> Result<()> {
    let line = format!("helm --namespace {} {line}", namespace.name);
    process::run(&line).await.map(drop)
}
