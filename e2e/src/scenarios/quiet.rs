//! A cluster at which nothing changes costs Kubernetes nothing: no write in three minutes, although a stream is watched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams};
use kube::core::ApiResource;
use livecluster_api::LiveCluster;
use serde_json::json;

use crate::cluster::{Stage, beginning, eventually, holds};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    stage.apply_ready("demo", json!({})).await?;
    let edge = stage.reach_role("demo", "edge").await?;
    let encoder = stage.published(&edge.rtmp(STREAM)).await?;
    let viewer = stage.watched(&edge.flv(STREAM)).await?;
    eventually(
        "one stream and one viewer in the status",
        Duration::from_secs(60),
        || async {
            let status = stage
                .get::<LiveCluster>("demo")
                .await?
                .status
                .context("no status")?;
            let streams = status.streams.context("nothing about streams")?;
            ensure!(
                (streams.active, streams.viewers) == (Some(1), Some(1)),
                "{streams:?}"
            );
            Ok(())
        },
    )
    .await?;

    let before = versions(&stage).await?;
    let began = Timestamp::now();
    stage.say("three minutes in which nothing happens");
    holds("everybody watches", Duration::from_secs(180), || async {
        viewer.is_still_there()?;
        encoder.never_noticed()
    })
    .await?;
    let after = versions(&stage).await?;
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let version = |versions: &BTreeMap<String, String>, name| {
        versions.get(name).map_or("none".to_owned(), String::clone)
    };
    let written: Vec<String> = names
        .into_iter()
        .map(|name| (name, version(&before, name), version(&after, name)))
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| format!("{name} from {before} to {after}"))
        .collect();
    ensure!(
        written.is_empty(),
        "expected no write; these resource versions changed: {}",
        written.join(", ")
    );
    if stage.may_break("what the API server's audit log says") {
        nothing_was_asked(&stage, began).await?;
    }
    viewer.sightings().has_no_gap()
}

/// The resource version of the LiveCluster and of each of its objects.
async fn versions(stage: &Stage) -> anyhow::Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    for resource in [
        ApiResource::erase::<LiveCluster>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<Deployment>(&()),
    ] {
        let client = stage.cluster.client.clone();
        let api = kube::Api::<DynamicObject>::namespaced_with(client, &stage.namespace, &resource);
        for object in api.list(&ListParams::default()).await? {
            if resource.kind != "LiveCluster" && object.owner_references().is_empty() {
                continue;
            }
            let name = format!("{}/{}", resource.kind, object.name_any());
            versions.insert(name, object.resource_version().context("no version")?);
        }
    }
    Ok(versions)
}

/// The API server's own log: no write in this namespace.
async fn nothing_was_asked(stage: &Stage, since: Timestamp) -> anyhow::Result<()> {
    let requests = stage.cluster.requests().await?;
    let writes: Vec<String> = requests
        .iter()
        .filter(|request| request.writes() && request.object_ref.namespace == stage.namespace)
        .filter(|request| request.request_received_timestamp.0 > since)
        .map(|request| format!("{} {}", request.verb, request.uri))
        .collect();
    ensure!(
        writes.is_empty(),
        "expected no write; by the audit log the operator wrote {} times: {}",
        writes.len(),
        beginning(&writes.join(", "))
    );
    ensure!(
        !requests.is_empty(),
        "the audit log knows nothing of the operator"
    );
    Ok(())
}

const STREAM: &str = "live/livestream";
