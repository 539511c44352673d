//! Reads a cluster and its objects: one list for each kind, all of them concurrently.

use futures::future::try_join_all;
use futures::try_join;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, NamespaceResourceScope, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};
use livecluster_api::names::{self, role_name};
use livecluster_api::{ClusterName, LiveCluster, MountSource};
use media_config::Role;

use super::gateways::{ObservedGateways, gateways};
use super::live_object::{LiveObject, is_controlled_by};
use super::observed::Observed;
use super::references::{MissingReference, ReferenceKind, References};
use crate::desired::child::ChildKind;
use crate::desired::gateway_kind::ServedGatewayApi;
use crate::k8s::call_error::CallError;

/// Reads a cluster as it is stored. Returns `None` when it is deleted.
///
/// # Errors
/// See [`CallError`].
pub async fn cluster(
    client: &Client,
    cluster: &ClusterName,
) -> Result<Option<DynamicObject>, CallError> {
    let resource = ApiResource::erase::<LiveCluster>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &cluster.namespace, &resource);
    api.get_opt(&cluster.name)
        .await
        .map_err(CallError::on("get", "LiveCluster", &cluster.name))
}

/// Lists all objects with the cluster's labels, and derives the observed state from those that it controls. `served` are the kinds
/// of the Gateway API.
///
/// # Errors
/// See [`CallError`].
pub async fn children(
    client: &Client,
    cluster: &LiveCluster,
    served: ServedGatewayApi,
) -> Result<(Vec<LiveObject>, Observed), CallError> {
    let routes = served.routes().into_iter().map(ChildKind::Route);
    let kinds = ChildKind::ALL.into_iter().chain(routes);
    let lists = try_join_all(kinds.map(|kind| list(client, cluster, kind)));
    let gateways = gateways(client, cluster, &served);
    let (lists, pods, gateways) = try_join!(lists, pods(client, cluster), gateways)?;
    let live: Vec<LiveObject> = lists.into_iter().flatten().collect();
    let mut observed = Observed {
        at: Timestamp::now(),
        pods,
        gateways: ObservedGateways {
            served,
            gateways,
            ..ObservedGateways::default()
        },
        ..Observed::default()
    };
    for found in &live {
        if is_controlled_by(&found.object, cluster) {
            observed.update(found.kind, &found.object);
        }
    }
    Ok((live, observed))
}

async fn list(
    client: &Client,
    cluster: &LiveCluster,
    kind: ChildKind,
) -> Result<Vec<LiveObject>, CallError> {
    let resource = kind.resource();
    let namespace = cluster.namespace().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let params = ListParams::default().labels(&names::children_selector(cluster));
    let list = api.list(&params).await;
    let list = match list.map_err(CallError::on("list", &resource.kind, "")) {
        Ok(list) => list.items,
        // The kind is not served any more. The next discovery finds that out, too.
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error),
    };
    let live = list.into_iter().map(|object| LiveObject { kind, object });
    Ok(live.collect())
}

async fn pods(client: &Client, cluster: &LiveCluster) -> Result<Vec<Pod>, CallError> {
    let namespace = cluster.namespace().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let params = ListParams::default().labels(&names::children_selector(cluster));
    let list = api
        .list(&params)
        .await
        .map_err(CallError::on("list", "Pod", ""))?;
    Ok(list.items)
}

/// Looks up the objects that the spec refers to. Of a Secret only the metadata is requested.
///
/// # Errors
/// See [`CallError`].
pub async fn references(
    client: &Client,
    cluster: &LiveCluster,
    check_secrets: bool,
) -> Result<References, CallError> {
    let mut references = References::default();
    let secrets = secrets(cluster);
    if !check_secrets {
        references.secrets_unchecked = !secrets.is_empty();
    }
    for reference in secrets.into_iter().filter(|_| check_secrets) {
        let missing = unless_found::<Secret>(client, cluster, reference).await?;
        references.missing.extend(missing);
    }
    for role in [Role::Origin, Role::Edge] {
        if let Some(name) = &cluster.spec.pods(role).service_account_name {
            let reference = MissingReference {
                kind: ReferenceKind::ServiceAccount,
                name: name.clone(),
                field: format!("spec.{}s.serviceAccountName", role_name(role)),
            };
            let missing = unless_found::<ServiceAccount>(client, cluster, reference).await?;
            references.missing.extend(missing);
        }
    }
    Ok(references)
}

/// Returns the references to Secrets.
fn secrets(cluster: &LiveCluster) -> Vec<MissingReference> {
    let reference = |name: &String, field: String| MissingReference {
        kind: ReferenceKind::Secret,
        name: name.clone(),
        field,
    };
    let mut references: Vec<MissingReference> = cluster
        .spec
        .image_pull_secrets
        .iter()
        .enumerate()
        .map(|(index, secret)| reference(&secret.name, format!("spec.imagePullSecrets[{index}]")))
        .collect();
    for mount in cluster.spec.mounts() {
        if let MountSource::Secret(name) = &mount.source {
            references.push(reference(name, mount.field));
        }
    }
    references
}

/// Returns `reference` unless its object exists.
async fn unless_found<K>(
    client: &Client,
    cluster: &LiveCluster,
    reference: MissingReference,
) -> Result<Option<MissingReference>, CallError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    PartialObjectMeta<K>: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let namespace = cluster.namespace().unwrap_or_default();
    let api: Api<PartialObjectMeta<K>> = Api::namespaced(client.clone(), &namespace);
    let MissingReference { kind, name, .. } = &reference;
    let found = api
        .get_opt(name)
        .await
        .map_err(CallError::on("get", kind.name(), name))?;
    Ok(found.is_none().then_some(reference))
}
