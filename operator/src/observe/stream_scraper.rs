//! Scrapes the Pods for their streams and viewers, and reports sums that change rarely.

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

use super::observed::Observed;
use super::pods::{is_ready, is_retiring, is_terminating};
use super::stream_sample::StreamSample;
use crate::scale::autoscaler::EdgeLoad;

/// Time between two scrapes of a Pod.
pub const SCRAPE_INTERVAL: Duration = Duration::from_secs(5);
/// Time between two changes of a cluster's reported numbers: each change is a write to etcd.
const REPORT_INTERVAL: Duration = Duration::from_secs(15);
/// Time that a Pod's last sample counts while further scrapes fail.
const SAMPLE_LIFETIME: Duration = Duration::from_secs(30);
/// Time that a sample says how many clients a Pod has: one scrape may fail.
const FRESH_LIFETIME: Duration = Duration::from_secs(10);
/// Concurrent scrapes.
const CONCURRENCY: usize = 32;
/// The internal port of a media node.
const INTERNAL_PORT: u16 = 9090;

/// A Pod to scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeTarget {
    /// UID of the Pod. Its address may be given to another Pod.
    pub uid: String,
    /// Address of its internal port.
    pub address: SocketAddr,
    /// Role of the Pod. Publications count on origins only: an edge forwards its own to an origin.
    pub role: Role,
    /// Whether the Pod takes new clients.
    pub state: TargetState,
}

/// Whether a Pod takes new clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// It takes new clients.
    Serving,
    /// It is removed when its last client has disconnected.
    Retiring,
    /// It is terminating.
    Terminating,
}

impl TargetState {
    fn of(pod: &Pod) -> Self {
        if is_terminating(pod) {
            Self::Terminating
        } else if is_retiring(pod) {
            Self::Retiring
        } else {
            Self::Serving
        }
    }
}

/// Returns the Pods to scrape: ready ones, and terminating ones, which may still have clients.
pub fn targets(observed: &Observed) -> Vec<ScrapeTarget> {
    let mut targets = Vec::new();
    for role in [Role::Origin, Role::Edge] {
        let pods = observed
            .pods(role)
            .filter(|pod| is_ready(pod) || is_terminating(pod));
        targets.extend(pods.filter_map(|pod| {
            Some(ScrapeTarget {
                uid: pod.uid()?,
                address: SocketAddr::new(address(pod)?, INTERNAL_PORT),
                role,
                state: TargetState::of(pod),
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

/// Scrapes the Pods of all clusters.
#[derive(Debug, Default)]
pub struct StreamScraper {
    clusters: Mutex<HashMap<ClusterName, ScrapedStreams>>,
}

/// The streams of one cluster.
#[derive(Debug, Default)]
struct ScrapedStreams {
    targets: Vec<ScrapeTarget>,
    /// The last sample of each Pod, by UID.
    samples: HashMap<String, PodSample>,
    reported: Option<(StreamsStatus, Instant)>,
    /// Whether the Pods have been scraped since the operator started.
    is_scraped: bool,
}

/// The last sample of a Pod.
#[derive(Clone, Copy, Debug)]
struct PodSample {
    sample: StreamSample,
    at: Instant,
    /// What the Pod sent since the sample before.
    egress_mbps: f64,
}

impl StreamScraper {
    /// Sets the Pods of a cluster that are scraped.
    pub fn set_targets(&self, cluster: &LiveCluster, targets: Vec<ScrapeTarget>) {
        self.lock()
            .entry(ClusterName::of(cluster))
            .or_default()
            .targets = targets;
    }

    /// Returns the streams for the status of a cluster. They change at most every 15 seconds.
    pub fn reported(&self, cluster: &LiveCluster) -> Option<StreamsStatus> {
        let clusters = self.lock();
        let (status, _) = clusters.get(&ClusterName::of(cluster))?.reported.as_ref()?;
        Some(status.clone())
    }

    /// Returns the clients of each Pod that has responded lately, by UID; `None` before the first scrape.
    pub fn clients(&self, cluster: &LiveCluster, now: Instant) -> Option<HashMap<String, u64>> {
        let clusters = self.lock();
        let streams = clusters.get(&ClusterName::of(cluster))?;
        let samples = streams.samples.iter();
        let fresh = samples.filter(|(_, pod)| pod.is_fresh(now));
        let clients = fresh.map(|(uid, pod)| (uid.clone(), pod.sample.clients()));
        streams.is_scraped.then(|| clients.collect())
    }

    /// Returns the load of the edges that take new viewers.
    pub fn edge_load(&self, cluster: &ClusterName, now: Instant) -> EdgeLoad {
        let clusters = self.lock();
        let Some(streams) = clusters.get(cluster) else {
            return EdgeLoad::default();
        };
        let mut load = EdgeLoad::default();
        let targets = streams.targets.iter();
        for target in targets
            .filter(|target| target.role == Role::Edge && target.state == TargetState::Serving)
        {
            load.asked = load.asked.saturating_add(1);
            let sample = streams.samples.get(&target.uid);
            if let Some(pod) = sample.filter(|pod| pod.is_fresh(now)) {
                load.responded = load.responded.saturating_add(1);
                load.viewers += as_f64(pod.sample.viewers);
                load.egress_mbps += pod.egress_mbps;
            }
        }
        load
    }

    /// Returns all clusters.
    pub fn clusters(&self) -> Vec<ClusterName> {
        self.lock().keys().cloned().collect()
    }

    /// Drops the state of a deleted cluster.
    pub fn forget(&self, cluster: &ClusterName) {
        self.lock().remove(cluster);
    }

    /// Scrapes every Pod once with `scrape`. Returns the clusters whose reported streams have changed, and those with a
    /// retiring Pod that has become empty.
    pub async fn scrape_all<F>(
        &self,
        now: Instant,
        scrape: impl Fn(ScrapeTarget) -> F,
    ) -> Vec<ClusterName>
    where
        F: Future<Output = Option<StreamSample>>,
    {
        let (scraped, targets) = self.all_targets();
        let samples: Vec<_> = stream::iter(targets)
            .map(|(name, target)| {
                let sample = scrape(target.clone());
                async move { (name, target, sample.await) }
            })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let mut clusters = self.lock();
        let mut emptied = HashSet::new();
        for (name, target, sample) in samples {
            let Some(streams) = clusters.get_mut(&name) else {
                continue;
            };
            if let Some(sample) = sample {
                let is_emptied = streams.insert(target, sample, now);
                emptied.extend(is_emptied.then_some(name));
            }
        }
        for name in scraped {
            if let Some(streams) = clusters.get_mut(&name) {
                streams.is_scraped = true;
            }
        }
        clusters
            .iter_mut()
            .filter_map(|(name, streams)| {
                let is_changed = streams.update_report(now) || emptied.contains(name);
                is_changed.then(|| name.clone())
            })
            .collect()
    }

    /// Returns all clusters, and their Pods.
    fn all_targets(&self) -> (Vec<ClusterName>, Vec<(ClusterName, ScrapeTarget)>) {
        let clusters = self.lock();
        let targets = clusters.iter().flat_map(|(name, streams)| {
            let targets = streams.targets.iter();
            targets.map(|target| (name.clone(), target.clone()))
        });
        (clusters.keys().cloned().collect(), targets.collect())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterName, ScrapedStreams>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScrapedStreams {
    /// Stores a sample. Returns whether the Pod retires and has become empty.
    fn insert(&mut self, target: ScrapeTarget, sample: StreamSample, now: Instant) -> bool {
        let is_empty = target.state == TargetState::Retiring && sample.clients() == 0;
        let before = self.samples.get(&target.uid).copied();
        let pod = PodSample {
            sample,
            at: now,
            egress_mbps: before.map_or(0.0, |before| before.megabits_per_second(&sample, now)),
        };
        self.samples.insert(target.uid, pod);
        is_empty && before.is_some_and(|before| before.sample.clients() > 0)
    }

    /// Updates the reported streams, and returns whether they have changed.
    fn update_report(&mut self, now: Instant) -> bool {
        let uids: HashSet<_> = self.targets.iter().map(|target| &target.uid).collect();
        self.samples
            .retain(|uid, pod| uids.contains(uid) && now.duration_since(pod.at) <= SAMPLE_LIFETIME);
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
        let sum = |role: Option<Role>, number: fn(&StreamSample) -> u64| {
            let numbers = self
                .targets
                .iter()
                .filter(|target| role.is_none_or(|role| target.role == role))
                .filter_map(|target| self.samples.get(&target.uid))
                .map(|pod| number(&pod.sample));
            numbers.reduce(u64::saturating_add).map(round_down)
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

impl PodSample {
    fn is_fresh(&self, now: Instant) -> bool {
        now.duration_since(self.at) <= FRESH_LIFETIME
    }

    /// Returns what the Pod sent from this sample to the next one. A container that restarted counts from 0.
    fn megabits_per_second(&self, next: &StreamSample, now: Instant) -> f64 {
        const BITS_PER_MEGABYTE: f64 = 8.0 / 1_000_000.0;
        let bytes = next.egress_bytes.saturating_sub(self.sample.egress_bytes);
        let seconds = now.duration_since(self.at).as_secs_f64();
        if seconds > 0.0 {
            as_f64(bytes) * BITS_PER_MEGABYTE / seconds
        } else {
            0.0
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no decision needs the last digit"
)]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// Returns the number with two significant digits: 1,847 viewers are 1,800. An exact number would cause a write of the
/// status for every viewer.
fn round_down(number: u64) -> i64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    i64::try_from(number / unit * unit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
