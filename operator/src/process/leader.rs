//! The work of the leader: one controller for each watched namespace, and the scrapes of all Pods.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::{HeaderValue, StatusCode};
use livecluster_api::ClusterName;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::observe::node_tokens;
use crate::observe::scrape_target::ScrapeTarget;
use crate::observe::stream_sample::{self, ScrapeError};
use crate::observe::stream_scraper::SCRAPE_INTERVAL;
use crate::reconcile::controller::{self, ControllerContext};
use crate::reconcile::route_watch;

/// Time for reconciliations in progress to complete when the process stops.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Time to open the full edges when the process stops.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// Time without a scrape after which the scraper is stalled. Every scrape ends within two seconds, with or without a
/// response; a round of many scrapes may take longer than this limit.
const SCRAPE_HEARTBEAT_LIMIT: Duration = Duration::from_secs(120);
/// Time between two checks of the API server's keys, of the kinds of the Gateway API and of the Leases of other operators. Most are
/// answered from a cache.
const API_INTERVAL: Duration = Duration::from_secs(5);
/// Changed clusters that may wait for their reconciliation. Those whose streams have changed are left out when the queue is full: the
/// next reconciliation reads the streams anyway.
const QUEUE: usize = 1024;

/// A controller's namespace, or `None` for all, with the queue of its clusters whose streams have changed.
type ControllerQueue = (Option<String>, mpsc::Sender<ClusterName>);

/// A task has ended that is to run until the process stops.
#[derive(Debug, thiserror::Error)]
#[error("{0} ended unexpectedly")]
pub struct TaskEnded(pub(super) &'static str);

/// Reconciles the clusters of the watched namespaces until `stop`.
///
/// # Errors
/// [`TaskEnded`] when a controller or the scraper ends.
pub(super) async fn run(
    context: Arc<ControllerContext>,
    watched_namespaces: Vec<String>,
    token_file: Option<&Path>,
    stop: &CancellationToken,
) -> Result<(), TaskEnded> {
    let namespaces: Vec<Option<String>> = if watched_namespaces.is_empty() {
        vec![None]
    } else {
        watched_namespaces.into_iter().map(Some).collect()
    };
    let mut queues = Vec::new();
    let mut controllers = JoinSet::new();
    for namespace in namespaces {
        let (sender, receiver) = mpsc::channel(QUEUE);
        queues.push((namespace.clone(), sender.clone()));
        let watch = route_watch::run(context.clone(), namespace.clone(), sender);
        let stop = stop.clone();
        let stopped = stop.clone();
        controllers.spawn(async move { stopped.run_until_cancelled(watch).await.unwrap_or(()) });
        controllers.spawn(controller::run(context.clone(), namespace, receiver, stop));
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        _ = controllers.join_next() => return Err(TaskEnded("a controller")),
        () = scrape_pods(&context, token_file, &queues) => return Err(TaskEnded("the scraper")),
        () = follow_api_server(&context, &queues) => return Err(TaskEnded("a watch of the API server")),
    }
    let all = async { while controllers.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_LIMIT, all).await.is_err() {
        tracing::warn!("a reconciliation is not completed in time");
    }
    let opened = context.reconciler.release_all();
    if tokio::time::timeout(OPEN_LIMIT, opened).await.is_err() {
        tracing::warn!("not every edge that was full takes new clients again");
    }
    Ok(())
}

/// Scrapes the Pods of all clusters at intervals, and queues each cluster whose streams or wanted edges have changed. Every cluster
/// has rounds of its own: one whose Pods do not respond delays no other.
async fn scrape_pods(
    context: &ControllerContext,
    token_file: Option<&Path>,
    queues: &[ControllerQueue],
) {
    let scraper = &context.reconciler.scraper;
    let mut timer = tokio::time::interval(SCRAPE_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rounds = FuturesUnordered::new();
    let mut in_progress = HashSet::new();
    loop {
        tokio::select! {
            _ = timer.tick() => {
                scrape_heartbeat(context);
                // The kubelet renews the token.
                let shared = token_file.and_then(shared_authorization);
                for cluster in scraper.clusters() {
                    if in_progress.insert(cluster.clone()) {
                        rounds.push(scrape_cluster(context, cluster, shared.clone()));
                    }
                }
            }
            Some((cluster, has_changed)) = rounds.next() => {
                in_progress.remove(&cluster);
                if has_changed {
                    enqueue(queues, cluster);
                }
            }
        }
    }
}

/// Scrapes the Pods of a cluster once, and decides about its edges. Returns whether the cluster is to be reconciled.
///
/// Media nodes of the release before accept only a token whose audience all clusters share. Newer ones refuse it.
async fn scrape_cluster(
    context: &ControllerContext,
    cluster: ClusterName,
    shared: Option<HeaderValue>,
) -> (ClusterName, bool) {
    let reconciler = &context.reconciler;
    let tokens = &reconciler.node_tokens;
    let own = tokens.authorization(&reconciler.client, &cluster).await;
    let scrape = async |target: ScrapeTarget| {
        let mut sample = stream_sample::scrape(target.address, own.as_ref()).await;
        if let (Err(ScrapeError::Status(StatusCode::FORBIDDEN)), Some(shared)) = (&sample, &shared)
        {
            sample = stream_sample::scrape(target.address, Some(shared)).await;
        }
        scrape_heartbeat(context);
        reconciler.metrics.count_scrape(sample.is_ok());
        sample
            .inspect_err(
                |error| tracing::debug!(address = %target.address, %error, "scrape failed"),
            )
            .ok()
    };
    let scraper = &reconciler.scraper;
    let has_changed = scraper.scrape(&cluster, scrape).await
        | reconciler.autoscalers.decide(&cluster, scraper)
        | scraper.have_joins_changed(&cluster, Instant::now());
    (cluster, has_changed)
}

fn scrape_heartbeat(context: &ControllerContext) {
    let watchdog = &context.watchdog;
    watchdog.heartbeat("the scraper", SCRAPE_HEARTBEAT_LIMIT);
}

/// Queues all clusters when the API server's keys or the kinds of the Gateway API have changed, and those of other operators that have
/// stopped.
async fn follow_api_server(context: &ControllerContext, queues: &[ControllerQueue]) {
    let reconciler = &context.reconciler;
    let client = &reconciler.client;
    let mut timer = tokio::time::interval(API_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let have_keys_changed = reconciler.api_keys.have_changed(client).await;
        if have_keys_changed | reconciler.gateway_api.have_changed(client).await {
            enqueue_all(queues, reconciler.scraper.clusters()).await;
        }
        for cluster in reconciler.abandoned_clusters().await {
            enqueue(queues, cluster);
        }
    }
}

/// Queues clusters, all of them also when there are more than a queue holds: no further change would remind of those left out.
async fn enqueue_all(queues: &[ControllerQueue], clusters: Vec<ClusterName>) {
    for cluster in clusters {
        if let Some(sender) = queue(queues, &cluster) {
            drop(sender.send(cluster).await);
        }
    }
}

/// Queues a cluster if there is room.
fn enqueue(queues: &[ControllerQueue], cluster: ClusterName) {
    if let Some(sender) = queue(queues, &cluster) {
        drop(sender.try_send(cluster));
    }
}

/// Returns the queue of a cluster's namespace.
fn queue<'a>(
    queues: &'a [ControllerQueue],
    cluster: &ClusterName,
) -> Option<&'a mpsc::Sender<ClusterName>> {
    let mut queues = queues.iter();
    let is_it = |namespace: &str| *namespace == *cluster.namespace;
    let found = queues.find(|(namespace, _)| namespace.as_deref().is_none_or(is_it));
    found.map(|(_, sender)| sender)
}

/// Reads the operator's token for media nodes of the release before.
fn shared_authorization(token_file: &Path) -> Option<HeaderValue> {
    let read = std::fs::read_to_string(token_file);
    let token = read
        .inspect_err(|error| tracing::warn!(file = %token_file.display(), %error, "failed to read the token for media nodes"))
        .ok()?;
    node_tokens::bearer(token.trim())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use livecluster_api::{LiveCluster, LiveClusterSpec};
    use media_config::Role;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::desired::defaults::Defaults;
    use crate::k8s::fake_api::FakeApi;
    use crate::observe::scrape_target::TargetState;
    use crate::reconcile::reconciler::Reconciler;

    /// Lets a cluster have so many edges that do not respond.
    fn set_silent(context: &ControllerContext, name: &str, count: u32, address: SocketAddr) {
        let targets = (0..count).map(|number| ScrapeTarget {
            uid: number.to_string(),
            address,
            role: Role::Edge,
            state: TargetState::Serving,
            node: String::new(),
        });
        let cluster = LiveCluster::new(name, LiveClusterSpec::default());
        let scraper = &context.reconciler.scraper;
        scraper.set_targets(&cluster, targets.collect());
    }

    fn context() -> ControllerContext {
        let (client, _api) = FakeApi::start();
        ControllerContext::new(Reconciler::with_defaults(client), Arc::default())
    }

    /// A round of 2,000 scrapes without a response takes longer than the limit of the heartbeat.
    #[tokio::test(start_paused = true)]
    async fn operator_is_alive_while_no_pod_responds() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let context = context();
        set_silent(&context, "demo", 2000, silent.local_addr().unwrap());
        let start = Instant::now();
        let watch = async {
            while start.elapsed() < SCRAPE_HEARTBEAT_LIMIT * 2 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert_eq!(context.watchdog.stalled(), None);
            }
        };
        tokio::select! {
            () = scrape_pods(&context, None, &[]) => {}
            () = watch => {}
        }
    }

    /// Serves a media node that accepts one token only. Returns how many requests it has got.
    async fn serve_node(listener: TcpListener, accepted: &str) -> usize {
        for requests in 1.. {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let length = socket.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let is_accepted = request.contains(&format!("authorization: Bearer {accepted}\r\n"));
            let (status, body) = if is_accepted {
                ("200 OK", r#"{"publications":1,"viewers":2}"#)
            } else {
                ("403 Forbidden", "")
            };
            let length = body.len();
            let response = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
            socket.write_all(response.as_bytes()).await.unwrap();
            if is_accepted {
                return requests;
            }
        }
        unreachable!()
    }

    /// Returns how many requests a media node gets before the operator has its summary.
    async fn requests_until_scraped(accepted: &str) -> usize {
        let (client, _api) = FakeApi::start();
        let options = Defaults {
            operator_namespace: Some("system".to_owned()),
            operator_account: Some("operator".to_owned()),
            ..Defaults::default()
        };
        let reconciler = Reconciler::with_options(client, options);
        let context = ControllerContext::new(reconciler, Arc::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        set_silent(&context, "demo", 1, listener.local_addr().unwrap());
        let cluster = ClusterName::new("", "demo");
        let shared = node_tokens::bearer("shared");
        let scraped = scrape_cluster(&context, cluster, shared);
        let (_, requests) = tokio::join!(scraped, serve_node(listener, accepted));
        let scraper = &context.reconciler.scraper;
        let cluster = LiveCluster::new("demo", LiveClusterSpec::default());
        let clients = scraper.clients(&cluster, Instant::now()).unwrap();
        assert_eq!(clients["0"], 3);
        requests
    }

    #[tokio::test]
    async fn media_node_sees_the_shared_token_only_when_it_refuses_its_own() {
        assert_eq!(requests_until_scraped("token.1").await, 1);
        assert_eq!(requests_until_scraped("shared").await, 2);
    }

    #[tokio::test]
    async fn no_cluster_is_left_out_when_the_queue_is_full() {
        let (sender, mut receiver) = mpsc::channel(1);
        let queues = [(Some("media".to_owned()), sender)];
        let clusters = ["a", "b", "c"].map(|name| ClusterName::new("media", name));
        let all = clusters.to_vec();
        // The queue is closed when it has ended.
        let send = async move { enqueue_all(&queues, all).await };
        let receive = async {
            let mut received = Vec::new();
            while let Some(cluster) = receiver.recv().await {
                received.push(cluster);
            }
            received
        };
        let ((), received) = tokio::join!(send, receive);
        assert_eq!(received, clusters);
    }

    #[tokio::test(start_paused = true)]
    async fn cluster_whose_pods_do_not_respond_delays_no_other() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scraped = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let context = context();
        set_silent(&context, "lost", 2000, silent.local_addr().unwrap());
        set_silent(&context, "demo", 1, scraped.local_addr().unwrap());
        let mut connections = Vec::new();
        let count = async {
            loop {
                connections.push(scraped.accept().await.unwrap());
            }
        };
        let minute = tokio::time::sleep(Duration::from_secs(60));
        tokio::select! {
            () = scrape_pods(&context, None, &[]) => {}
            () = count => {}
            () = minute => {}
        }
        assert!(connections.len() >= 10, "{} scrapes", connections.len());
    }
}
