//! How many edges the load needs. No clock and no client: time and samples come in as arguments.
//!
//! The number grows immediately, also ahead of a load that rises fast. It decreases after fewer edges were enough for the whole
//! stabilization window, and then by steps. Edges for a rise that has ended are given up immediately: they have hardly started.
//! Announced events ([`super::events`]) have their edges before their viewers come. Retirement makes a step gentle: no client is
//! cut off, and an edge that is wanted again returns.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use livecluster_api::{Autoscaling, AutoscalingStatus, RecommendedReplicas};

use super::events::event_demand;
use super::rise::LoadHistory;

/// Time between two steps down.
const STEP_INTERVAL: Duration = Duration::from_secs(60);
/// Time for which the edges for a rise are kept after the last sample that showed it: viewers come in bursts.
const RISE_HOLD: Duration = Duration::from_secs(15);
/// Part of the load that is not worth a scale-down: the next peak would need the edges again.
const TOLERANCE: f64 = 0.03;
/// Decisions without samples after which the condition reports it: one lost round is normal.
const MAX_MISSES: u32 = 3;

/// The load of the edges of a cluster, as sampled at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EdgeLoad {
    /// Load of the edges that take new viewers and responded.
    pub serving: Load,
    /// Load of the edges that drain: their viewers come to the others at the latest when they are removed.
    pub draining: Load,
    /// Edges that take new viewers and responded.
    pub responded: u32,
    /// Edges that take new viewers.
    pub asked: u32,
    /// Whether the egress of no edge is known yet: it is known from the second sample on.
    pub lacks_egress: bool,
}

/// Viewers, and what they are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Viewers.
    pub viewers: f64,
    /// Megabits per second.
    pub egress_mbps: f64,
}

impl EdgeLoad {
    fn is_sufficient(&self, autoscaling: &Autoscaling) -> bool {
        let lacks_egress = self.lacks_egress && autoscaling.target_egress_mbps.is_some();
        self.responded > 0 && self.responded.saturating_mul(2) >= self.asked && !lacks_egress
    }

    /// Returns the load of those that responded and that drain.
    fn known(&self) -> Load {
        self.serving.plus(1.0, self.draining)
    }

    /// Returns the load of all edges, if those that did not respond have as much as the others.
    fn estimated(&self) -> Load {
        let factor = f64::from(self.asked) / f64::from(self.responded);
        self.draining.plus(factor, self.serving)
    }
}

impl Load {
    fn plus(self, factor: f64, other: Self) -> Self {
        Self {
            viewers: self.viewers + factor * other.viewers,
            egress_mbps: self.egress_mbps + factor * other.egress_mbps,
        }
    }

    /// Returns the Pods that the load fills to their target.
    fn in_pods(self, autoscaling: &Autoscaling) -> f64 {
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
    /// Edges for the load as it is, and as it was within the window.
    settled: u16,
    /// Edges for a load that rises, and until when they are kept.
    ahead: Option<(Timestamp, u16)>,
    /// Higher recommendations within the window: the later, the lower.
    recent: Vec<(Timestamp, u16)>,
    /// The last recommendation.
    last: Option<(Timestamp, u16)>,
    scaled_down: Option<Timestamp>,
    history: LoadHistory,
    /// The targets by which the history is measured.
    targets: [Option<u32>; 2],
    misses: u32,
    state: ScalingState,
}

impl Autoscaler {
    /// Returns an autoscaler that continues from a status, or else from the edges that exist.
    pub fn new(status: Option<&AutoscalingStatus>, existing: u16) -> Self {
        let recent = status.map_or(&[][..], |status| &status.recent);
        Self {
            settled: status.map_or(existing, |status| status.desired_replicas),
            ahead: None,
            recent: recent
                .iter()
                .map(|item| (item.time.0, item.replicas))
                .collect(),
            last: None,
            scaled_down: status.and_then(|status| Some(status.last_scale_down_time.as_ref()?.0)),
            history: LoadHistory::default(),
            targets: [None; 2],
            misses: 0,
            state: ScalingState::Active,
        }
    }

    /// Returns the wanted edges.
    pub fn desired(&self, autoscaling: &Autoscaling) -> u16 {
        let ahead = self.ahead.map_or(0, |(_, replicas)| replicas);
        clamp(self.settled.max(ahead).into(), autoscaling)
    }

    /// Returns whether the number of edges follows the load.
    pub fn state(&self) -> ScalingState {
        self.state
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
        self.follow_clock(autoscaling, now);
        let announced = event_demand(autoscaling, now).edges;
        let settled = clamp(self.settled.into(), autoscaling);
        self.settled = settled.max(clamp(announced, autoscaling));
        if load.is_sufficient(autoscaling) {
            self.misses = 0;
            self.follow(autoscaling, load, announced, now);
            self.look_ahead(autoscaling, load, pod_start, now);
        } else {
            self.hold(load, now);
        }
    }

    /// Keeps the number of edges, and counts it as recommended.
    fn hold(&mut self, load: &EdgeLoad, now: Timestamp) {
        self.last = Some((now, self.settled));
        self.history.clear();
        self.misses = if load.asked == 0 {
            0
        } else {
            self.misses.saturating_add(1)
        };
        if self.misses >= MAX_MISSES {
            self.state = ScalingState::NoMetrics;
        }
    }

    /// Follows the load as it is, with the edges that announced events need. A Pod that does not respond counts as empty for a
    /// scale-up, and as full for a scale-down.
    fn follow(
        &mut self,
        autoscaling: &Autoscaling,
        load: &EdgeLoad,
        announced: u32,
        now: Timestamp,
    ) {
        let in_pods = load.known().in_pods(autoscaling);
        let silent = f64::from(load.asked.saturating_sub(load.responded));
        let mut at_least = with_buffer(in_pods, autoscaling);
        if load.serving.in_pods(autoscaling) > f64::from(load.responded) {
            // Silent Pods take no load off those that are above their target.
            at_least = at_least.saturating_add(load.asked.saturating_sub(load.responded));
        }
        let at_most = with_buffer((in_pods + silent) * (1.0 + TOLERANCE), autoscaling);
        let needed = u32::from(self.settled).clamp(at_least, at_most.max(at_least));
        self.state = match at_least > autoscaling.max_replicas.into() {
            true => ScalingState::AtMaximum,
            false => ScalingState::Active,
        };
        let recommended = clamp(needed.max(announced), autoscaling);
        self.remember(autoscaling, recommended, now);
        let highest = self.recent.iter().map(|(_, replicas)| *replicas).max();
        let stable = highest.unwrap_or(0).max(recommended);
        if stable > self.settled {
            self.settled = clamp(stable.into(), autoscaling);
        } else if stable < self.settled {
            self.step_down(autoscaling, stable, now);
        }
    }

    /// Adds the edges that a load that rises will need when they have started.
    fn look_ahead(
        &mut self,
        autoscaling: &Autoscaling,
        load: &EdgeLoad,
        pod_start: Duration,
        now: Timestamp,
    ) {
        let targets = [autoscaling.target_viewers, autoscaling.target_egress_mbps];
        if self.targets != targets {
            self.targets = targets;
            self.history.clear();
        }
        // Otherwise a Pod that responds again would be a rise.
        let estimated = load.estimated().in_pods(autoscaling);
        let rise = self.history.rise(estimated, self.settled, pod_start, now);
        let known = load.known().in_pods(autoscaling);
        let edges = clamp(with_buffer(known + rise, autoscaling), autoscaling);
        let is_kept = |(until, kept): &(Timestamp, u16)| now < *until && *kept > edges;
        if rise > 0.0 && !self.ahead.as_ref().is_some_and(is_kept) {
            self.ahead = Some((now + RISE_HOLD, edges));
        }
        self.ahead = self.ahead.filter(|(until, _)| now < *until);
    }

    /// Keeps the former recommendation when the new one is lower, and drops those that are out of the window. Their times are
    /// rounded up to a tenth of the window: the status changes seldom.
    fn remember(&mut self, autoscaling: &Autoscaling, recommended: u16, now: Timestamp) {
        // A new leader finds the number of edges that the former one wanted until now.
        let known = self
            .recent
            .iter()
            .any(|(_, replicas)| *replicas >= self.settled);
        let former = self.last.or((!known).then_some((now, self.settled)));
        if let Some((time, replicas)) = former.filter(|(_, former)| *former > recommended) {
            let time = round_up_to(time, granularity(autoscaling));
            self.recent.retain(|(_, lower)| *lower > replicas);
            self.recent.push((time, replicas));
        }
        let window = autoscaling.behavior.scale_down.stabilization_window_seconds;
        let begin = now - Duration::from_secs(window.into());
        self.recent
            .retain(|(time, replicas)| *time > begin && *replicas > recommended);
        self.last = Some((now, recommended));
    }

    /// Moves what is later than now, by a clock that was set back, to now: it would last for as long otherwise.
    fn follow_clock(&mut self, autoscaling: &Autoscaling, now: Timestamp) {
        let latest = round_up_to(now, granularity(autoscaling));
        for (time, _) in &mut self.recent {
            *time = (*time).min(latest);
        }
        self.scaled_down = self.scaled_down.map(|time| time.min(now));
        self.last = self.last.map(|(time, replicas)| (time.min(now), replicas));
        let kept_until = now + RISE_HOLD;
        self.ahead = self
            .ahead
            .map(|(until, replicas)| (until.min(kept_until), replicas));
    }

    fn step_down(&mut self, autoscaling: &Autoscaling, stable: u16, now: Timestamp) {
        let is_early = self
            .scaled_down
            .is_some_and(|last| now < last + STEP_INTERVAL);
        if is_early {
            return;
        }
        let percent = u32::from(autoscaling.behavior.scale_down.percent_per_minute);
        let step = u16::try_from(u32::from(self.settled) * percent / 100).unwrap_or(u16::MAX);
        self.settled = self.settled.saturating_sub(step.max(1)).max(stable);
        self.scaled_down = Some(now);
    }
}

/// Returns the seconds to which the times of recommendations are rounded.
fn granularity(autoscaling: &Autoscaling) -> i64 {
    let window = autoscaling.behavior.scale_down.stabilization_window_seconds;
    i64::from(window / 10).max(1)
}

/// Returns the edges for a load in Pods, with the buffer.
fn with_buffer(pods: f64, autoscaling: &Autoscaling) -> u32 {
    round_up(pods * (1.0 + f64::from(autoscaling.buffer_percent) / 100.0))
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
    if pods.is_nan() || pods <= 0.0 {
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
