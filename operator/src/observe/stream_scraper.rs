//! Asks the nodes what is published and watched, and says it in numbers that do not flicker.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use livecluster_api::{ClusterName, LiveCluster, StreamsStatus};
use media_config::Role;
use tokio::time::Instant;

use crate::observe::observed::{Observed, is_leaving, is_ready};
use crate::observe::stream_sample::Sample;

/// Time between two questions to a node.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Time between two changes of a cluster's numbers: each is a write to the API's database.
const REPORT_INTERVAL: Duration = Duration::from_secs(15);
/// Time that a node's last answer counts when it does not answer again.
const SAMPLE_LIFE: Duration = Duration::from_secs(30);
/// Nodes that are asked at one time.
const CONCURRENCY: usize = 32;
/// The nodes' internal port.
const PORT: u16 = 9090;

/// A node that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// UID of the Pod: its address may become another one's.
    pub uid: String,
    /// Its internal port.
    pub address: SocketAddr,
    /// What its publications count for: those of origins only, or a stream that an edge forwards would count twice.
    pub role: Role,
}

/// The nodes that can answer: ready ones, and leaving ones, which still have clients.
pub fn targets(observed: &Observed) -> Vec<Target> {
    let mut targets = Vec::new();
    for role in [Role::Origin, Role::Edge] {
        let pods = observed
            .pods(role)
            .filter(|pod| is_ready(pod) || is_leaving(pod));
        targets.extend(pods.filter_map(|pod| {
            Some(Target {
                uid: pod.uid()?,
                address: SocketAddr::new(address(pod)?, PORT),
                role,
            })
        }));
    }
    targets
}

fn address(pod: &Pod) -> Option<IpAddr> {
    let status = pod.status.as_ref()?;
    let is_running = status.phase.as_deref() == Some("Running");
    status.pod_ip.as_ref().filter(|_| is_running)?.parse().ok()
}

/// What the nodes of all clusters say.
#[derive(Debug, Default)]
pub struct Streams {
    clusters: Mutex<HashMap<ClusterName, Cluster>>,
}

#[derive(Debug, Default)]
struct Cluster {
    targets: Vec<Target>,
    samples: HashMap<String, (Sample, Instant)>,
    reported: Option<(StreamsStatus, Instant)>,
}

impl Streams {
    /// Says which nodes a cluster has now.
    pub fn watch(&self, cluster: &LiveCluster, targets: Vec<Target>) {
        self.lock()
            .entry(ClusterName::of(cluster))
            .or_default()
            .targets = targets;
    }

    /// What the status of a cluster shows: it changes at most every 15 seconds.
    pub fn reported(&self, cluster: &LiveCluster) -> Option<StreamsStatus> {
        let clusters = self.lock();
        let (status, _) = clusters.get(&ClusterName::of(cluster))?.reported.as_ref()?;
        Some(status.clone())
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, cluster: &ClusterName) {
        self.lock().remove(cluster);
    }

    /// Asks every node once, by `ask`, and returns the clusters of which something else is reported now.
    pub async fn round<F>(&self, now: Instant, ask: impl Fn(Target) -> F) -> Vec<ClusterName>
    where
        F: Future<Output = Option<Sample>>,
    {
        let targets: Vec<(ClusterName, Target)> = self
            .lock()
            .iter()
            .flat_map(|(name, cluster)| {
                let targets = cluster.targets.iter();
                targets.map(|target| (name.clone(), target.clone()))
            })
            .collect();
        let answers: Vec<_> = stream::iter(targets)
            .map(|(name, target)| {
                let uid = target.uid.clone();
                let answer = ask(target);
                async move { (name, uid, answer.await) }
            })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let mut clusters = self.lock();
        for (name, uid, answer) in answers {
            if let (Some(cluster), Some(sample)) = (clusters.get_mut(&name), answer) {
                cluster.samples.insert(uid, (sample, now));
            }
        }
        clusters
            .iter_mut()
            .filter_map(|(name, cluster)| cluster.report(now).then(|| name.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterName, Cluster>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Takes over what the nodes say; whether it is something new.
    fn report(&mut self, now: Instant) -> bool {
        let known: HashSet<_> = self.targets.iter().map(|target| &target.uid).collect();
        self.samples
            .retain(|uid, (_, at)| known.contains(uid) && now.duration_since(*at) <= SAMPLE_LIFE);
        let status = self.status();
        match &self.reported {
            Some((reported, _)) if *reported == status => false,
            Some((_, at)) if now.duration_since(*at) < REPORT_INTERVAL => false,
            _ => {
                self.reported = Some((status, now));
                true
            }
        }
    }

    fn status(&self) -> StreamsStatus {
        let sum = |role: Option<Role>, number: fn(&Sample) -> u64| {
            let answers = self
                .targets
                .iter()
                .filter(|target| role.is_none_or(|role| target.role == role))
                .filter_map(|target| self.samples.get(&target.uid))
                .map(|(sample, _)| number(sample));
            answers.reduce(u64::saturating_add).map(two_digits)
        };
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        StreamsStatus {
            active: sum(Some(Role::Origin), |sample| sample.publications),
            viewers: sum(None, |sample| sample.viewers),
            scraped_pods: count(self.samples.len()),
            expected_pods: count(self.targets.len()),
        }
    }
}

/// The number to two digits: 1,847 viewers are 1,800. A status that shows every viewer is written for every viewer.
fn two_digits(number: u64) -> i64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    i64::try_from(number / unit * unit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use livecluster_api::LiveClusterSpec;

    use super::*;

    fn target(uid: &str, role: Role) -> Target {
        Target {
            uid: uid.to_owned(),
            address: "192.0.2.1:9090".parse().unwrap(),
            role,
        }
    }

    fn demo() -> LiveCluster {
        LiveCluster::new("demo", LiveClusterSpec::default())
    }

    fn sample(publications: u64, viewers: u64) -> Option<Sample> {
        Some(Sample {
            publications,
            viewers,
        })
    }

    #[test]
    fn numbers_have_two_digits() {
        for (number, shown) in [
            (0, 0),
            (9, 9),
            (99, 99),
            (101, 100),
            (1847, 1800),
            (99_999, 99_000),
        ] {
            assert_eq!(two_digits(number), shown);
        }
        assert_eq!(two_digits(u64::MAX), i64::MAX);
    }

    #[tokio::test]
    async fn publications_of_edges_are_forwarded_ones_and_count_once() {
        let streams = Streams::default();
        streams.watch(
            &demo(),
            vec![target("o", Role::Origin), target("e", Role::Edge)],
        );
        let changed = streams.round(Instant::now(), async |_| sample(2, 30)).await;
        assert_eq!(changed.len(), 1);
        let expected = StreamsStatus {
            active: Some(2),
            viewers: Some(60),
            scraped_pods: 2,
            expected_pods: 2,
        };
        assert_eq!(streams.reported(&demo()), Some(expected));
    }

    #[tokio::test]
    async fn an_unchanged_number_is_no_news_and_a_changed_one_waits() {
        let streams = Streams::default();
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        streams.watch(&demo(), vec![target("e", Role::Edge)]);
        assert_eq!(
            streams.round(start, async |_| sample(0, 1000)).await.len(),
            1
        );
        assert_eq!(
            streams
                .round(later(20), async |_| sample(0, 1040))
                .await
                .len(),
            0
        );
        assert_eq!(
            streams
                .round(later(25), async |_| sample(0, 1100))
                .await
                .len(),
            1
        );
        assert_eq!(
            streams
                .round(later(30), async |_| sample(0, 1200))
                .await
                .len(),
            0
        );
        assert_eq!(
            streams
                .round(later(40), async |_| sample(0, 1200))
                .await
                .len(),
            1
        );
    }

    #[tokio::test]
    async fn a_node_that_is_silent_for_a_moment_still_counts() {
        let streams = Streams::default();
        let start = Instant::now();
        streams.watch(&demo(), vec![target("e", Role::Edge)]);
        streams.round(start, async |_| sample(0, 7)).await;
        let silent = async |_| None;
        assert_eq!(streams.round(start + SAMPLE_LIFE, silent).await.len(), 0);
        let gone = start + SAMPLE_LIFE + INTERVAL;
        assert_eq!(streams.round(gone, silent).await.len(), 1);
        let reported = streams.reported(&demo()).unwrap();
        assert_eq!((reported.viewers, reported.scraped_pods), (None, 0));
    }

    #[test]
    fn leaving_nodes_are_asked_and_starting_ones_are_not() {
        let pod = |name: &str, ready: &str, leaves: bool| {
            serde_json::json!({
                "metadata": {
                    "name": name, "uid": name, "labels": {"app.kubernetes.io/component": "edge"},
                    "deletionTimestamp": leaves.then_some("2026-11-22T10:00:00Z")
                },
                "status": {"phase": "Running", "podIP": "192.0.2.7", "conditions": [{"type": "Ready", "status": ready}]}
            })
        };
        let pods = serde_json::json!([
            pod("ready", "True", false),
            pod("starting", "False", false),
            pod("leaving", "False", true)
        ]);
        let observed = Observed {
            pods: serde_json::from_value(pods).unwrap(),
            ..Observed::default()
        };
        let uids: Vec<_> = targets(&observed)
            .into_iter()
            .map(|target| target.uid)
            .collect();
        assert_eq!(uids, ["ready", "leaving"]);
    }
}
