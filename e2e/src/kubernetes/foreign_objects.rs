//! Another owner's object has the name of one that the operator would create: it is left alone, and the status names it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use livecluster_api::LiveCluster;
use serde_json::json;

use crate::cluster::{Namespace, condition, describe};
use crate::wait::{eventually, holds};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    namespace.kubectl_apply(FOREIGN).await?;
    let before: Deployment = namespace.get("demo-edge").await?;
    namespace.apply("demo", json!({})).await?;
    let expected = "Ready=False because of NameConflict with demo-edge";
    eventually(expected, Duration::from_secs(20), || async {
        let cluster: LiveCluster = namespace.get("demo").await?;
        let named = condition(&cluster, "Ready").is_some_and(|ready| {
            let status = (ready.status.as_str(), ready.reason.as_str());
            status == ("False", "NameConflict") && ready.message.contains("demo-edge")
        });
        ensure!(named, "{}", describe(&cluster));
        Ok(())
    })
    .await?;
    let untouched = "the foreign Deployment is untouched";
    holds(untouched, Duration::from_secs(10), || async {
        let now: Deployment = namespace.get("demo-edge").await?;
        assert_untouched(&before, &now)
    })
    .await?;

    namespace.say("it is deleted, and the LiveCluster becomes ready");
    namespace.kubectl("delete deployment demo-edge").await?;
    let ready = namespace.ready("demo").await;
    ready.context("after the foreign Deployment is deleted")?;
    Ok(())
}

fn assert_untouched(before: &Deployment, now: &Deployment) -> Result<()> {
    let (spec, labels, owners) = (&now.spec, now.labels(), now.owner_references());
    ensure!(
        before.spec == *spec,
        "spec {spec:?} instead of {:?}",
        before.spec
    );
    ensure!(before.labels() == labels, "labels {labels:?}");
    ensure!(owners.is_empty(), "owners {owners:?}");
    let fields = now.managed_fields().iter();
    let managers: Vec<&str> = fields.filter_map(|it| it.manager.as_deref()).collect();
    let operator = |manager: &&str| manager.starts_with("livecluster-operator");
    ensure!(!managers.iter().any(operator), "fields of {managers:?}");
    Ok(())
}

const FOREIGN: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: demo-edge, labels: {owner: another}}
spec:
  replicas: 0
  selector: {matchLabels: {owner: another}}
  template:
    metadata: {labels: {owner: another}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: nothing
        image: livecluster.dev/nothing:none
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
";
