//! A LiveCluster at which nothing changes costs Kubernetes nothing: no write in three minutes, although a stream is watched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::{Api, ResourceExt};
use livecluster_api::LiveCluster;
use serde_json::json;

use crate::cluster::Namespace;
use crate::process::beginning;
use crate::wait::holds;

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    namespace.apply_ready("demo", json!({})).await?;
    let edge = namespace.reach_role("demo", "edge").await?;
    let encoder = namespace.published(&edge.rtmp(STREAM)).await?;
    let viewer = namespace.watched(&edge.http(STREAM)).await?;
    let expected = "one stream and one viewer in the status";
    let counted = namespace.until_status("demo", expected, Duration::from_secs(60), |status| {
        let streams = status.streams.as_ref();
        streams.is_some_and(|it| (it.active, it.viewers) == (Some(1), Some(1)))
    });
    counted.await?;

    let before = versions(&namespace).await?;
    let start = Timestamp::now();
    namespace.say("three minutes without a change");
    holds("the stream goes on", Duration::from_secs(180), || async {
        viewer.assert_connected()?;
        encoder.assert_undisturbed()
    })
    .await?;
    let after = versions(&namespace).await?;
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let version = |name| (before.get(name), after.get(name));
    let written: Vec<_> = names
        .into_iter()
        .map(|name| (name, version(name)))
        .filter(|(_, (before, after))| before != after)
        .collect();
    ensure!(written.is_empty(), "resource versions changed: {written:?}");
    if namespace.may_break("what the API server's audit log holds") {
        assert_no_write(&namespace, start).await?;
    }
    viewer.assert_uninterrupted(&encoder)
}

/// The resource version of the LiveCluster and of each of its objects.
async fn versions(namespace: &Namespace) -> Result<BTreeMap<String, String>> {
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
        let client = namespace.cluster.client.clone();
        let api = Api::<DynamicObject>::namespaced_with(client, &namespace.name, &resource);
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

/// Fails when the API server's audit log holds a write of the operator in this namespace.
async fn assert_no_write(namespace: &Namespace, since: Timestamp) -> Result<()> {
    let requests = namespace.cluster.requests(since).await?;
    ensure!(
        !requests.is_empty(),
        "the audit log does not name the operator"
    );
    let own = requests
        .iter()
        .filter(|it| it.object_ref.namespace == namespace.name);
    let writes = own.filter(|it| it.writes());
    let writes: Vec<_> = writes.map(|it| format!("{} {}", it.verb, it.uri)).collect();
    let (count, shown) = (writes.len(), beginning(&writes.join(", ")));
    ensure!(
        count == 0,
        "by the audit log the operator wrote {count} times: {shown}"
    );
    Ok(())
}

const STREAM: &str = "live/livestream";
