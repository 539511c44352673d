//! Somebody else's object stands where the operator would put its own: it stays as it is, and the status says so.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use livecluster_api::LiveCluster;
use serde_json::json;

use crate::cluster::{Stage, conditions, describe, eventually, holds};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    stage.kubectl_apply(FOREIGN).await?;
    let before: Deployment = stage.get("demo-edge").await?;
    stage.apply("demo", json!({})).await?;
    eventually(
        "Ready=False because of NameConflict",
        Duration::from_secs(20),
        || async {
            let cluster: LiveCluster = stage.get("demo").await?;
            let found = conditions(&cluster);
            let ready = found.iter().find(|it| it.type_ == "Ready");
            ensure!(
                ready.is_some_and(|it| it.status == "False"
                    && it.reason == "NameConflict"
                    && it.message.contains("demo-edge")),
                "{}",
                describe(found)
            );
            Ok(())
        },
    )
    .await?;
    let same = |before: &Deployment, now: &Deployment| {
        before.spec == now.spec
            && before.labels() == now.labels()
            && !managers(now)
                .iter()
                .any(|manager| manager.starts_with("livecluster-operator"))
    };
    holds(
        "the foreign Deployment is untouched",
        Duration::from_secs(10),
        || async {
            let now: Deployment = stage.get("demo-edge").await?;
            ensure!(
                same(&before, &now) && now.owner_references().is_empty(),
                "labels {:?} instead of {:?}, replicas {:?} instead of {:?}, owners {:?}, fields of {:?}",
                now.labels(),
                before.labels(),
                replicas(&now),
                replicas(&before),
                now.owner_references(),
                managers(&now)
            );
            Ok(())
        },
    )
    .await?;

    stage.say("it goes, and the cluster comes");
    stage
        .kubectl(&["delete", "deployment", "demo-edge"])
        .await?;
    stage
        .ready("demo")
        .await
        .context("after the foreign Deployment is gone")?;
    Ok(())
}

/// Who has written any of its fields.
fn managers(deployment: &Deployment) -> Vec<&str> {
    let fields = deployment.managed_fields().iter();
    fields.filter_map(|it| it.manager.as_deref()).collect()
}

fn replicas(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref()?.replicas
}

const FOREIGN: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: demo-edge, labels: {whose: mine}}
spec:
  replicas: 0
  selector: {matchLabels: {whose: mine}}
  template:
    metadata: {labels: {whose: mine}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: nothing
        image: livecluster.dev/nothing:none
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
";
