//! The watch of LiveClusters: which of their changes cause a reconciliation.

use std::future::ready;

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use livecluster_api::LiveCluster;

/// Seconds after which a watch is renewed: load balancers drop idle connections without notice.
const WATCH_SECONDS: u32 = 200;

/// A watched cluster: its metadata only. The spec is read by the reconciliation, so that a spec that does not parse
/// affects no other cluster.
pub(super) type WatchedCluster = PartialObjectMeta<LiveCluster>;

/// Returns the clusters that have changed, deleted ones too, and a store of those that exist. Changes that are writes of the
/// operator itself are left out.
pub(super) fn changed_clusters(
    api: Api<WatchedCluster>,
    is_own_write: impl Fn(&ObjectMeta) -> bool + Send,
) -> (
    impl Stream<Item = watcher::Result<WatchedCluster>> + Send,
    Store<WatchedCluster>,
) {
    let (store, writer) = reflector::store();
    let events = reflector::reflector(writer, watcher(api, watch_config()));
    let changed = events.filter_map(move |event| {
        let changed = event.map(|event| changed(event, &is_own_write));
        ready(changed.transpose())
    });
    (changed, store)
}

/// Returns the cluster of an event that is to be reconciled, or whose state is to be dropped.
pub(super) fn changed(
    event: Event<WatchedCluster>,
    is_own_write: impl Fn(&ObjectMeta) -> bool,
) -> Option<WatchedCluster> {
    match event {
        Event::Apply(cluster) if is_own_write(&cluster.metadata) => None,
        // A deleted cluster is not in the store any more: the controller then drops its state.
        Event::Apply(cluster) | Event::InitApply(cluster) | Event::Delete(cluster) => Some(cluster),
        Event::Init | Event::InitDone => None,
    }
}

/// Returns the configuration of all watches.
pub(super) fn watch_config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}
