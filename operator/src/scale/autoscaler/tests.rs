//! Hours of load against simulated edges: never too small for longer than a Pod's start, seldom too large, no flapping.

use livecluster_api::{AnnouncedEvent, StabilizationWindow};
use serde_json::{Value, json};

use super::*;

mod figures;
mod interruptions;
mod random;
mod traces;

/// Time between two scrapes.
const INTERVAL: i64 = 5;
/// Time that a simulated Pod takes to start, unless another one is set.
const POD_START: i64 = 15;
const TARGET: f64 = 500.0;

fn autoscaling(max: u16) -> Autoscaling {
    parsed(json!({"minReplicas": 2, "maxReplicas": max, "targetViewers": 500}))
}

fn parsed(value: Value) -> Autoscaling {
    serde_json::from_value(value).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn viewers(viewers: f64, responded: u32, asked: u32) -> EdgeLoad {
    let serving = Load {
        viewers,
        ..Load::default()
    };
    EdgeLoad {
        serving,
        responded,
        asked,
        ..EdgeLoad::default()
    }
}

/// A cluster whose Pods retire immediately, second by second.
struct Simulation {
    autoscaling: Autoscaling,
    autoscaler: Autoscaler,
    /// Time that a Pod takes to start.
    pod_start: i64,
    /// The second at which each Pod takes viewers.
    pods: Vec<i64>,
    second: i64,
    /// Seconds in a row with more viewers than the Pods are meant for.
    short: i64,
    longest_short: i64,
    /// Sums of viewers, and of those that the Pods are meant for.
    load: f64,
    capacity: f64,
    /// Sums of the Pods that take viewers, and of those that the viewers of the time fill, rounded up to whole ones.
    serving: f64,
    needed: f64,
    /// Changes of direction of the number of Pods.
    turns: u32,
    is_growing: bool,
}

impl Simulation {
    fn new(max: u16, pods: u16) -> Self {
        Self {
            autoscaling: autoscaling(max),
            autoscaler: Autoscaler::new(None, pods),
            pod_start: POD_START,
            pods: vec![0; pods.into()],
            second: 0,
            short: 0,
            longest_short: 0,
            load: 0.0,
            capacity: 0.0,
            serving: 0.0,
            needed: 0.0,
            turns: 0,
            is_growing: true,
        }
    }

    fn desired(&self) -> usize {
        self.autoscaler.desired(&self.autoscaling).into()
    }

    /// Runs for some seconds. `load` is the number of viewers, or the egress where only that is a target, at a second since the begin
    /// of this run.
    fn run(&mut self, seconds: i64, load: impl Fn(i64) -> f64) {
        for second in 0..seconds {
            self.step(load(second));
        }
    }

    fn step(&mut self, load: f64) {
        if self.second % INTERVAL == 0 {
            let asked = u32::try_from(self.ready()).unwrap();
            let mut sample = viewers(load, asked, asked);
            if self.autoscaling.target_viewers.is_none() {
                sample.serving.egress_mbps = load;
                sample.serving.viewers = 0.0;
            }
            self.decide(&sample);
        }
        self.pass(load);
    }

    /// Lets a second pass without a decision.
    fn pass(&mut self, load: f64) {
        let capacity = pods(self.ready()) * TARGET;
        self.load += load;
        self.capacity += capacity;
        self.serving += pods(self.ready());
        let minimum = f64::from(self.autoscaling.min_replicas);
        self.needed += (load / TARGET).ceil().max(minimum);
        self.short = if capacity < load { self.short + 1 } else { 0 };
        self.longest_short = self.longest_short.max(self.short);
        self.second += 1;
    }

    fn ready(&self) -> usize {
        let ready = self.pods.iter().filter(|ready| **ready <= self.second);
        ready.count()
    }

    fn decide(&mut self, load: &EdgeLoad) {
        let before = self.desired();
        // As the operator does: a Pod counts from the scrape after its start on.
        let lead = u64::try_from(self.pod_start + INTERVAL).unwrap();
        let lead = Duration::from_secs(lead);
        self.autoscaler
            .decide(&self.autoscaling, load, lead, at(self.second));
        let after = self.desired();
        if after != before && self.is_growing != (after > before) {
            self.turns += 1;
            self.is_growing = after > before;
        }
        self.pods.sort_unstable();
        self.pods.resize(after, self.second + self.pod_start);
    }

    /// Returns what a load that swings has taught.
    fn learned(&self) -> Option<StabilizationWindow> {
        let status = self.autoscaler.status(&self.autoscaling);
        status.stabilization_window
    }

    fn assert_never_short(&self) {
        let limit = self.pod_start + INTERVAL + 1;
        assert!(
            self.longest_short <= limit,
            "short for {} s",
            self.longest_short
        );
    }

    fn assert_not_wasteful(&self) {
        let waste = self.capacity / self.load - 1.0;
        assert!(waste <= 0.2, "{:.1} % too many", waste * 100.0);
    }
}

fn pods(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

fn seconds(second: i64) -> f64 {
    f64::from(i32::try_from(second).unwrap())
}

/// A number between -1 and 1 that looks random.
fn noise(second: i64) -> f64 {
    let second = f64::from(i32::try_from(second).unwrap());
    ((second * 12.9898).sin() * 43_758.545).fract()
}

#[test]
fn step_up_is_followed_at_once_and_step_down_slowly() {
    let mut simulation = Simulation::new(100, 2);
    simulation.run(600, |_| 900.0);
    simulation.run(3600, |_| 20_000.0);
    assert_eq!(simulation.desired(), 44);
    simulation.assert_never_short();
    simulation.run(55, |_| 5_000.0);
    assert_eq!(simulation.desired(), 44);
    simulation.run(60, |_| 5_000.0);
    assert_eq!(simulation.desired(), 33);
    simulation.run(300, |_| 5_000.0);
    assert_eq!(simulation.desired(), 12);
    assert_eq!(simulation.turns, 1);
    simulation.assert_never_short();
}

#[test]
fn flash_crowd_of_fifty_thousand_in_a_minute_finds_room() {
    let mut simulation = Simulation::new(1000, 2);
    simulation.run(600, |_| 0.0);
    simulation.run(60, |second| {
        f64::from(i32::try_from(second).unwrap()) * 833.0
    });
    simulation.run(7200, |second| 50_000.0 * (1.0 + 0.01 * noise(second)));
    simulation.assert_never_short();
    simulation.assert_not_wasteful();
    assert!(simulation.turns <= 2, "{} turns", simulation.turns);
}

#[test]
fn daily_curve_is_followed_closely() {
    let mut simulation = Simulation::new(1000, 8);
    simulation.run(24 * 3600, |second| {
        let day = f64::from(i32::try_from(second).unwrap()) / (24.0 * 3600.0);
        let curve = 26_500.0 - 23_500.0 * (day * std::f64::consts::TAU).cos();
        curve * (1.0 + 0.01 * noise(second))
    });
    simulation.assert_never_short();
    simulation.assert_not_wasteful();
    assert!(simulation.turns <= 3, "{} turns", simulation.turns);
}

#[test]
fn load_that_swings_does_not_make_the_edges_swing() {
    let mut simulation = Simulation::new(1000, 30);
    let swing = |second: i64| {
        if second / 60 % 2 == 0 {
            12_000.0
        } else {
            8_000.0
        }
    };
    simulation.run(600, swing);
    let turns = simulation.turns;
    simulation.run(4 * 3600, swing);
    assert_eq!(simulation.turns, turns);
    simulation.assert_never_short();
}

#[test]
fn thousand_edges_are_kept_at_their_target() {
    let mut simulation = Simulation::new(1000, 900);
    simulation.run(3600, |second| 440_000.0 * (1.0 + 0.005 * noise(second)));
    simulation.assert_never_short();
    simulation.assert_not_wasteful();
    assert!(
        (968..=1000).contains(&simulation.desired()),
        "{}",
        simulation.desired()
    );
}

#[test]
fn too_few_responses_keep_the_number() {
    let mut simulation = Simulation::new(100, 10);
    simulation.run(60, |_| 4_500.0);
    for _ in 0..200 {
        simulation.second += INTERVAL;
        simulation.decide(&viewers(2_000.0, 4, 10));
    }
    assert_eq!(simulation.desired(), 10);
    assert_eq!(simulation.autoscaler.state(), ScalingState::NoMetrics);
    simulation.second += INTERVAL;
    simulation.decide(&viewers(1_000.0, 10, 10));
    assert_eq!(simulation.autoscaler.state(), ScalingState::Active);
    // The window begins with the first response.
    assert_eq!(simulation.desired(), 10);
}

#[test]
fn silent_edges_count_as_empty_for_more_and_as_full_for_less() {
    let mut simulation = Simulation::new(100, 10);
    for _ in 0..200 {
        simulation.second += INTERVAL;
        simulation.decide(&viewers(2_500.0, 6, 10));
    }
    // 5 Pods of viewers and 4 silent Pods with their buffer.
    assert_eq!(simulation.desired(), 10);
    simulation.second += INTERVAL;
    simulation.decide(&viewers(5_000.0, 6, 10));
    assert!(simulation.desired() >= 11, "{}", simulation.desired());
}

#[test]
fn viewers_of_an_announced_event_find_room_at_once() {
    let mut simulation = Simulation::new(100, 2);
    let starts_at = at(3600).to_string();
    simulation.autoscaling.events = vec![AnnouncedEvent {
        starts_at,
        duration: "1h".to_owned(),
        viewers: 20_000,
    }];
    simulation.run(2990, |_| 800.0);
    assert_eq!(simulation.desired(), 2);
    // No edge responds when its edges are due, and none is lost for that.
    simulation.second += INTERVAL;
    simulation.decide(&viewers(0.0, 0, 2));
    simulation.second = 3005;
    simulation.decide(&viewers(0.0, 0, 2));
    assert_eq!(simulation.desired(), 44);
    simulation.run(595, |_| 800.0);
    // All of them in a second.
    simulation.run(3000, |_| 20_000.0);
    assert_eq!(simulation.longest_short, 0);
    assert_eq!(simulation.desired(), 44);
    // It is over: as few edges as are needed, by steps.
    simulation.run(1800, |_| 800.0);
    assert_eq!(simulation.desired(), 2);
}

#[test]
fn event_that_needs_more_than_the_maximum_gets_the_maximum() {
    let mut simulation = Simulation::new(5, 2);
    simulation.autoscaling.events = vec![AnnouncedEvent {
        starts_at: at(600).to_string(),
        duration: "10m".to_owned(),
        viewers: 20_000,
    }];
    simulation.run(30, |_| 900.0);
    assert_eq!(simulation.desired(), 5);
    assert_eq!(simulation.autoscaler.state(), ScalingState::Active);
}

#[test]
fn minimum_and_maximum_hold() {
    let mut simulation = Simulation::new(5, 3);
    simulation.run(60, |_| 90_000.0);
    assert_eq!(
        (simulation.desired(), simulation.autoscaler.state()),
        (5, ScalingState::AtMaximum)
    );
    simulation.run(1200, |_| 0.0);
    assert_eq!(
        (simulation.desired(), simulation.autoscaler.state()),
        (2, ScalingState::Active)
    );
}

#[test]
fn egress_counts_where_it_needs_more_edges_than_the_viewers() {
    let both = parsed(json!({"maxReplicas": 50, "targetViewers": 500, "targetEgressMbps": 800}));
    let mut autoscaler = Autoscaler::new(None, 2);
    let mut load = viewers(600.0, 2, 2);
    load.serving.egress_mbps = 8_000.0;
    autoscaler.decide(&both, &load, Duration::ZERO, at(0));
    assert_eq!(autoscaler.desired(&both), 11);
}

#[test]
fn absurd_samples_do_not_leave_the_range() {
    for load in [f64::INFINITY, f64::NAN, f64::MAX, -1e300] {
        let mut simulation = Simulation::new(50, 4);
        simulation.decide(&viewers(load, 4, 4));
        assert!(
            (2..=50).contains(&simulation.desired()),
            "{load}: {}",
            simulation.desired()
        );
    }
}

#[test]
fn next_leader_keeps_the_window() {
    let mut simulation = Simulation::new(100, 2);
    simulation.run(600, |_| 20_000.0);
    simulation.run(35, |_| 5_000.0);
    let status = simulation.autoscaler.status(&simulation.autoscaling);
    assert_eq!((status.desired_replicas, status.recent.len()), (44, 1));
    let stored = serde_json::to_value(&status).unwrap();
    let status: AutoscalingStatus = serde_json::from_value(stored).unwrap();
    simulation.autoscaler = Autoscaler::new(Some(&status), 2);
    simulation.run(20, |_| 5_000.0);
    assert_eq!(simulation.desired(), 44);
    simulation.run(60, |_| 5_000.0);
    assert_eq!(simulation.desired(), 33);
}

#[test]
fn leader_of_a_settled_cluster_leaves_a_whole_window_to_the_next_one() {
    let mut simulation = Simulation::new(100, 2);
    simulation.run(1200, |_| 20_000.0);
    let status = simulation.autoscaler.status(&simulation.autoscaling);
    assert_eq!(status.recent, []);
    simulation.run(60, |_| 20_000.0);
    assert_eq!(
        simulation.autoscaler.status(&simulation.autoscaling),
        status
    );
    simulation.autoscaler = Autoscaler::new(Some(&status), 2);
    simulation.run(55, |_| 5_000.0);
    assert_eq!(simulation.desired(), 44);
}
