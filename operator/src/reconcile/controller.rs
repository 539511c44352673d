//! Which changes lead to a pass over which cluster, and when a failed pass is tried again.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::controller::{Action, Config};
use kube::runtime::events::{Event, EventType};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, controller, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use livecluster_api::names;
use livecluster_api::{ClusterName, LiveCluster};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::monitoring::watchdog::Watchdog;
use crate::reconcile::apply::ApplyError;
use crate::reconcile::reconciler::{Next, Operator};

/// A cluster as it is watched: its metadata only. The spec is read when its turn comes, so that one that cannot be
/// read is its own trouble and nobody else's.
type Watched = PartialObjectMeta<LiveCluster>;

/// Seconds after which a watch is made anew, also if it was silent: load balancers drop silent ones without a word.
const WATCH_SECONDS: u32 = 200;
/// Passes at one time, those included that wait for their pace.
const CONCURRENCY: u16 = 32;
/// Time between two passes over one cluster: the changes of a rollout come by the dozen, and are taken together. A
/// debounce would do so as well, but while changes keep coming it never lets a pass begin.
const PACE: Duration = Duration::from_millis(500);
/// Time between two signs of life of the watches.
const BEAT: Duration = Duration::from_secs(10);
/// Time without a sign of life after which something is wrong. After failures the watches pause for 30 seconds.
const BEAT_LIMIT: Duration = Duration::from_secs(120);

/// Everything that the loop needs.
pub struct Context {
    /// Does the passes.
    pub operator: Operator,
    /// Hears the signs of life.
    pub watchdog: Arc<Watchdog>,
    failures: Mutex<HashMap<ClusterName, u32>>,
    latest: Mutex<HashMap<ClusterName, Instant>>,
}

impl Context {
    /// A context without failures.
    pub fn new(operator: Operator, watchdog: Arc<Watchdog>) -> Self {
        Self {
            operator,
            watchdog,
            failures: Mutex::default(),
            latest: Mutex::default(),
        }
    }

    /// Waits until the last pass over a cluster is long enough ago.
    async fn pace(&self, cluster: &ClusterName) {
        let latest = self.latest().get(cluster).copied();
        if let Some(latest) = latest {
            tokio::time::sleep_until(latest + PACE).await;
        }
        self.latest().insert(cluster.clone(), Instant::now());
    }

    fn forget(&self, cluster: &ClusterName) {
        self.operator.forget(cluster);
        self.failures().remove(cluster);
        self.latest().remove(cluster);
    }

    fn latest(&self) -> MutexGuard<'_, HashMap<ClusterName, Instant>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<ClusterName, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the clusters of one namespace, or of all, until `stop`; passes that have begun are finished.
///
/// `changed` brings the clusters whose nodes say something new.
pub async fn run(
    context: Arc<Context>,
    namespace: Option<String>,
    changed: mpsc::Receiver<ClusterName>,
    stop: CancellationToken,
) {
    let client = context.operator.client.clone();
    let namespace = namespace.as_deref();
    let clusters = watch_config();
    let ours = watch_config().labels(names::MANAGED);
    let beat_name = match namespace {
        Some(namespace) => format!("the controller of namespace {namespace}"),
        None => "the controller".to_owned(),
    };
    context.watchdog.beat(&beat_name, BEAT_LIMIT);
    let beats = beats(context.watchdog.clone(), beat_name.clone());
    let stopped = stop.clone().cancelled_owned();
    Controller::new(api::<Watched>(&client, namespace), clusters)
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
        .reconcile_on(stream::select(references(changed), beats))
        .graceful_shutdown_on(stopped)
        .run(pass, retry, context.clone())
        .for_each(async |result| {
            if let Err(error) = result {
                hear(&error, &context);
            }
        })
        .await;
    context.watchdog.ended(&beat_name);
}

fn watch_config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
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

/// The cluster that a Pod belongs to: its owner is a ReplicaSet, so that the label tells.
fn cluster_of(pod: PartialObjectMeta<Pod>) -> Option<ObjectRef<Watched>> {
    let name = pod.labels().get(names::INSTANCE)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

fn references(
    mut changed: mpsc::Receiver<ClusterName>,
) -> impl Stream<Item = ObjectRef<Watched>> + Send {
    stream::poll_fn(move |context| changed.poll_recv(context))
        .map(|cluster| ObjectRef::new(&cluster.name).within(&cluster.namespace))
}

/// Brings nothing, and is heard as long as the loop asks all its watches for news.
fn beats(watchdog: Arc<Watchdog>, name: String) -> impl Stream<Item = ObjectRef<Watched>> + Send {
    let mut timer = tokio::time::interval(BEAT);
    stream::poll_fn(move |context| {
        while timer.poll_tick(context).is_ready() {
            watchdog.beat(&name, BEAT_LIMIT);
        }
        Poll::Pending
    })
}

async fn pass(watched: Arc<Watched>, context: Arc<Context>) -> Result<Action, ApplyError> {
    let cluster = ClusterName::of(&*watched);
    context.pace(&cluster).await;
    let started = Instant::now();
    let alive = context.watchdog.pass(&cluster.to_string());
    let result = context.operator.pass(&cluster).await;
    drop(alive);
    context
        .operator
        .metrics
        .reconcile(result.is_ok(), started.elapsed());
    match result {
        Ok(next) => {
            context.failures().remove(&cluster);
            Ok(match next {
                Next::Never => Action::await_change(),
                Next::After(wait) => Action::requeue(wait),
            })
        }
        Err(error) => {
            tell_forbidden(&watched, &error, &context).await;
            Err(error)
        }
    }
}

/// A pass that ends for want of a permission cannot show it in the status: perhaps it may not write that.
async fn tell_forbidden(watched: &Watched, error: &ApplyError, context: &Context) {
    if !is_forbidden(error) || context.failures().contains_key(&ClusterName::of(watched)) {
        return;
    }
    let event = Event {
        type_: EventType::Warning,
        reason: "Forbidden".to_owned(),
        note: Some(error.to_string().chars().take(250).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    let about = watched.object_ref(&());
    context.operator.publisher.publish(&event, &about).await;
}

fn is_forbidden(error: &ApplyError) -> bool {
    match error {
        ApplyError::Call(call) => call.status().is_some_and(kube::core::Status::is_forbidden),
        ApplyError::LeftOver { .. } | ApplyError::NamespaceEnds => false,
    }
}

/// When a failed pass is tried again. Each cluster has its own patience.
#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn retry(watched: Arc<Watched>, error: &ApplyError, context: Arc<Context>) -> Action {
    let cluster = ClusterName::of(&*watched);
    let wait = match error {
        ApplyError::LeftOver { .. } => Duration::from_secs(2),
        ApplyError::NamespaceEnds => Duration::from_secs(60),
        ApplyError::Call(call) => {
            let mut failures = context.failures();
            let count = failures.entry(cluster.clone()).or_insert(0);
            *count = count.saturating_add(1);
            match call.status() {
                Some(status) if status.is_forbidden() => Duration::from_secs(60),
                Some(status) if status.is_conflict() && *count < 4 => Duration::from_secs(1),
                _ => backoff(*count),
            }
        }
    };
    if matches!(error, ApplyError::NamespaceEnds) {
        return Action::requeue(wait);
    }
    tracing::warn!(
        namespace = cluster.namespace,
        name = cluster.name,
        %error,
        retry_seconds = wait.as_secs(),
        "the pass failed"
    );
    Action::requeue(wait)
}

/// 1, 2, 4 ... 256, 300 seconds.
fn backoff(failures: u32) -> Duration {
    let seconds = 1_u64
        .checked_shl(failures.saturating_sub(1))
        .unwrap_or(u64::MAX);
    Duration::from_secs(seconds.clamp(1, 300))
}

/// What the loop itself has to say. A failed pass was logged by [`retry`], with its cluster.
fn hear(error: &LoopError, context: &Context) {
    match error {
        controller::Error::ReconcilerFailed(..) => {}
        controller::Error::ObjectNotFound(gone) => {
            let namespace = gone.namespace.clone().unwrap_or_default();
            let cluster = ClusterName::new(namespace, &gone.name);
            context.forget(&cluster);
        }
        error => {
            let cause = error.source().map(ToString::to_string);
            tracing::warn!(%error, cause, "a watch failed");
        }
    }
}

/// What kube's loop ends a turn with.
type LoopError = controller::Error<ApplyError, watcher::Error>;

#[cfg(test)]
mod tests {
    use kube::runtime::events::Reporter;

    use super::*;
    use crate::desired::Defaults;
    use crate::k8s::client::Calls;
    use crate::k8s::event_recorder::Publisher;
    use crate::k8s::fake_api::FakeApi;
    use crate::monitoring::metrics::Metrics;
    use crate::observe::stream_scraper::Streams;
    use crate::reconcile::apply_cache::Memory;

    #[test]
    fn patience_grows_and_has_an_end() {
        let waits: Vec<_> = [1, 2, 3, 9, 10, 64, u32::MAX]
            .map(|count| backoff(count).as_secs())
            .to_vec();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300, 300]);
    }

    fn context() -> Context {
        let (client, _api) = FakeApi::start();
        let metrics = Metrics::new().unwrap();
        let calls = Calls::new(metrics.clone());
        let publisher = Publisher::new(client.clone(), calls.clone(), Reporter::from("test"));
        let operator = Operator {
            client,
            calls,
            defaults: Defaults::default(),
            check_secrets: true,
            memory: Memory::default(),
            streams: Streams::default(),
            publisher,
            metrics,
        };
        Context::new(operator, Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_was_quiet_has_its_turn_at_once_and_the_next_one_waits() {
        let context = context();
        let [demo, other] = ["demo", "other"].map(|name| ClusterName::new("media", name));
        let start = Instant::now();
        context.pace(&demo).await;
        context.pace(&other).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        context.pace(&demo).await;
        assert_eq!(start.elapsed(), PACE);
        context.pace(&demo).await;
        assert_eq!(start.elapsed(), PACE * 2);
    }

    #[test]
    fn a_pod_leads_to_its_cluster() {
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
