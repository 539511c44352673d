//! Watches the routes of the Gateway API while the Kubernetes cluster serves them. A Gateway's controller writes into their status
//! whether it accepts them.

use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use kube::core::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use livecluster_api::{ClusterName, names};
use tokio::sync::mpsc;

use super::cluster_watch::watch_config;
use super::controller::ControllerContext;
use crate::desired::gateway_kind::GatewayResource;

/// Queues the clusters of one namespace, or of all, whose routes change. Never returns.
pub async fn run(
    context: Arc<ControllerContext>,
    namespace: Option<String>,
    changed: mpsc::Sender<ClusterName>,
) {
    let gateway_api = &context.reconciler.gateway_api;
    let mut served = gateway_api.subscribe();
    loop {
        let routes = served.borrow_and_update().routes();
        let watches = routes.into_iter().map(|route| {
            let client = context.reconciler.client.clone();
            watch(client, namespace.as_deref(), route)
        });
        let mut watches = stream::select_all(watches);
        loop {
            tokio::select! {
                // The sender is a part of the context.
                _ = served.changed() => break,
                Some(event) = watches.next() => match event {
                    // The next reconciliation reads the routes anyway when the queue is full.
                    Ok(route) => drop(cluster_of(&route).map(|cluster| changed.try_send(cluster))),
                    Err(error) => {
                        tracing::warn!(%error, "watch of routes failed");
                        // The kind may have been removed.
                        gateway_api.expire().await;
                    }
                },
            }
        }
    }
}

fn watch(
    client: Client,
    namespace: Option<&str>,
    route: GatewayResource,
) -> impl Stream<Item = watcher::Result<DynamicObject>> + Send + Unpin {
    let resource = route.resource();
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let config = watch_config().labels(names::MANAGED);
    let watch = watcher(api, config).default_backoff();
    Box::pin(watch.touched_objects())
}

/// Returns the cluster of a route.
fn cluster_of(route: &DynamicObject) -> Option<ClusterName> {
    let name = route.labels().get(names::INSTANCE)?;
    Some(ClusterName::new(route.namespace()?, name))
}
