//! Autoscaler and retirement together, with viewers who stay where they are until they leave.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use livecluster_api::Autoscaling;
use serde_json::json;

use super::autoscaler::{Autoscaler, EdgeLoad, Load};
use super::retirement::{EdgeFleet, EdgePod, plan};

/// Seconds between two scrapes.
const INTERVAL: i64 = 5;
/// Seconds that a Pod takes to start.
const POD_START: i64 = 15;
const TARGET: f64 = 500.0;
/// Seconds that a viewer stays, on average.
const STAY: f64 = 1800.0;

struct Edge {
    name: String,
    ready_at: i64,
    viewers: f64,
    retiring_since: Option<Timestamp>,
}

struct Simulation {
    autoscaling: Autoscaling,
    autoscaler: Autoscaler,
    edges: Vec<Edge>,
    replicas: i32,
    retire_timeout: Duration,
    second: i64,
    created: u32,
    /// Viewers who were cut off, and come again.
    cut: f64,
    cut_total: f64,
    /// Longest time with more viewers than the edges that serve are meant for.
    short: i64,
    longest_short: i64,
    /// Every number of wanted edges.
    wanted: Vec<u16>,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap()
}

impl Simulation {
    fn new(edges: u32, viewers: f64) -> Self {
        let autoscaling = json!({"minReplicas": 2, "maxReplicas": 1000, "targetViewers": 500});
        let mut simulation = Self {
            autoscaling: serde_json::from_value(autoscaling).unwrap(),
            autoscaler: Autoscaler::new(None, u16::try_from(edges).unwrap()),
            edges: Vec::new(),
            replicas: i32::try_from(edges).unwrap(),
            retire_timeout: Duration::from_secs(3600),
            second: 0,
            created: 0,
            cut: 0.0,
            cut_total: 0.0,
            short: 0,
            longest_short: 0,
            wanted: Vec::new(),
        };
        simulation.create();
        for edge in &mut simulation.edges {
            (edge.ready_at, edge.viewers) = (0, viewers);
        }
        simulation
    }

    fn create(&mut self) {
        while i32::try_from(self.edges.len()).unwrap() < self.replicas {
            self.created += 1;
            self.edges.push(Edge {
                name: format!("edge-{:06}", self.created),
                ready_at: self.second + POD_START,
                viewers: 0.0,
                retiring_since: None,
            });
        }
    }

    fn is_serving(&self, edge: &Edge) -> bool {
        edge.ready_at <= self.second && edge.retiring_since.is_none()
    }

    /// Lets so many viewers a second come, for some seconds.
    fn run(&mut self, seconds: i64, coming: impl Fn(i64) -> f64) {
        for second in 0..seconds {
            let cut = std::mem::take(&mut self.cut);
            let serving: Vec<bool> = self.edges.iter().map(|it| self.is_serving(it)).collect();
            let number = serving.iter().filter(|serves| **serves).count();
            let each = (coming(second) + cut) / f64::from(count(number));
            for (edge, serves) in self.edges.iter_mut().zip(serving) {
                edge.viewers += if serves { each } else { 0.0 };
                edge.viewers -= edge.viewers / STAY;
            }
            self.measure(number);
            if self.second % INTERVAL == 0 {
                self.decide();
            }
            self.second += 1;
        }
    }

    fn measure(&mut self, serving: usize) {
        let viewers = self.viewers(|simulation, edge| simulation.is_serving(edge));
        let capacity = f64::from(count(serving)) * TARGET;
        self.short = if viewers > capacity {
            self.short + 1
        } else {
            0
        };
        self.longest_short = self.longest_short.max(self.short);
    }

    fn viewers(&self, which: impl Fn(&Self, &Edge) -> bool) -> f64 {
        let edges = self.edges.iter().filter(|edge| which(self, edge));
        edges.map(|edge| edge.viewers).sum()
    }

    fn decide(&mut self) {
        let load = |viewers| Load {
            viewers,
            ..Load::default()
        };
        let serving = self.edges.iter().filter(|edge| self.is_serving(edge));
        let asked = count(serving.count());
        let load = EdgeLoad {
            serving: load(self.viewers(Self::is_serving)),
            draining: load(self.viewers(|_, edge| edge.retiring_since.is_some())),
            responded: asked,
            asked,
            lacks_egress: false,
        };
        let lead = Duration::from_secs(20);
        self.autoscaler
            .decide(&self.autoscaling, &load, lead, at(self.second));
        let wanted = self.autoscaler.desired(&self.autoscaling);
        if self.wanted.last() != Some(&wanted) {
            self.wanted.push(wanted);
        }
        self.scale(wanted);
    }

    fn scale(&mut self, wanted: u16) {
        let now = at(self.second);
        let plan = plan(&self.fleet(wanted), now);
        for edge in &mut self.edges {
            if plan.retire.contains(&edge.name) {
                edge.retiring_since = Some(now);
            } else if plan.restore.contains(&edge.name) {
                edge.retiring_since = None;
            }
        }
        let removed = self.viewers(|_, edge| plan.remove.contains(&edge.name));
        self.cut += removed;
        self.cut_total += removed;
        self.edges.retain(|edge| !plan.remove.contains(&edge.name));
        self.replicas = plan.replicas;
        self.create();
    }

    fn fleet(&self, wanted: u16) -> EdgeFleet {
        let pods = self.edges.iter().map(|edge| {
            let is_ready = edge.ready_at <= self.second;
            // A part of a viewer is none.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is small"
            )]
            let clients = edge.viewers as u64;
            EdgePod {
                name: edge.name.clone(),
                is_ready,
                is_running: is_ready,
                retiring_since: edge.retiring_since,
                is_chosen: false,
                clients: is_ready.then_some(clients),
            }
        });
        EdgeFleet {
            wanted: wanted.into(),
            replicas: self.replicas,
            pods: pods.collect(),
            retire_timeout: self.retire_timeout,
            is_rolling: false,
            is_stuck: false,
        }
    }

    /// Changes of direction of the number of wanted edges.
    fn turns(&self) -> usize {
        let ups: Vec<bool> = self
            .wanted
            .windows(2)
            .map(|pair| pair[1] > pair[0])
            .collect();
        ups.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }
}

#[test]
fn viewers_on_retiring_edges_keep_their_place_in_the_others() {
    // 2,500 viewers on edges that are half empty: 6 edges are enough.
    let mut simulation = Simulation::new(10, 250.0);
    simulation.run(6 * 3600, |_| 2_500.0 / STAY);
    assert_eq!(simulation.wanted, [10, 8, 6]);
    assert_eq!(simulation.longest_short, 0);
    assert!(simulation.cut_total < 4.0 * 250.0 * 0.2);
}

#[test]
fn viewers_who_stay_longer_than_their_edge_find_room() {
    let mut simulation = Simulation::new(40, 97.5);
    simulation.retire_timeout = Duration::from_secs(600);
    simulation.run(3 * 3600, |_| 3_900.0 / STAY);
    assert_eq!(simulation.wanted.last(), Some(&9));
    assert_eq!((simulation.turns(), simulation.longest_short), (0, 0));
}

#[test]
fn day_of_viewers_who_stay_costs_few_turns() {
    let mut simulation = Simulation::new(12, 400.0);
    simulation.run(24 * 3600, |second| {
        let day = f64::from(i32::try_from(second).unwrap()) / (24.0 * 3600.0);
        let mean = 26_500.0 - 21_000.0 * (day * std::f64::consts::TAU).cos();
        mean / STAY
    });
    assert!(simulation.turns() <= 3, "{:?}", simulation.wanted);
    assert!(
        simulation.longest_short <= POD_START + INTERVAL + 1,
        "short for {} s",
        simulation.longest_short
    );
    // Of a million viewers of the day, those who stay for an hour on an edge that retires.
    assert!(simulation.cut_total < 6_000.0, "{}", simulation.cut_total);
}
