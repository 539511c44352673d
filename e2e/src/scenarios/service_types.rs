//! A Service changes its type in place, and the status says where the cluster is reached now.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Service, ServiceStatus};
use kube::api::{Patch, PatchParams};
use livecluster_api::LiveCluster;
use serde_json::json;

use crate::cluster::{Stage, eventually};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    stage.apply_ready("demo", json!({})).await?;
    let made: Service = stage.get("demo-edge").await?;
    url(
        &stage,
        &format!("http://demo-edge.{}.svc:8080/", stage.namespace),
    )
    .await?;

    stage.say("NodePort: reached from outside");
    service(&stage, json!({"type": "NodePort"})).await?;
    let reach = eventually("node ports", LIMIT, || stage.reach_service("demo-edge")).await?;
    let port = reach.http.rsplit_once(':').context("a port")?.1;
    url(&stage, &format!(":{port}/")).await?;
    let encoder = stage.published(&reach.rtmp("live/livestream")).await?;
    let watching = stage.watched(&reach.flv("live/livestream")).await?;

    stage.say("LoadBalancer, with a port and a host name of its own");
    let balanced = json!({"type": "LoadBalancer", "ports": {"http": 80}});
    service(&stage, balanced).await?;
    is_balanced(&stage).await?;
    give_address(&stage, "203.0.113.7").await?;
    url(&stage, "http://203.0.113.7:80/").await?;

    stage.say("and ClusterIP again");
    service(&stage, json!({"type": "ClusterIP", "ports": null})).await?;
    url(
        &stage,
        &format!("http://demo-edge.{}.svc:8080/", stage.namespace),
    )
    .await?;
    let last: Service = stage.get("demo-edge").await?;
    ensure!(
        last.metadata.uid == made.metadata.uid,
        "expected Service demo-edge to be changed in place, seen one that was made anew"
    );
    let left = last.spec.and_then(|spec| spec.ports).unwrap_or_default();
    ensure!(
        left.iter()
            .all(|port| port.node_port.is_none_or(|port| port == 0)),
        "node ports are left: {left:?}"
    );
    watching.is_still_there()?;
    encoder.never_noticed()
}

/// Waits until the Service is what was asked for.
async fn is_balanced(stage: &Stage) -> anyhow::Result<()> {
    eventually(
        "a Service of type LoadBalancer with port 80",
        LIMIT,
        || async {
            let spec = stage
                .get::<Service>("demo-edge")
                .await?
                .spec
                .context("no spec")?;
            let ports: Vec<i32> = spec
                .ports
                .unwrap_or_default()
                .iter()
                .map(|it| it.port)
                .collect();
            ensure!(
                spec.type_.as_deref() == Some("LoadBalancer") && ports == [1935, 80],
                "type {:?}, ports {ports:?}",
                spec.type_
            );
            Ok(())
        },
    )
    .await
}

async fn service(stage: &Stage, service: serde_json::Value) -> anyhow::Result<LiveCluster> {
    stage
        .edit("demo", json!({"edges": {"service": service}}))
        .await
}

/// Does what a cloud does: gives the Service an address.
async fn give_address(stage: &Stage, address: &str) -> anyhow::Result<()> {
    let ingress = LoadBalancerIngress {
        ip: Some(address.to_owned()),
        ..LoadBalancerIngress::default()
    };
    let status = ServiceStatus {
        load_balancer: Some(LoadBalancerStatus {
            ingress: Some(vec![ingress]),
        }),
        ..ServiceStatus::default()
    };
    let patch = Patch::Merge(json!({"status": status}));
    stage
        .api::<Service>()
        .patch_status("demo-edge", &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// Waits until the status names a URL for viewers with this in it.
async fn url(stage: &Stage, part: &str) -> anyhow::Result<()> {
    let expected = format!("a play URL with {part} in the status");
    eventually(&expected, LIMIT, || async {
        let cluster: LiveCluster = stage.get("demo").await?;
        let play = cluster.status.context("no status")?.endpoints.play;
        let urls: Vec<&str> = play.iter().map(|endpoint| endpoint.url.as_str()).collect();
        ensure!(urls.iter().any(|url| url.contains(part)), "{urls:?}");
        Ok(())
    })
    .await
}

const LIMIT: Duration = Duration::from_secs(20);
