//! A Service changes its type in place, and the URLs of the status follow.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Namespace, STREAM};
use crate::wait::{DEADLINE, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    namespace.apply_ready("demo", json!({})).await?;
    let created: Service = namespace.get("demo-edge").await?;
    let internal = format!("http://demo-edge.{}.svc:8080/", namespace.name);
    assert_url(&namespace, &internal).await?;

    namespace.say("NodePort: reached from outside");
    edit(&namespace, json!({"type": "NodePort"})).await?;
    let reach = || namespace.reach_service("demo-edge");
    let reach = eventually("node ports", DEADLINE, reach).await?;
    let port = reach.http.rsplit_once(':').context("a port")?.1;
    assert_url(&namespace, &format!(":{port}/")).await?;
    let stream = namespace.watched_stream(STREAM, &reach, &reach).await?;

    namespace.say("LoadBalancer, with a port of its own");
    let balanced = json!({"type": "LoadBalancer", "ports": {"http": 80}});
    edit(&namespace, balanced).await?;
    let expected = "a Service of type LoadBalancer with port 80";
    eventually(expected, DEADLINE, || async {
        let service: Service = namespace.get("demo-edge").await?;
        let spec = service.spec.context("no spec")?;
        let ports = spec.ports.unwrap_or_default();
        let ports: Vec<i32> = ports.iter().map(|it| it.port).collect();
        let kind = spec.type_.unwrap_or_default();
        let changed = kind == "LoadBalancer" && ports == [1935, 80];
        ensure!(changed, "type {kind}, ports {ports:?}");
        Ok(())
    })
    .await?;
    // As a cloud does.
    let address = json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}});
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(address));
    let services = namespace.api::<Service>();
    services
        .patch_status("demo-edge", &parameters, &patch)
        .await?;
    assert_url(&namespace, "http://203.0.113.7:80/").await?;

    namespace.say("and ClusterIP again");
    edit(&namespace, json!({"type": "ClusterIP", "ports": null})).await?;
    assert_url(&namespace, &internal).await?;
    let last: Service = namespace.get("demo-edge").await?;
    let same = last.metadata.uid == created.metadata.uid;
    ensure!(
        same,
        "Service demo-edge was created anew, not changed in place"
    );
    let ports = last.spec.and_then(|spec| spec.ports).unwrap_or_default();
    let node_port = |port: Option<i32>| port.is_some_and(|port| port != 0);
    let left = ports.iter().any(|port| node_port(port.node_port));
    ensure!(!left, "node ports are left: {ports:?}");
    stream.assert_connected()
}

async fn edit(namespace: &Namespace, service: Value) -> Result<()> {
    let spec = json!({"edges": {"service": service}});
    namespace.edit("demo", spec).await.map(drop)
}

/// Waits until the status names a URL for viewers that contains this text.
async fn assert_url(namespace: &Namespace, part: &str) -> Result<()> {
    let expected = format!("a play URL with {part} in the status");
    let named = namespace.until_status("demo", &expected, DEADLINE, |status| {
        let urls = &status.endpoints;
        let mut play = urls.play.iter().chain(&urls.in_cluster.play);
        play.any(|endpoint| endpoint.url.contains(part))
    });
    named.await.map(drop)
}
