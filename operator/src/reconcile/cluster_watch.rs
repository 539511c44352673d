//! The watch of LiveClusters: which of their changes cause a reconciliation.

use std::future::ready;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use livecluster_api::LiveCluster;

use super::controller::{ControllerContext, watch_config};
use super::reconciler::Reconciler;

/// A watched cluster: its metadata only. The spec is read by the reconciliation, so that a spec that does not parse
/// affects no other cluster.
pub(super) type WatchedCluster = PartialObjectMeta<LiveCluster>;

/// Returns the clusters that have changed, deleted ones too, and a store of those that exist. Changes that are writes of the
/// operator itself are left out.
pub(super) fn changed_clusters(
    context: Arc<ControllerContext>,
    api: Api<WatchedCluster>,
) -> (
    impl Stream<Item = watcher::Result<WatchedCluster>> + Send,
    Store<WatchedCluster>,
) {
    let (store, writer) = reflector::store();
    let events = reflector::reflector(writer, watcher(api, watch_config()));
    let changed = events.filter_map(move |event| {
        let changed = event.map(|event| changed(event, &context.reconciler));
        ready(changed.transpose())
    });
    (changed, store)
}

/// Returns the cluster of an event that is to be reconciled, or whose state is to be dropped.
pub(super) fn changed(
    event: Event<WatchedCluster>,
    reconciler: &Reconciler,
) -> Option<WatchedCluster> {
    match event {
        Event::Apply(cluster) if reconciler.is_own_write(&cluster.metadata) => None,
        // A deleted cluster is not in the store any more: the controller then drops its state.
        Event::Apply(cluster) | Event::InitApply(cluster) | Event::Delete(cluster) => Some(cluster),
        Event::Init | Event::InitDone => None,
    }
}
