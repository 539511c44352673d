//! People change the operator's objects by hand: what the operator owns comes back, what it does not own stays.

use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use serde_json::json;

use crate::cluster::{Stage, eventually};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    stage.apply_ready("demo", json!({})).await?;

    stage.say("deleted children come back");
    let before: Service = stage.get("demo-edge").await?;
    for object in [
        "service/demo-edge",
        "configmap/demo-edge-config",
        "poddisruptionbudget/demo-edge",
        "deployment/demo-origin",
    ] {
        stage
            .kubectl(&["delete", object, "--cascade=background"])
            .await?;
    }
    eventually("all of them again", LIMIT, || async {
        let again: Service = stage.get("demo-edge").await?;
        ensure!(
            again.metadata.uid != before.metadata.uid,
            "Service demo-edge is still the old one"
        );
        stage.get::<ConfigMap>("demo-edge-config").await?;
        stage.get::<PodDisruptionBudget>("demo-edge").await?;
        stage.get::<Deployment>("demo-origin").await?;
        Ok(())
    })
    .await?;
    stage.ready("demo").await?;

    stage.say("what the operator owns is put back, what it does not own is left");
    let edit = r#"{"metadata": {"annotations": {"mine": "kept"}}, "spec": {"ports": [{"name": "http", "port": 8080, "targetPort": 81}]}}"#;
    stage
        .kubectl(&["patch", "service", "demo-edge", "-p", edit])
        .await?;
    stage
        .kubectl(&[
            "patch",
            "configmap",
            "demo-edge-config",
            "-p",
            r#"{"data": {"config.yaml": "broken"}}"#,
        ])
        .await?;
    stage
        .kubectl(&["scale", "deployment", "demo-edge", "--replicas=5"])
        .await?;
    eventually("the edits of owned fields are undone", LIMIT, || async {
        let service: Service = stage.get("demo-edge").await?;
        let ports = service
            .spec
            .as_ref()
            .and_then(|spec| spec.ports.clone())
            .unwrap_or_default();
        let shown = serde_json::to_string(&ports)?;
        ensure!(
            !shown.contains("81,") && !shown.contains("81}"),
            "ports of Service demo-edge: {shown}"
        );
        ensure!(
            service.annotations().get("mine").is_some(),
            "an annotation that is not the operator's is gone: {:?} are left",
            service.annotations()
        );
        let config: ConfigMap = stage.get("demo-edge-config").await?;
        let text = config
            .data
            .unwrap_or_default()
            .remove("config.yaml")
            .unwrap_or_default();
        ensure!(
            text.contains("role: edge"),
            "demo-edge-config, config.yaml: {text}"
        );
        let edges: Deployment = stage.get("demo-edge").await?;
        let replicas = edges.spec.and_then(|spec| spec.replicas);
        ensure!(
            replicas == Some(2),
            "Deployment demo-edge has replicas {replicas:?}, not 2"
        );
        Ok(())
    })
    .await?;
    stage.ready("demo").await?;
    Ok(())
}

const LIMIT: Duration = Duration::from_secs(30);
