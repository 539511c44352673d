//! Scrapes the Pods for their streams and viewers, and reports sums that change rarely.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use livecluster_api::{ClusterName, LiveCluster, StreamsStatus};
use media_config::Role;
use tokio::time::Instant;

use super::scrape_target::{ScrapeTarget, TargetState};
use super::stream_sample::StreamSample;
use crate::scale::autoscaler::EdgeLoad;
use crate::scale::joins::{EdgeCapacity, JoinEdge, JoinFleet, full_edges};

/// Time between two scrapes of a Pod.
pub const SCRAPE_INTERVAL: Duration = Duration::from_secs(5);
/// Time between two changes of a cluster's reported numbers: each change is a write to etcd.
const REPORT_INTERVAL: Duration = Duration::from_secs(15);
/// Time that a Pod's last sample counts while further scrapes fail.
const SAMPLE_LIFETIME: Duration = Duration::from_secs(30);
/// Time that a sample says how many clients a Pod has: one scrape may fail.
const FRESH_LIFETIME: Duration = Duration::from_secs(10);
/// Time until a change of the edges that take new clients is asked for again: the cluster may be unable to carry it out.
const JOINS_INTERVAL: Duration = Duration::from_secs(30);
/// Concurrent scrapes.
const CONCURRENCY: usize = 32;
/// Megabits of a byte.
const MEGABITS_PER_BYTE: f64 = 8.0 / 1_000_000.0;

/// Scrapes the Pods of all clusters.
#[derive(Debug, Default)]
pub struct StreamScraper {
    clusters: Mutex<HashMap<ClusterName, ScrapedStreams>>,
}

/// The streams of one cluster.
#[derive(Debug, Default)]
struct ScrapedStreams {
    targets: Vec<ScrapeTarget>,
    capacity: EdgeCapacity,
    is_paused: bool,
    /// The edges that were to take no new clients when a change was asked for last.
    asked_full: Option<(BTreeSet<String>, Instant)>,
    /// The last sample of each Pod, by UID.
    samples: HashMap<String, PodSample>,
    reported: Option<(StreamsReport, Instant)>,
    /// Whether the Pods have been scraped since the operator started.
    is_scraped: bool,
}

/// What the status of a cluster has of its streams.
#[derive(Clone, Debug, PartialEq)]
struct StreamsReport {
    status: StreamsStatus,
    /// The viewers of Pods that drain, by UID.
    draining: HashMap<String, i64>,
}

/// The last sample of a Pod.
#[derive(Clone, Copy, Debug)]
struct PodSample {
    sample: StreamSample,
    at: Instant,
    /// What the Pod sent since the sample before.
    egress_mbps: f64,
    /// Plays that have started since the sample before.
    plays_per_second: f64,
}

impl StreamScraper {
    /// Sets the Pods of a cluster that are scraped.
    pub fn set_targets(&self, cluster: &LiveCluster, targets: Vec<ScrapeTarget>) {
        let mut clusters = self.lock();
        let streams = clusters.entry(ClusterName::of(cluster)).or_default();
        streams.targets = targets;
        streams.capacity = EdgeCapacity::of(&cluster.spec);
        streams.is_paused = cluster.spec.paused;
    }

    /// Returns the streams for the status of a cluster. They change at most every 15 seconds.
    pub fn reported(&self, cluster: &LiveCluster) -> Option<StreamsStatus> {
        let clusters = self.lock();
        let (report, _) = clusters.get(&ClusterName::of(cluster))?.reported.as_ref()?;
        Some(report.status.clone())
    }

    /// Returns the viewers of the Pods that drain, by UID; `None` before the first scrape. They change at most every 15 seconds.
    pub fn draining_viewers(&self, cluster: &LiveCluster) -> Option<HashMap<String, i64>> {
        let clusters = self.lock();
        let (report, _) = clusters.get(&ClusterName::of(cluster))?.reported.as_ref()?;
        Some(report.draining.clone())
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

    /// Returns the edges that do not retire, for the decision which of them take new clients; `None` before the first scrape.
    pub fn join_fleet(&self, cluster: &LiveCluster, now: Instant) -> Option<JoinFleet> {
        let clusters = self.lock();
        let streams = clusters.get(&ClusterName::of(cluster))?;
        streams.is_scraped.then(|| streams.join_fleet(now))
    }

    /// Returns the clusters in which other edges are to take new clients than those that do.
    pub fn changed_joins(&self, now: Instant) -> Vec<ClusterName> {
        let mut clusters = self.lock();
        let changed = clusters
            .iter_mut()
            .filter_map(|(name, streams)| streams.joins_change(now).then(|| name.clone()));
        changed.collect()
    }

    /// Returns the clusters with edges that take no new clients while emptier ones do, except paused ones.
    pub fn clusters_with_full_edges(&self) -> Vec<ClusterName> {
        let clusters = self.lock();
        let full = clusters.iter().filter(|(_, streams)| {
            let mut targets = streams.targets.iter();
            !streams.is_paused && targets.any(|target| target.state == TargetState::Full)
        });
        full.map(|(name, _)| name.clone()).collect()
    }

    /// Returns the load of the edges that do not retire.
    pub fn edge_load(&self, cluster: &ClusterName, now: Instant) -> EdgeLoad {
        let clusters = self.lock();
        let Some(streams) = clusters.get(cluster) else {
            return EdgeLoad::default();
        };
        let mut load = EdgeLoad::default();
        for target in streams.edges() {
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
    /// Returns the edges that do not retire.
    fn edges(&self) -> impl Iterator<Item = &ScrapeTarget> {
        self.targets.iter().filter(|target| {
            let takes_clients = matches!(target.state, TargetState::Serving | TargetState::Full);
            target.role == Role::Edge && takes_clients
        })
    }

    /// Returns whether a change of the edges that take new clients is to be asked for.
    fn joins_change(&mut self, now: Instant) -> bool {
        if !self.is_scraped || self.is_paused {
            return false;
        }
        let fleet = self.join_fleet(now);
        let full = full_edges(&fleet);
        let is_asked = self
            .asked_full
            .as_ref()
            .is_some_and(|(asked, at)| *asked == full && now.duration_since(*at) < JOINS_INTERVAL);
        let is_changed = fleet
            .edges
            .iter()
            .any(|edge| edge.is_full != full.contains(&edge.uid));
        if is_changed && !is_asked {
            self.asked_full = Some((full, now));
        }
        is_changed && !is_asked
    }

    fn join_fleet(&self, now: Instant) -> JoinFleet {
        let mut plays_per_second = 0.0;
        let edges = self.edges().map(|target| {
            let sample = self.samples.get(&target.uid);
            let sample = sample.filter(|pod| pod.is_fresh(now));
            plays_per_second += sample.map_or(0.0, |pod| pod.plays_per_second);
            JoinEdge {
                uid: target.uid.clone(),
                node: target.node.clone(),
                is_full: target.state == TargetState::Full,
                load: sample.map(|pod| {
                    let viewers = as_f64(pod.sample.viewers);
                    self.capacity.load(viewers, pod.egress_mbps)
                }),
            }
        });
        JoinFleet {
            edges: edges.collect(),
            plays_per_second,
            is_local: self.capacity.is_local,
        }
    }

    /// Stores a sample. Returns whether the Pod retires and has become empty.
    fn insert(&mut self, target: ScrapeTarget, sample: StreamSample, now: Instant) -> bool {
        let is_empty = target.state == TargetState::Retiring && sample.clients() == 0;
        let before = self.samples.get(&target.uid).copied();
        let pod = PodSample {
            sample,
            at: now,
            egress_mbps: before.map_or(0.0, |before| {
                let bytes = before.rate(now, |sample| sample.egress_bytes, &sample);
                bytes * MEGABITS_PER_BYTE
            }),
            plays_per_second: before.map_or(0.0, |before| {
                before.rate(now, |sample| sample.plays, &sample)
            }),
        };
        self.samples.insert(target.uid, pod);
        is_empty && before.is_some_and(|before| before.sample.clients() > 0)
    }

    /// Updates the reported streams, and returns whether they have changed.
    fn update_report(&mut self, now: Instant) -> bool {
        let uids: HashSet<_> = self.targets.iter().map(|target| &target.uid).collect();
        self.samples
            .retain(|uid, pod| uids.contains(uid) && now.duration_since(pod.at) <= SAMPLE_LIFETIME);
        let report = StreamsReport {
            status: self.status(),
            draining: self.draining(),
        };
        match &self.reported {
            Some((reported, _)) if *reported == report => false,
            Some((_, at)) if now.duration_since(*at) < REPORT_INTERVAL => false,
            _ => {
                self.reported = Some((report, now));
                true
            }
        }
    }

    fn draining(&self) -> HashMap<String, i64> {
        let drains = |target: &&ScrapeTarget| {
            matches!(
                target.state,
                TargetState::Retiring | TargetState::Terminating
            )
        };
        let draining = self.targets.iter().filter(drains);
        draining
            .filter_map(|target| {
                let pod = self.samples.get(&target.uid)?;
                Some((target.uid.clone(), round_down(pod.sample.viewers)))
            })
            .collect()
    }

    fn status(&self) -> StreamsStatus {
        let sampled = |role: Option<Role>| {
            self.targets
                .iter()
                .filter(move |target| role.is_none_or(|role| target.role == role))
                .filter_map(|target| self.samples.get(&target.uid))
        };
        let sum = |role: Option<Role>, number: fn(&StreamSample) -> u64| {
            let numbers = sampled(role).map(|pod| number(&pod.sample));
            numbers.reduce(u64::saturating_add).map(round_down)
        };
        let is_short = |pod: &&PodSample| pod.sample.memory_pressure;
        let short = |role| sampled(Some(role)).filter(is_short).count();
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        StreamsStatus {
            active: sum(Some(Role::Origin), |sample| sample.publications),
            viewers: sum(None, |sample| sample.viewers),
            memory_pressure_origins: count(short(Role::Origin)),
            memory_pressure_edges: count(short(Role::Edge)),
            scraped_pods: count(self.samples.len()),
            expected_pods: count(self.targets.len()),
        }
    }
}

impl PodSample {
    fn is_fresh(&self, now: Instant) -> bool {
        now.duration_since(self.at) <= FRESH_LIFETIME
    }

    /// Returns by how much a counter grew a second from this sample to the next one. A container that restarted counts from 0.
    fn rate(&self, now: Instant, counter: fn(&StreamSample) -> u64, next: &StreamSample) -> f64 {
        let growth = counter(next).saturating_sub(counter(&self.sample));
        let seconds = now.duration_since(self.at).as_secs_f64();
        if seconds > 0.0 {
            as_f64(growth) / seconds
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
