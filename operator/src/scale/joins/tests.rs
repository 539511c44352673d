//! Viewers who stay join simulated edges at random, as through a Service, second by second.

use livecluster_api::LiveClusterSpec;
use serde_json::{Value, json};

use super::*;
use crate::scale::capacity::EdgeCapacity;

/// Seconds between two scrapes.
const INTERVAL: u32 = 5;
/// Seconds from a scrape until every node knows the new endpoints of the Service.
const DELAY: u32 = 2;

fn spec(edges: Value) -> LiveClusterSpec {
    serde_json::from_value(json!({ "edges": edges })).unwrap()
}

/// Edges whose viewers stay.
struct Simulation {
    capacity: EdgeCapacity,
    edges: Vec<SimulatedEdge>,
    second: u32,
    plays: u32,
    plays_before: u32,
    /// Decided at the last scrape, and not in force yet.
    full: BTreeSet<String>,
    works: bool,
    random: u64,
    changes: usize,
}

#[derive(Clone)]
struct SimulatedEdge {
    uid: String,
    viewers: u32,
    is_open: bool,
    responds: bool,
}

impl Simulation {
    fn new(edges: Value, viewers: &[u32]) -> Self {
        let mut simulation = Self {
            capacity: EdgeCapacity::of(&spec(edges)),
            edges: Vec::new(),
            second: 0,
            plays: 0,
            plays_before: 0,
            full: BTreeSet::new(),
            works: true,
            random: 7,
            changes: 0,
        };
        viewers.iter().for_each(|viewers| simulation.add(*viewers));
        simulation
    }

    fn add(&mut self, viewers: u32) {
        self.edges.push(SimulatedEdge {
            uid: format!("{}-{}", self.second, self.edges.len()),
            viewers,
            is_open: true,
            responds: true,
        });
    }

    /// Lets so many viewers a second come and so many leave, for some seconds.
    fn run(&mut self, seconds: u32, coming: u32, leaving: u32) {
        for _ in 0..seconds {
            if self.second.is_multiple_of(INTERVAL) && self.works {
                self.decide();
            }
            if self.second % INTERVAL == DELAY && self.works {
                self.apply();
            }
            for _ in 0..coming {
                self.join();
            }
            for _ in 0..leaving {
                self.leave();
            }
            self.second += 1;
        }
    }

    fn fleet(&self) -> JoinFleet {
        let edges = self.edges.iter().map(|edge| JoinEdge {
            uid: edge.uid.clone(),
            node: String::new(),
            is_full: !edge.is_open,
            load: edge
                .responds
                .then(|| self.capacity.load(edge.viewers.into(), 0.0)),
        });
        JoinFleet {
            edges: edges.collect(),
            plays_per_second: f64::from(self.plays - self.plays_before) / f64::from(INTERVAL),
            returning: 0.0,
            is_local: false,
        }
    }

    fn decide(&mut self) {
        self.full = full_edges(&self.fleet());
        self.plays_before = self.plays;
    }

    fn apply(&mut self) {
        for edge in &mut self.edges {
            let is_open = !self.full.contains(&edge.uid);
            self.changes += usize::from(edge.is_open != is_open);
            edge.is_open = is_open;
        }
        assert!(self.open() > 0);
    }

    fn open(&self) -> usize {
        self.edges.iter().filter(|edge| edge.is_open).count()
    }

    fn join(&mut self) {
        let chosen = self.random(self.open());
        let mut open = self.edges.iter_mut().filter(|edge| edge.is_open);
        open.nth(chosen).unwrap().viewers += 1;
        self.plays += 1;
    }

    /// Any viewer leaves with the same probability.
    fn leave(&mut self) {
        let viewers: Vec<usize> = self
            .edges
            .iter()
            .map(|edge| usize::try_from(edge.viewers).unwrap())
            .collect();
        let mut chosen = self.random(viewers.iter().sum());
        for (edge, viewers) in self.edges.iter_mut().zip(viewers) {
            if chosen < viewers {
                edge.viewers -= 1;
                return;
            }
            chosen -= viewers;
        }
    }

    fn random(&mut self, below: usize) -> usize {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap() % below
    }

    fn viewers(&self) -> Vec<u32> {
        self.edges.iter().map(|edge| edge.viewers).collect()
    }

    /// Returns the viewers of the fullest edge as a part of the mean.
    fn skew(&self) -> f64 {
        let viewers = self.viewers();
        let largest = viewers.iter().max().copied().unwrap();
        let mean = f64::from(viewers.iter().sum::<u32>()) / as_f64(viewers.len());
        f64::from(largest) / mean
    }
}

#[test]
fn viewers_who_come_after_a_scale_up_even_out_the_edges_within_a_minute() {
    for (old, coming) in [(50, 3), (100, 4), (1000, 50), (40, 20)] {
        let mut simulation = Simulation::new(json!({}), &[old, old]);
        simulation.run(30, coming, 0);
        simulation.add(0);
        simulation.add(0);
        simulation.run(60, coming, 0);
        let skew = simulation.skew();
        assert!(skew <= 1.2, "{skew}: {:?}", simulation.viewers());
    }
}

#[test]
fn joins_beside_viewers_who_stay_even_out_added_edges_within_a_minute() {
    // 120 viewers stay on two edges. Some are added, and 420 viewers come.
    for added in 1..=6 {
        let mut simulation = Simulation::new(json!({}), &[60, 60]);
        (0..added).for_each(|_| simulation.add(0));
        simulation.run(60, 7, 0);
        let skew = simulation.skew();
        assert!(skew <= 1.2, "{added}: {skew}: {:?}", simulation.viewers());
    }
}

#[test]
fn viewers_who_come_and_go_keep_the_edges_even_with_few_changes() {
    let mut simulation = Simulation::new(json!({}), &[200; 6]);
    let mut skews = Vec::new();
    for _ in 0..120 {
        simulation.run(30, 4, 4);
        skews.push(simulation.skew());
    }
    let worst = skews.iter().copied().fold(0.0, f64::max);
    assert!(worst <= 1.2, "{worst}");
    // In an hour.
    assert!(simulation.changes <= 120, "{} changes", simulation.changes);
}

#[test]
fn edge_at_its_target_takes_no_viewers_while_another_has_room() {
    let autoscaling = json!({"autoscaling": {"maxReplicas": 9, "targetViewers": 100}});
    let mut simulation = Simulation::new(autoscaling, &[100, 96, 104, 98, 97, 99, 101, 102, 95]);
    simulation.run(7, 1, 0);
    let before = simulation.viewers();
    simulation.run(15, 1, 0);
    for (after, before) in simulation.viewers().into_iter().zip(before) {
        assert!(before < 100 || after == before, "{before} -> {after}");
    }
    // All are at their target: each takes its part.
    simulation.run(300, 1, 0);
    assert_eq!(simulation.open(), 9);
    assert!(simulation.skew() <= 1.2, "{:?}", simulation.viewers());
}

#[test]
fn flash_crowd_does_not_meet_one_open_edge() {
    let autoscaling = json!({"autoscaling": {"maxReplicas": 30, "targetViewers": 500}});
    let mut simulation = Simulation::new(autoscaling, &[500; 20]);
    simulation.run(10, 2, 0);
    simulation.add(0);
    simulation.run(20, 2, 0);
    assert_eq!(simulation.open(), 1);
    simulation.run(60, 800, 0);
    let worst = simulation.viewers().into_iter().max().unwrap();
    // Those of the first seconds, until the new rate is known and in force.
    assert!(worst < 800 * 10, "{:?}", simulation.viewers());
    assert!(simulation.open() > 1);
}

#[test]
fn open_edges_have_room_until_the_next_operator_leads() {
    let mut simulation = Simulation::new(json!({}), &[100, 100, 100, 0]);
    simulation.run(20, 5, 0);
    simulation.works = false;
    simulation.run(30, 5, 0);
    assert!(simulation.skew() <= 1.3, "{:?}", simulation.viewers());
    simulation.works = true;
    simulation.run(30, 5, 0);
    assert!(simulation.skew() <= 1.2, "{:?}", simulation.viewers());
}

#[test]
fn pods_that_come_and_go_leave_an_edge_open() {
    let mut simulation = Simulation::new(json!({}), &[100, 100, 0, 0]);
    simulation.run(10, 3, 0);
    assert_eq!(simulation.open(), 2);
    // The open ones are lost with their node. The operator notices it before the next scrape.
    simulation.edges.truncate(2);
    simulation.decide();
    simulation.apply();
    assert!(simulation.open() > 0);
    simulation.add(0);
    simulation.run(60, 3, 0);
    assert!(simulation.skew() <= 1.2, "{:?}", simulation.viewers());
}

#[test]
fn silent_edge_is_open_and_is_not_the_only_one() {
    let mut simulation = Simulation::new(json!({}), &[100, 100, 0]);
    simulation.run(10, 1, 0);
    assert_eq!(simulation.open(), 1);
    simulation.edges[2].responds = false;
    simulation.run(10, 1, 0);
    assert!(simulation.open() >= 2);
    assert!(simulation.edges[2].is_open);
}

#[test]
fn without_responses_all_edges_are_open() {
    let mut simulation = Simulation::new(json!({}), &[100, 100, 0, 0]);
    simulation.run(10, 1, 0);
    assert_eq!(simulation.open(), 2);
    for edge in &mut simulation.edges[..3] {
        edge.responds = false;
    }
    simulation.run(10, 1, 0);
    assert_eq!(simulation.open(), 4);
}

#[test]
fn nothing_changes_without_new_viewers() {
    let mut simulation = Simulation::new(json!({}), &[100, 0]);
    simulation.run(60, 0, 0);
    assert_eq!(simulation.changes, 0);
}

#[test]
fn viewers_of_a_terminating_edge_come_to_the_emptier_ones() {
    let simulation = Simulation::new(json!({}), &[97, 100, 0, 10]);
    let mut fleet = simulation.fleet();
    assert_eq!(full_edges(&fleet).len(), 0);
    fleet.returning = 190.0;
    let full = full_edges(&fleet);
    assert_eq!(full.into_iter().collect::<Vec<_>>(), ["0-0", "0-1"]);
    // More than the emptier ones have room for.
    fleet.returning = 1_000.0;
    assert_eq!(full_edges(&fleet).len(), 0);
}

#[test]
fn each_node_keeps_an_open_edge_where_clients_reach_no_other() {
    let local = json!({"service": {"type": "NodePort", "externalTrafficPolicy": "Local"}});
    let mut simulation = Simulation::new(local, &[100, 90, 0, 0]);
    simulation.run(5, 1, 0);
    let mut fleet = simulation.fleet();
    assert_eq!(full_edges(&fleet).len(), 2);
    for (edge, node) in fleet.edges.iter_mut().zip(["a", "b", "b", "c"]) {
        edge.node = node.to_owned();
    }
    fleet.is_local = true;
    assert!(simulation.capacity.is_local);
    let full = full_edges(&fleet);
    assert_eq!(full.len(), 1, "{full:?}");
    assert!(full.contains(&fleet.edges[1].uid));
}
