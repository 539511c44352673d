//! Users change the operator's objects by hand: deleted objects and owned fields come back, fields that it does not own stay.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use serde_json::json;

use crate::cluster::Namespace;
use crate::wait::{DEADLINE, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    namespace.apply_ready("demo", json!({})).await?;
    let list = "get configmap -l app.kubernetes.io/component=edge -o name";
    let config = namespace.kubectl(list).await?;
    delete_children(&namespace, list, config.trim()).await?;
    edit_fields(&namespace, config.trim()).await?;
    renumber_port(&namespace).await?;
    namespace.ready("demo").await?;
    Ok(())
}

async fn delete_children(namespace: &Namespace, list: &str, config: &str) -> Result<()> {
    namespace.say("deleted children come back");
    let before: Service = namespace.get("demo-edge").await?;
    for object in [
        "service/demo-edge",
        config,
        "poddisruptionbudget/demo-edge",
        "deployment/demo-origin",
    ] {
        let line = format!("delete {object} --cascade=background");
        namespace.kubectl(&line).await?;
    }
    eventually("all of them again", DEADLINE, || async {
        let again: Service = namespace.get("demo-edge").await?;
        let new = again.metadata.uid != before.metadata.uid;
        ensure!(new, "Service demo-edge is still the old one");
        let again = namespace.kubectl(list).await?;
        ensure!(again.trim() == config, "{again}, not {config}");
        namespace.get::<PodDisruptionBudget>("demo-edge").await?;
        namespace.get::<Deployment>("demo-origin").await?;
        Ok(())
    })
    .await?;
    namespace.ready("demo").await?;
    Ok(())
}

async fn edit_fields(namespace: &Namespace, config: &str) -> Result<()> {
    namespace.say("owned fields come back, others stay");
    let ports = json!([{"name": "http", "port": 8080, "targetPort": 81}]);
    let service = json!({"metadata": {"annotations": {"mine": "kept"}}, "spec": {"ports": ports}});
    namespace
        .kubectl_patch("service/demo-edge", &service)
        .await?;
    let broken = json!({"data": {"config.yaml": "broken"}});
    let patched = namespace.kubectl_patch(config, &broken).await;
    ensure!(patched.is_err(), "{config} can be changed");
    namespace
        .kubectl("scale deployment demo-edge --replicas=5")
        .await?;
    let expected = "the edits of owned fields are undone";
    eventually(expected, DEADLINE, || assert_undone(namespace)).await
}

async fn renumber_port(namespace: &Namespace) -> Result<()> {
    namespace.say("a port under another number stands in the way of ours, and is removed");
    namespace
        .kubectl(r#"patch service demo-edge --type=json --patch=[{"op":"replace","path":"/spec/ports/1/port","value":8081}]"#)
        .await?;
    eventually("the ports of the spec", DEADLINE, || async {
        assert_ports(&namespace.get("demo-edge").await?)
    })
    .await
}

async fn assert_undone(namespace: &Namespace) -> Result<()> {
    let service: Service = namespace.get("demo-edge").await?;
    assert_ports(&service)?;
    let annotations = service.annotations();
    ensure!(
        annotations.contains_key("mine"),
        "annotations: {annotations:?}"
    );
    let edges: Deployment = namespace.get("demo-edge").await?;
    let replicas = edges.spec.and_then(|spec| spec.replicas);
    ensure!(replicas == Some(2), "demo-edge has replicas {replicas:?}");
    Ok(())
}

/// Fails unless the edges' Service has the ports of the spec, each to the container port of its name.
fn assert_ports(service: &Service) -> Result<()> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref());
    let ports = ports.unwrap_or_default();
    let expected = [("rtmp", 1935), ("http", 8080)];
    let are_expected = ports.len() == expected.len()
        && expected.iter().all(|(name, number)| {
            let target = Some(IntOrString::String((*name).to_owned()));
            let is_it = |port: &ServicePort| {
                port.name.as_deref() == Some(*name)
                    && port.port == *number
                    && port.target_port == target
            };
            ports.iter().any(is_it)
        });
    ensure!(are_expected, "ports of Service demo-edge: {ports:?}");
    Ok(())
}
