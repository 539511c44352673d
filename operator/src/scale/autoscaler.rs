//! How many edges the load needs. No clock and no client: time and samples come in as arguments.
//!
//! The number grows immediately, also ahead of a load that rises fast. It decreases after fewer edges were enough for a time
//! ([`super::stabilization`]), and then by steps. Edges for a rise that has ended are given up immediately: they have hardly started.
//! Announced events ([`super::events`]) have their edges before their viewers come. Retirement makes a step gentle: no client is
//! cut off, and an edge that is wanted again returns.
//!
//! What it costs with the defaults, as the tests measure it (`tests/figures.rs`): over-provision is the Pods beyond those that the
//! viewers fill at the time, rounded up to whole ones; the buffer of 10 percent counts. A turn is a change of direction. On none of
//! the traces are there more viewers than the edges are meant for, for longer than a Pod takes to start.
//!
//! | trace | over-provision | turns an hour |
//! |---|---|---|
//! | step up, 50,000 viewers in a minute, daily curve, a thousand edges | 10 to 12 % | 0 to 1 |
//! | even fall over 2 hours, a step down, a crowd that leaves slowly, a long tail with teeth | 14 to 18 % | 0.3 to 0.5 |
//! | matches with pauses, concert with an encore, two crowds in 40 minutes, crowds elsewhere during a fall | 13 to 17 % | 0.8 to 3.5 |
//! | news upon news | 23 % | 1.7 |
//! | teeth of 20 minutes, rising and falling; sine of 30 minutes | 15 to 19 % | 4 to 5.8 |
//! | stairs of 2 minutes | 15 % | 1.3 |
//! | weekend, evenings of regions, random walks, noise of 4 percent | 12 to 13 % | 0 to 2 |
//! | outages of 20 seconds and of 3 minutes, in which edges stay without viewers | 22 % | 0.8 |
//! | swings within the window: sine of 5 minutes, flapping every minute, two levels in 9 minutes | 35 to 41 % | 0 to 0.8 |
//! | swings longer than the window: sine of 8 minutes by 30 percent | 26 % | 15 |
//! | average of all | 17 % | |
//!
//! A load that swings by much within the window keeps the edges of its peaks: fewer would turn at each swing. One that swings longer
//! turns at each swing in any case.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use livecluster_api::{Autoscaling, AutoscalingStatus};

use super::events::event_demand;
use super::rise::LoadHistory;
use super::stabilization::Stabilization;

/// Time between two steps down.
const STEP_INTERVAL: Duration = Duration::from_secs(60);
/// Time for which the edges for a rise are kept after the last sample that showed it: viewers come in bursts.
const RISE_HOLD: Duration = Duration::from_secs(20);
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
    /// When edges for a load that rose were given up last.
    ahead_ended: Option<Timestamp>,
    stabilization: Stabilization,
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
        Self {
            settled: status.map_or(existing, |status| status.desired_replicas),
            ahead: None,
            ahead_ended: None,
            stabilization: Stabilization::new(status),
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
        let mut status = AutoscalingStatus {
            desired_replicas: self.desired(autoscaling),
            last_scale_down_time: self.scaled_down.map(Time),
            ..AutoscalingStatus::default()
        };
        self.stabilization.write_status(&mut status);
        status
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
        self.stabilization.hold(self.settled, now);
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
        self.state = if at_least > autoscaling.max_replicas.into() {
            ScalingState::AtMaximum
        } else {
            ScalingState::Active
        };
        let recommended = clamp(needed.max(announced), autoscaling);
        let stable = self
            .stabilization
            .recommend(autoscaling, recommended, self.settled, now);
        if recommended > self.settled {
            self.settled = recommended;
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
            self.expect_rise(autoscaling, edges, now);
        }
        if self.ahead.is_some_and(|(until, _)| until <= now) {
            self.ahead = None;
            self.ahead_ended = Some(now);
        }
    }

    /// Keeps edges for a load that rises. Where one rise follows another, those of the former stay until the next one.
    fn expect_rise(&mut self, autoscaling: &Autoscaling, edges: u16, now: Timestamp) {
        if let Some(ended) = self.ahead_ended.take() {
            let pause = now.duration_since(ended).unsigned_abs();
            self.stabilization.came_back(autoscaling, pause, 0.0, now);
        }
        let hold = RISE_HOLD.max(self.stabilization.window());
        self.ahead = Some((now + hold, edges));
    }

    /// Moves what is later than now, by a clock that was set back, to now: it would last for as long otherwise.
    fn follow_clock(&mut self, autoscaling: &Autoscaling, now: Timestamp) {
        self.stabilization.follow_clock(autoscaling, now);
        self.scaled_down = self.scaled_down.map(|time| time.min(now));
        self.ahead_ended = self.ahead_ended.map(|time| time.min(now));
        let kept_until = now + RISE_HOLD.max(self.stabilization.window());
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

#[cfg(test)]
mod tests;
