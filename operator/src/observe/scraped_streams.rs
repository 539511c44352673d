//! The samples of one cluster's Pods, and the sums of them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use livecluster_api::StreamsStatus;
use media_config::Role;
use tokio::time::Instant;

use super::scrape_target::{ScrapeTarget, TargetState};
use super::stream_sample::StreamSample;
use crate::scale::autoscaler::EdgeLoad;
use crate::scale::capacity::EdgeCapacity;
use crate::scale::joins::{JoinEdge, JoinFleet, full_edges};
use crate::scale::retirement::SETTLE_TIME;

/// Time that a Pod's last sample counts while further scrapes fail.
pub(super) const SAMPLE_LIFETIME: Duration = Duration::from_secs(30);
/// Scrapes that may fail before a Pod counts as silent.
const MAX_MISSES: u32 = 1;
/// Time until a change of the edges that take new clients is asked for again: the cluster may be unable to carry it out.
const JOINS_INTERVAL: Duration = Duration::from_secs(30);
/// Megabits of a byte.
const MEGABITS_PER_BYTE: f64 = 8.0 / 1_000_000.0;
/// Megabits per second that no Pod sends: its counter is wrong.
const MAX_EGRESS_MBPS: f64 = 1_000_000.0;

/// The streams of one cluster.
#[derive(Debug, Default)]
pub(super) struct ScrapedStreams {
    pub(super) targets: Vec<ScrapeTarget>,
    pub(super) capacity: EdgeCapacity,
    pub(super) is_paused: bool,
    /// Whether the Pods have been scraped since the operator started.
    pub(super) is_scraped: bool,
    /// The edges that were to take no new clients when a change was asked for last.
    asked_full: Option<(BTreeSet<String>, Instant)>,
    /// The last sample of each Pod, by UID.
    samples: HashMap<String, PodSample>,
    reported: Option<(StreamsReport, Instant)>,
}

/// What the status of a cluster has of its streams.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StreamsReport {
    pub(super) status: StreamsStatus,
    /// The viewers of Pods that drain, by UID.
    pub(super) draining: HashMap<String, i64>,
}

impl StreamsReport {
    /// Returns whether a Pod has begun to drain since another report: the status lists until when it serves its viewers.
    fn drains_since(&self, other: &Self) -> bool {
        let mut draining = self.draining.keys();
        draining.any(|uid| !other.draining.contains_key(uid))
    }
}

/// The last sample of a Pod.
#[derive(Clone, Copy, Debug)]
struct PodSample {
    sample: StreamSample,
    at: Instant,
    /// Scrapes that have failed since.
    misses: u32,
    /// What the Pod sent since the sample before; unknown at its first one.
    egress_mbps: Option<f64>,
    /// Plays that have started since the sample before.
    plays_per_second: f64,
    /// Since when it is known to retire without a client.
    empty_since: Option<Instant>,
}

impl ScrapedStreams {
    /// Returns the reported streams; `None` before the first scrape.
    pub(super) fn report(&self) -> Option<&StreamsReport> {
        self.reported.as_ref().map(|(report, _)| report)
    }

    /// Returns the clients of each Pod that has responded lately, by UID; `None` before the first scrape.
    pub(super) fn clients(&self, now: Instant) -> Option<HashMap<String, u64>> {
        let fresh = self.samples.iter().filter(|(_, pod)| pod.is_fresh(now));
        let clients = fresh.map(|(uid, pod)| (uid.clone(), pod.sample.clients()));
        self.is_scraped.then(|| clients.collect())
    }

    /// Returns the load of the edges. A Pod that drains counts only while it responds: its viewers are elsewhere when it has ended.
    pub(super) fn edge_load(&self, now: Instant) -> EdgeLoad {
        let mut load = EdgeLoad {
            lacks_egress: true,
            ..EdgeLoad::default()
        };
        for target in self.targets.iter().filter(|it| it.role == Role::Edge) {
            let takes_clients = target.state.takes_clients();
            load.asked += u32::from(takes_clients);
            let Some(pod) = self.samples.get(&target.uid) else {
                continue;
            };
            let sum = match takes_clients {
                true if pod.is_fresh(now) => &mut load.serving,
                false if pod.misses == 0 => &mut load.draining,
                _ => continue,
            };
            // Its number may be wrong. It never has more viewers than connections.
            let viewers = pod.sample.viewers.min(self.capacity.max_viewers.into());
            sum.viewers += as_f64(viewers);
            sum.egress_mbps += pod.egress_mbps.unwrap_or(0.0);
            load.responded += u32::from(takes_clients);
            load.lacks_egress &= pod.egress_mbps.is_none();
        }
        load
    }

    /// Returns the edges that do not retire.
    fn edges(&self) -> impl Iterator<Item = &ScrapeTarget> {
        let edges = self.targets.iter();
        edges.filter(|target| target.role == Role::Edge && target.state.takes_clients())
    }

    /// Returns whether a change of the edges that take new clients is to be asked for.
    pub(super) fn joins_change(&mut self, now: Instant) -> bool {
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

    /// Returns the edges that do not retire with their load, and the viewers that come to them.
    pub(super) fn join_fleet(&self, now: Instant) -> JoinFleet {
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
                    self.capacity.load(viewers, pod.egress_mbps.unwrap_or(0.0))
                }),
            }
        });
        JoinFleet {
            edges: edges.collect(),
            plays_per_second,
            returning: self.returning(),
            is_local: self.capacity.is_local,
        }
    }

    /// Returns the viewers of the edges that are terminating.
    fn returning(&self) -> f64 {
        let terminating = self
            .targets
            .iter()
            .filter(|target| target.role == Role::Edge && target.state == TargetState::Terminating);
        let pods = terminating.filter_map(|target| self.samples.get(&target.uid));
        let responding = pods.filter(|pod| pod.misses == 0);
        responding.map(|pod| as_f64(pod.sample.viewers)).sum()
    }

    /// Stores what a scrape has returned. Returns whether the Pod retires and may be removed since then: it has become empty, or the
    /// time is over in which it might still get a connection.
    pub(super) fn insert(
        &mut self,
        target: &ScrapeTarget,
        sample: Option<StreamSample>,
        now: Instant,
    ) -> bool {
        let Some(sample) = sample else {
            if let Some(pod) = self.samples.get_mut(&target.uid) {
                pod.misses = pod.misses.saturating_add(1);
            }
            return false;
        };
        let before = self.samples.get(&target.uid).copied();
        let mut pod = PodSample::new(sample, before, now);
        if target.state == TargetState::Retiring && sample.clients() == 0 {
            let since = before.and_then(|before| before.empty_since);
            pod.empty_since = Some(since.unwrap_or(now));
        }
        self.samples.insert(target.uid.clone(), pod);
        pod.empty_since.zip(before).is_some_and(|(since, before)| {
            let settled_at = since + SETTLE_TIME;
            before.sample.clients() > 0 || (before.at < settled_at && settled_at <= now)
        })
    }

    /// Updates the reported streams after the time between two reports, and returns whether they have changed.
    pub(super) fn update_report(&mut self, interval: Duration, now: Instant) -> bool {
        let uids: HashSet<_> = self.targets.iter().map(|target| &target.uid).collect();
        self.samples
            .retain(|uid, pod| uids.contains(uid) && now.duration_since(pod.at) <= SAMPLE_LIFETIME);
        let report = StreamsReport {
            status: self.status(),
            draining: self.draining(),
        };
        match &self.reported {
            Some((reported, _)) if *reported == report => false,
            Some((reported, at))
                if !report.drains_since(reported) && now.duration_since(*at) < interval =>
            {
                false
            }
            _ => {
                self.reported = Some((report, now));
                true
            }
        }
    }

    fn draining(&self) -> HashMap<String, i64> {
        let targets = self.targets.iter();
        let draining = targets.filter(|target| !target.state.takes_clients());
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
    fn new(sample: StreamSample, before: Option<Self>, now: Instant) -> Self {
        let rate = |counter: fn(&StreamSample) -> u64| Some(before?.rate(now, counter, &sample));
        let egress_mbps = rate(|sample| sample.egress_bytes).map(|it| it * MEGABITS_PER_BYTE);
        Self {
            sample,
            at: now,
            misses: 0,
            egress_mbps: egress_mbps.filter(|egress| *egress <= MAX_EGRESS_MBPS),
            plays_per_second: rate(|sample| sample.plays).unwrap_or(0.0),
            empty_since: None,
        }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.misses <= MAX_MISSES && now.duration_since(self.at) <= SAMPLE_LIFETIME
    }

    /// Returns by how much a counter grew a second from this sample to the next one. A container that restarted counts from 0.
    fn rate(&self, now: Instant, counter: fn(&StreamSample) -> u64, next: &StreamSample) -> f64 {
        let (before, next) = (counter(&self.sample), counter(next));
        let growth = next.checked_sub(before).unwrap_or(next);
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
mod tests {
    use super::*;

    #[test]
    fn numbers_have_two_significant_digits() {
        for (number, shown) in [
            (0, 0),
            (9, 9),
            (99, 99),
            (101, 100),
            (1847, 1800),
            (99_999, 99_000),
        ] {
            assert_eq!(round_down(number), shown);
        }
        assert_eq!(round_down(u64::MAX), i64::MAX);
    }
}
