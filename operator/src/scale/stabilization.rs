//! For how long fewer edges must have been enough before edges retire: a pure function of what was recommended.
//!
//! A fifth of the configured window is enough while the load does not come back. To be wrong costs little, because an edge that
//! retires keeps its viewers and returns at once. A load that comes back soon after it has fallen swings. For the next hour, falls
//! that are about as deep get half as long again as its return took: edges that are to be used again in a moment stay. Where the
//! configured window is too short for that, the edges would wait in vain and retire all the same: falls get the short time again.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use livecluster_api::{Autoscaling, AutoscalingStatus, RecommendedReplicas, StabilizationWindow};

/// The shortest window, as a divisor of the configured one.
const SHORTEST_DIVISOR: u32 = 5;
/// Time for which a window that was learned lasts.
const MEMORY: Duration = Duration::from_secs(3600);
/// Part of the former edges with which a load has come back. One that recovers by less is another load.
const COMES_BACK_AT: f64 = 0.75;
/// Part of the window in force that a return has to justify to prolong its time.
const CONFIRMS_AT: f64 = 0.75;
/// A fall is as deep as a swing up to this multiple of its depth.
const AS_DEEP: f64 = 1.25;
/// Configured windows within which a load that comes back still belongs to the swing.
const LONGEST_SWING: u32 = 2;
/// Seconds to which the time is rounded up until which a window lasts: the status changes seldom.
const MEMORY_GRANULARITY: i64 = 600;

/// The recommendations within the configured window, and what they have shown.
#[derive(Clone, Debug)]
pub(super) struct Stabilization {
    /// Higher recommendations: the later, the lower.
    recent: Vec<(Timestamp, u16)>,
    /// The last recommendation.
    last: Option<(Timestamp, u16)>,
    /// The lowest recommendation since the first of the recent ones.
    lowest: u16,
    /// The last one of the recent ones that left the configured window.
    outlived: Option<Outlived>,
    swing: Option<Swing>,
}

/// A recommendation that was not reached again within the configured window.
#[derive(Clone, Copy, Debug)]
struct Outlived {
    at: Timestamp,
    replicas: u16,
    /// The lowest recommendation since.
    lowest: u16,
}

/// A load that came back soon after it had fallen.
#[derive(Clone, Copy, Debug)]
struct Swing {
    /// Time for which falls that are as deep wait.
    window: Duration,
    /// The part of the edges that was not needed meanwhile.
    depth: f64,
    /// Until when it is remembered.
    until: Timestamp,
}

impl Stabilization {
    /// Returns the recommendations of a status.
    pub(super) fn new(status: Option<&AutoscalingStatus>) -> Self {
        let recent = status.map_or(&[][..], |status| &status.recent);
        let recent = recent.iter().map(|item| (item.time.0, item.replicas));
        let window = status.and_then(|status| status.stabilization_window.as_ref());
        Self {
            recent: recent.collect(),
            last: None,
            lowest: u16::MAX,
            outlived: None,
            swing: window.map(|window| Swing {
                window: Duration::from_secs(window.seconds.into()),
                depth: f64::from(window.percent) / 100.0,
                until: window.until.0,
            }),
        }
    }

    /// Sets what another operator continues from.
    pub(super) fn write_status(&self, status: &mut AutoscalingStatus) {
        let recent = self.recent.iter();
        let recent = recent.map(|(time, replicas)| RecommendedReplicas {
            replicas: *replicas,
            time: Time(*time),
        });
        status.recent = recent.collect();
        status.stabilization_window = self.swing.map(|swing| StabilizationWindow {
            seconds: u16::try_from(swing.window.as_secs()).unwrap_or(u16::MAX),
            percent: percent(swing.depth),
            until: Time(swing.until),
        });
    }

    /// Counts a number of edges as recommended that stays because the load is unknown.
    pub(super) fn hold(&mut self, settled: u16, now: Timestamp) {
        self.last = Some((now, settled));
    }

    /// Adds a recommendation, and returns the highest one within the window in force. `settled` is the number of edges.
    pub(super) fn recommend(
        &mut self,
        autoscaling: &Autoscaling,
        recommended: u16,
        settled: u16,
        now: Timestamp,
    ) -> u16 {
        self.learn(autoscaling, recommended, now);
        self.unlearn(autoscaling, recommended, now);
        self.remember(autoscaling, recommended, settled, now);
        let highest = |window: Duration| {
            let within = self.recent.iter().filter(|(time, _)| *time > now - window);
            let highest = within.map(|(_, replicas)| *replicas).max();
            highest.unwrap_or(0).max(recommended)
        };
        let stable = highest(shortest(autoscaling));
        let Some(swing) = self.swing else {
            return stable;
        };
        let before = highest(swing.window.min(configured(autoscaling)));
        let is_as_deep = f64::from(stable) >= f64::from(before) * (1.0 - swing.depth * AS_DEEP);
        if is_as_deep { before } else { stable }
    }

    /// Learns that a load has come back after this time, during which a part of its edges was not needed. After more than the
    /// configured window it is another load.
    pub(super) fn came_back(
        &mut self,
        autoscaling: &Autoscaling,
        after: Duration,
        depth: f64,
        now: Timestamp,
    ) {
        let window = Duration::from_secs((after * 3 / 2).as_secs()).min(configured(autoscaling));
        let known = self.window();
        if after > configured(autoscaling)
            || window <= shortest(autoscaling)
            || window < known.mul_f64(CONFIRMS_AT)
        {
            return;
        }
        self.swing = Some(Swing {
            window: window.max(known),
            depth: self.swing.map_or(depth, |swing| swing.depth.max(depth)),
            until: round_up_to(now + MEMORY, MEMORY_GRANULARITY),
        });
    }

    /// Returns the time for which falls of a load that swings wait; zero for one that does not.
    pub(super) fn window(&self) -> Duration {
        self.swing.map_or(Duration::ZERO, |swing| swing.window)
    }

    /// Forgets a window whose time is over. Moves what is later than now, by a clock that was set back, to now: it would last
    /// for as long otherwise.
    pub(super) fn follow_clock(&mut self, autoscaling: &Autoscaling, now: Timestamp) {
        let latest = round_up_to(now, granularity(autoscaling));
        for (time, _) in &mut self.recent {
            *time = (*time).min(latest);
        }
        self.last = self.last.map(|(time, replicas)| (time.min(now), replicas));
        let latest = round_up_to(now + MEMORY, MEMORY_GRANULARITY);
        self.swing = self.swing.filter(|swing| now < swing.until);
        if let Some(swing) = &mut self.swing {
            swing.until = swing.until.min(latest);
        }
    }

    /// Learns from a recommendation that is higher than the one before.
    fn learn(&mut self, autoscaling: &Autoscaling, recommended: u16, now: Timestamp) {
        if self.last.is_none_or(|(_, last)| recommended <= last) {
            return;
        }
        // The last time at which as many were recommended, or nearly as many.
        let lower = self
            .recent
            .partition_point(|(_, replicas)| *replicas >= recommended);
        let former = self.recent.get(lower.saturating_sub(1));
        if let Some((time, replicas)) = former.copied() {
            let (low, high) = (recommended.min(replicas), recommended.max(replicas));
            if f64::from(low) >= f64::from(high) * COMES_BACK_AT {
                let after = now.duration_since(time.min(now)).unsigned_abs();
                let depth = 1.0 - f64::from(self.lowest.min(high)) / f64::from(high);
                self.came_back(autoscaling, after, depth, now);
            }
        }
    }

    /// Lets the falls of a swing whose load comes back after more than the configured window wait no longer than others.
    fn unlearn(&mut self, autoscaling: &Autoscaling, recommended: u16, now: Timestamp) {
        let Some(outlived) = self.outlived.filter(|it| it.replicas <= recommended) else {
            return;
        };
        self.outlived = None;
        let depth = 1.0 - f64::from(outlived.lowest) / f64::from(outlived.replicas.max(1));
        let is_late = now > outlived.at + configured(autoscaling) * LONGEST_SWING;
        if let Some(swing) = self.swing.as_mut().filter(|_| !is_late)
            && depth <= swing.depth * AS_DEEP
        {
            swing.depth = 0.0;
        }
    }

    /// Keeps the former recommendation when the new one is lower, and drops those that are out of the configured window. Their
    /// times are rounded up: the status changes seldom.
    fn remember(
        &mut self,
        autoscaling: &Autoscaling,
        recommended: u16,
        settled: u16,
        now: Timestamp,
    ) {
        // A new leader finds the number of edges that the former one wanted until now.
        let known = self.recent.iter().any(|(_, replicas)| *replicas >= settled);
        let former = self.last.or((!known).then_some((now, settled)));
        if let Some((time, replicas)) = former.filter(|(_, former)| *former > recommended) {
            let time = round_up_to(time, granularity(autoscaling));
            self.recent.retain(|(_, lower)| *lower > replicas);
            // A higher one of the same time lasts as long.
            if self.recent.last().is_none_or(|(last, _)| *last < time) {
                self.recent.push((time, replicas));
            }
        }
        let begin = now - configured(autoscaling);
        let outlived = self.recent.iter().rfind(|(time, _)| *time <= begin);
        let outlived = outlived.map(|(at, replicas)| Outlived {
            at: *at,
            replicas: *replicas,
            lowest: self.lowest,
        });
        self.outlived = outlived.or(self.outlived);
        if let Some(outlived) = &mut self.outlived {
            outlived.lowest = outlived.lowest.min(recommended);
        }
        self.recent
            .retain(|(time, replicas)| *time > begin && *replicas > recommended);
        self.lowest = if self.recent.is_empty() {
            recommended
        } else {
            self.lowest.min(recommended)
        };
        self.last = Some((now, recommended));
    }
}

fn configured(autoscaling: &Autoscaling) -> Duration {
    let seconds = autoscaling.behavior.scale_down.stabilization_window_seconds;
    Duration::from_secs(seconds.into())
}

fn shortest(autoscaling: &Autoscaling) -> Duration {
    configured(autoscaling) / SHORTEST_DIVISOR
}

/// Returns the seconds to which the times of recommendations are rounded: a sixth of the shortest window.
fn granularity(autoscaling: &Autoscaling) -> i64 {
    let window = autoscaling.behavior.scale_down.stabilization_window_seconds;
    i64::from(window / 30).max(1)
}

/// Returns a part as whole percents, rounded up.
fn percent(part: f64) -> u16 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is a part of one"
    )]
    let percent = (part.clamp(0.0, 1.0) * 100.0).ceil() as u16;
    percent
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
