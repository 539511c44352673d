//! How many edges the load needs. No clock and no client: time and samples come in as arguments.
//!
//! The number grows at once, also ahead of a load that rises fast. It decreases after fewer edges were enough for the whole
//! stabilization window, and then by steps. Announced events ([`super::events`]) have their edges before their viewers come.
//! Retirement makes a step gentle: no client is cut off, and an edge that is wanted again returns.

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use livecluster_api::{Autoscaling, AutoscalingStatus, RecommendedReplicas};

use super::events::{EventReport, event_demand};

/// Time between two steps down.
const STEP_INTERVAL: Duration = Duration::from_secs(60);
/// Time over which the rise of the load is measured, besides the last interval.
const RISE_WINDOW: Duration = Duration::from_secs(15);
/// A rise below this part of the load is noise.
const NOISE: f64 = 0.05;
/// Percentage of the edges that are not worth a scale-down: the next peak would need them again.
const TOLERANCE_PERCENT: u32 = 3;
/// Decisions without samples after which the condition says so: one lost round is normal.
const MAX_MISSES: u32 = 3;

/// The load of the edges that take new viewers, as sampled at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EdgeLoad {
    /// Viewers of the Pods that responded.
    pub viewers: f64,
    /// Megabits per second of the Pods that responded.
    pub egress_mbps: f64,
    /// Pods that responded.
    pub responded: u32,
    /// Pods that were asked.
    pub asked: u32,
}

impl EdgeLoad {
    /// Returns the Pods that the load fills to their target.
    fn in_pods(&self, autoscaling: &Autoscaling) -> f64 {
        let part =
            |load: f64, target: Option<u32>| target.map_or(0.0, |target| load / f64::from(target));
        part(self.viewers, autoscaling.target_viewers)
            .max(part(self.egress_mbps, autoscaling.target_egress_mbps))
    }
}

/// Whether the number of edges follows the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScalingState {
    /// It does.
    #[default]
    Active,
    /// The load needs more edges than are allowed.
    AtMaximum,
    /// Too few Pods respond. Their number stays.
    NoMetrics,
}

/// The autoscaler of one cluster.
#[derive(Clone, Debug)]
pub struct Autoscaler {
    desired: u16,
    /// Higher recommendations within the window: the later, the lower.
    recent: Vec<(Timestamp, u16)>,
    /// The last recommendation.
    last: Option<(Timestamp, u16)>,
    scaled_down: Option<Timestamp>,
    /// Loads in Pods within the last [`RISE_WINDOW`].
    loads: VecDeque<(Timestamp, f64)>,
    misses: u32,
    state: ScalingState,
    event: Option<EventReport>,
}

impl Autoscaler {
    /// Returns an autoscaler that continues from a status, or else from the edges that exist.
    pub fn new(status: Option<&AutoscalingStatus>, existing: u16) -> Self {
        let recent = status.map_or(&[][..], |status| &status.recent);
        Self {
            desired: status.map_or(existing, |status| status.desired_replicas),
            recent: recent
                .iter()
                .map(|item| (item.time.0, item.replicas))
                .collect(),
            last: None,
            scaled_down: status.and_then(|status| Some(status.last_scale_down_time.as_ref()?.0)),
            loads: VecDeque::new(),
            misses: 0,
            state: ScalingState::Active,
            event: None,
        }
    }

    /// Returns the wanted edges.
    pub fn desired(&self, autoscaling: &Autoscaling) -> u16 {
        clamp(self.desired.into(), autoscaling)
    }

    /// Returns whether the number of edges follows the load.
    pub fn state(&self) -> ScalingState {
        self.state
    }

    /// Returns the announced event that matters most.
    pub fn event(&self) -> Option<EventReport> {
        self.event
    }

    /// Returns the status from which another autoscaler continues.
    pub fn status(&self, autoscaling: &Autoscaling) -> AutoscalingStatus {
        let recent = self
            .recent
            .iter()
            .map(|(time, replicas)| RecommendedReplicas {
                replicas: *replicas,
                time: Time(*time),
            });
        AutoscalingStatus {
            desired_replicas: self.desired(autoscaling),
            last_scale_down_time: self.scaled_down.map(Time),
            recent: recent.collect(),
        }
    }

    /// Decides about the wanted edges. `pod_start` is the time from the creation of a Pod until it takes viewers.
    pub fn decide(
        &mut self,
        autoscaling: &Autoscaling,
        load: &EdgeLoad,
        pod_start: Duration,
        now: Timestamp,
    ) {
        let now = whole_seconds(now);
        let events = event_demand(autoscaling, now);
        self.event = events.event;
        self.desired = self
            .desired(autoscaling)
            .max(clamp(events.edges, autoscaling));
        if load.asked == 0 || load.responded.saturating_mul(2) < load.asked {
            self.hold(load, now);
            return;
        }
        self.misses = 0;
        let needed = self.needed(autoscaling, load, pod_start, now);
        self.state = match needed > autoscaling.max_replicas.into() {
            true => ScalingState::AtMaximum,
            false => ScalingState::Active,
        };
        let recommended = clamp(needed.max(events.edges), autoscaling);
        self.remember(autoscaling, recommended, now);
        let highest = self.recent.iter().map(|(_, replicas)| *replicas).max();
        let stable = highest.unwrap_or(0).max(recommended);
        if stable > self.desired {
            self.desired = clamp(stable.into(), autoscaling);
        } else if stable < self.desired {
            self.step_down(autoscaling, stable, now);
        }
    }

    /// Keeps the number of edges, and counts it as recommended.
    fn hold(&mut self, load: &EdgeLoad, now: Timestamp) {
        self.last = Some((now, self.desired));
        self.loads.clear();
        self.misses = if load.asked == 0 {
            0
        } else {
            self.misses.saturating_add(1)
        };
        if self.misses >= MAX_MISSES {
            self.state = ScalingState::NoMetrics;
        }
    }

    /// Returns the edges that the load needs. A Pod that does not respond counts as empty for a scale-up, and as full for a
    /// scale-down.
    fn needed(
        &mut self,
        autoscaling: &Autoscaling,
        load: &EdgeLoad,
        pod_start: Duration,
        now: Timestamp,
    ) -> u32 {
        let buffer = 1.0 + f64::from(autoscaling.buffer_percent) / 100.0;
        let in_pods = load.in_pods(autoscaling);
        let silent = f64::from(load.asked.saturating_sub(load.responded));
        // Otherwise a Pod that responds again would be a rise.
        let estimate = in_pods / f64::from(load.responded) * f64::from(load.asked);
        let rise = self.rise(estimate, now) * pod_start.as_secs_f64();
        let at_least = round_up((in_pods + rise) * buffer);
        let at_most = round_up((in_pods + rise + silent) * buffer);
        u32::from(self.desired).clamp(at_least, at_most)
    }

    /// Returns the Pods a second by which the load rises, 0 for noise.
    fn rise(&mut self, load: f64, now: Timestamp) -> f64 {
        let last = self.loads.back().copied();
        self.loads.push_back((now, load));
        while self
            .loads
            .front()
            .is_some_and(|(at, _)| *at + RISE_WINDOW < now)
        {
            self.loads.pop_front();
        }
        let first = self.loads.front().copied();
        [last, first]
            .into_iter()
            .flatten()
            .filter(|(at, before)| *at < now && load - before > load * NOISE)
            .map(|(at, before)| (load - before) / now.duration_since(at).as_secs_f64())
            .fold(0.0, f64::max)
    }

    /// Keeps the former recommendation when the new one is lower, and drops those that are out of the window. Their times are
    /// rounded up to a tenth of the window: the status changes seldom.
    fn remember(&mut self, autoscaling: &Autoscaling, recommended: u16, now: Timestamp) {
        let window = autoscaling.behavior.scale_down.stabilization_window_seconds;
        // A new leader finds the number of edges that the former one wanted until now.
        let known = self
            .recent
            .iter()
            .any(|(_, replicas)| *replicas >= self.desired);
        let former = self.last.or((!known).then_some((now, self.desired)));
        if let Some((time, replicas)) = former.filter(|(_, former)| *former > recommended) {
            let time = round_up_to(time, i64::from(window / 10).max(1));
            self.recent.retain(|(_, lower)| *lower > replicas);
            self.recent.push((time, replicas));
        }
        let begin = now - Duration::from_secs(window.into());
        self.recent
            .retain(|(time, replicas)| *time > begin && *replicas > recommended);
        self.last = Some((now, recommended));
    }

    fn step_down(&mut self, autoscaling: &Autoscaling, stable: u16, now: Timestamp) {
        let is_early = self
            .scaled_down
            .is_some_and(|last| now < last + STEP_INTERVAL);
        let few = u32::from(self.desired) * TOLERANCE_PERCENT / 100;
        if is_early || u32::from(self.desired.saturating_sub(stable)) <= few {
            return;
        }
        let percent = u32::from(autoscaling.behavior.scale_down.percent_per_minute);
        let step = u16::try_from(u32::from(self.desired) * percent / 100).unwrap_or(u16::MAX);
        self.desired = self.desired.saturating_sub(step.max(1)).max(stable);
        self.scaled_down = Some(now);
    }
}

fn clamp(replicas: u32, autoscaling: &Autoscaling) -> u16 {
    let replicas = u16::try_from(replicas).unwrap_or(u16::MAX);
    // The minimum wins where the API server did not refuse the range.
    replicas
        .min(autoscaling.max_replicas)
        .max(autoscaling.min_replicas)
}

/// Returns the least number of Pods for a load, which a sample may have made absurd.
fn round_up(pods: f64) -> u32 {
    const MAX: f64 = 1_000_000.0;
    // The product of a full Pod with its buffer is not a fraction above it.
    let pods = (pods - 1e-9).ceil();
    if !pods.is_finite() || pods <= 0.0 {
        return 0;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is within the range"
    )]
    let pods = pods.min(MAX) as u32;
    pods
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn round_up_to(time: Timestamp, seconds: i64) -> Timestamp {
    let second = time.as_second();
    let rest = second.rem_euclid(seconds);
    let rounded = if rest == 0 {
        second
    } else {
        second - rest + seconds
    };
    Timestamp::from_second(rounded).unwrap_or(time)
}

#[cfg(test)]
mod tests;
