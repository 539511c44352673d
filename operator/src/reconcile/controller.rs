//! The controller: which changes cause which reconciliation, and when a failed one is retried.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::controller::{Action, Config};
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, controller, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use livecluster_api::ClusterName;
use livecluster_api::names;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::apply::{ApplyError, RECONCILIATION_LIMIT};
use super::cluster_watch::{WatchedCluster, changed_clusters, watch_config};
use super::failures::retry_interval;
use super::reconciler::Reconciler;
use crate::monitoring::watchdog::Watchdog;
use crate::status::transitions;

/// Concurrent reconciliations, those included that wait for [`MIN_INTERVAL`].
const CONCURRENCY: u16 = 32;
/// Time between two reconciliations of one cluster: a rollout causes dozens of changes at a time. A debounce would batch
/// them as well, but while changes keep coming it never lets a reconciliation begin.
const MIN_INTERVAL: Duration = Duration::from_millis(500);
/// Time between two heartbeats of the watches.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Time without a heartbeat after which the controller is stalled. After failures the watches pause for 30 seconds.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(120);

/// The shared state of all controllers.
pub struct ControllerContext {
    /// Reconciles clusters.
    pub reconciler: Reconciler,
    /// Receives the heartbeats.
    pub watchdog: Arc<Watchdog>,
    /// Start of each cluster's last reconciliation.
    started: Mutex<HashMap<ClusterName, Instant>>,
}

impl ControllerContext {
    /// Returns a context without failures.
    pub fn new(reconciler: Reconciler, watchdog: Arc<Watchdog>) -> Self {
        Self {
            reconciler,
            watchdog,
            started: Mutex::default(),
        }
    }

    /// Waits until [`MIN_INTERVAL`] has passed since the start of the cluster's last reconciliation.
    async fn wait_for_turn(&self, cluster: &ClusterName) {
        let started = self.started.lock().get(cluster).copied();
        if let Some(started) = started {
            tokio::time::sleep_until(started + MIN_INTERVAL).await;
        }
        self.started.lock().insert(cluster.clone(), Instant::now());
    }

    fn forget(&self, cluster: &ClusterName) {
        self.reconciler.forget(cluster);
        self.started.lock().remove(cluster);
    }
}

/// Reconciles the clusters of one namespace, or of all, until `stop`. Reconciliations in progress are completed.
///
/// `changed` yields the clusters whose reported streams have changed.
pub async fn run(
    context: Arc<ControllerContext>,
    namespace: Option<String>,
    changed: mpsc::Receiver<ClusterName>,
    stop: CancellationToken,
) {
    let client = context.reconciler.client.clone();
    let namespace = namespace.as_deref();
    let writer = context.clone();
    let is_own_write = move |changed: &ObjectMeta| writer.reconciler.is_own_write(changed);
    let (clusters, store) = changed_clusters(api(&client, namespace), is_own_write);
    let ours = watch_config().labels(names::MANAGED);
    let name = match namespace {
        Some(namespace) => format!("the controller of namespace {namespace}"),
        None => "the controller".to_owned(),
    };
    context.watchdog.heartbeat(&name, HEARTBEAT_LIMIT);
    let heartbeats = heartbeats(context.watchdog.clone(), name.clone());
    let stopped = stop.clone().cancelled_owned();
    Controller::for_stream(clusters, store)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .owns(api::<Deployment>(&client, namespace), ours.clone())
        .owns(api::<Service>(&client, namespace), ours.clone())
        .owns(api::<ConfigMap>(&client, namespace), ours.clone())
        .owns(api::<ServiceAccount>(&client, namespace), ours.clone())
        .owns(api::<PodDisruptionBudget>(&client, namespace), ours.clone())
        .owns(api::<NetworkPolicy>(&client, namespace), ours.clone())
        .watches(
            api::<PartialObjectMeta<Pod>>(&client, namespace),
            ours,
            cluster_of,
        )
        .reconcile_on(stream::select(references(changed), heartbeats))
        .graceful_shutdown_on(stopped)
        .run(reconcile, retry, context.clone())
        .for_each(async |result| {
            if let Err(error) = result {
                on_error(&error, &context).await;
            }
        })
        .await;
    context.watchdog.remove(&name);
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Returns the cluster of a Pod. It is read from a label, as the owner of the Pod is a ReplicaSet.
fn cluster_of(pod: PartialObjectMeta<Pod>) -> Option<ObjectRef<WatchedCluster>> {
    let name = pod.labels().get(names::INSTANCE)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

fn references(
    mut changed: mpsc::Receiver<ClusterName>,
) -> impl Stream<Item = ObjectRef<WatchedCluster>> + Send {
    stream::poll_fn(move |context| changed.poll_recv(context))
        .map(|cluster| ObjectRef::new(&cluster.name).within(&cluster.namespace))
}

/// Returns a stream that yields nothing. The controller polls it with its watches, and each poll may be a heartbeat.
fn heartbeats(
    watchdog: Arc<Watchdog>,
    name: String,
) -> impl Stream<Item = ObjectRef<WatchedCluster>> + Send {
    let mut timer = tokio::time::interval(HEARTBEAT);
    stream::poll_fn(move |context| {
        while timer.poll_tick(context).is_ready() {
            watchdog.heartbeat(&name, HEARTBEAT_LIMIT);
        }
        Poll::Pending
    })
}

async fn reconcile(
    watched: Arc<WatchedCluster>,
    context: Arc<ControllerContext>,
) -> Result<Action, ApplyError> {
    let cluster = ClusterName::of(&*watched);
    context.wait_for_turn(&cluster).await;
    let started = Instant::now();
    let guard = context.watchdog.start_reconciliation(&cluster);
    let reconciler = &context.reconciler;
    let reconciled = tokio::time::timeout(RECONCILIATION_LIMIT, reconciler.reconcile(&cluster));
    let result = reconciled.await.unwrap_or(Err(ApplyError::TimedOut));
    drop(guard);
    reconciler
        .metrics
        .count_reconciliation(result.is_ok(), started.elapsed());
    match &result {
        Ok(_) => reconciler.failures.forget(&cluster),
        Err(error) => {
            let count = reconciler.failures.add(&cluster);
            if count == 1 && is_forbidden(error) {
                emit_forbidden_event(&watched, error, reconciler).await;
            }
        }
    }
    result
}

/// Records an event when a permission is missing: the operator may lack the permission to write the status as well.
async fn emit_forbidden_event(
    watched: &WatchedCluster,
    error: &ApplyError,
    reconciler: &Reconciler,
) {
    let event = transitions::event(EventType::Warning, "Forbidden", &error.to_string());
    reconciler
        .events
        .record(&event, &watched.object_ref(&()))
        .await;
}

fn is_forbidden(error: &ApplyError) -> bool {
    match error {
        ApplyError::Call(call) => call.status().is_some_and(kube::core::Status::is_forbidden),
        ApplyError::NamespaceTerminating | ApplyError::TimedOut => false,
    }
}

/// Returns when a failed reconciliation is retried. Each cluster has its own backoff.
#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn retry(
    watched: Arc<WatchedCluster>,
    error: &ApplyError,
    context: Arc<ControllerContext>,
) -> Action {
    let cluster = ClusterName::of(&*watched);
    let wait = retry_interval(error, context.reconciler.failures.count(&cluster));
    if !matches!(error, ApplyError::NamespaceTerminating) {
        tracing::warn!(
            namespace = cluster.namespace,
            name = cluster.name,
            %error,
            retry_seconds = wait.as_secs(),
            "reconciliation failed"
        );
    }
    Action::requeue(wait)
}

/// Handles an error of kube's controller. A failed reconciliation was logged by [`retry`], with its cluster.
async fn on_error(error: &ControllerError, context: &ControllerContext) {
    match error {
        controller::Error::ReconcilerFailed(..) => {}
        controller::Error::ObjectNotFound(deleted) => {
            let namespace = deleted.namespace.clone().unwrap_or_default();
            let cluster = ClusterName::new(namespace, &deleted.name);
            context.reconciler.release(&cluster).await;
            context.forget(&cluster);
        }
        error => {
            let cause = error.source().map(ToString::to_string);
            tracing::warn!(%error, cause, "watch failed");
        }
    }
}

/// An error of kube's controller.
type ControllerError = controller::Error<ApplyError, watcher::Error>;

#[cfg(test)]
mod tests {

    use super::*;
    use crate::k8s::fake_api::FakeApi;

    fn context() -> ControllerContext {
        let (client, _api) = FakeApi::start();
        let reconciler = Reconciler::with_defaults(client);
        ControllerContext::new(reconciler, Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn second_reconciliation_of_a_cluster_waits() {
        let context = context();
        let [demo, other] = ["demo", "other"].map(|name| ClusterName::new("media", name));
        let start = Instant::now();
        context.wait_for_turn(&demo).await;
        context.wait_for_turn(&other).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        context.wait_for_turn(&demo).await;
        assert_eq!(start.elapsed(), MIN_INTERVAL);
        context.wait_for_turn(&demo).await;
        assert_eq!(start.elapsed(), MIN_INTERVAL * 2);
    }

    #[test]
    fn pod_is_mapped_to_its_cluster() {
        let pod: PartialObjectMeta<Pod> = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "demo-edge-1", "namespace": "media", "labels": {"app.kubernetes.io/instance": "demo"}}
        }))
        .unwrap();
        let cluster = cluster_of(pod).unwrap();
        assert_eq!(
            (cluster.name.as_str(), cluster.namespace.as_deref()),
            ("demo", Some("media"))
        );
    }
}
