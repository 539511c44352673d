//! What interrupts the autoscaler in the middle of something: an operator that restarts, an announced event, the maximum, viewers with
//! another bitrate.

use super::*;

/// A load that a cluster has for some hours.
struct Trace {
    name: &'static str,
    /// Edges at its begin.
    edges: u16,
    /// Viewers at a second.
    load: fn(i64) -> f64,
}

const HOURS: i64 = 4;

const TRACES: [Trace; 6] = [
    Trace {
        name: "teeth of 20 minutes",
        edges: 12,
        load: |second| 4_000.0 + 8_000.0 * seconds(second % 1200) / 1200.0,
    },
    Trace {
        name: "steps down and up within the window",
        edges: 23,
        load: |second| {
            if second % 270 < 120 {
                10_000.0
            } else {
                4_000.0
            }
        },
    },
    Trace {
        name: "stairs",
        edges: 3,
        load: |second| {
            let step = (second / 120).min((HOURS * 3600 - second) / 120).min(60);
            1_000.0 * seconds(step + 1)
        },
    },
    Trace {
        name: "two halves of a match",
        edges: 3,
        load: |second| {
            let half = |middle: f64| {
                let distance = (seconds(second) - middle) / 900.0;
                40_000.0 * (-distance * distance).exp()
            };
            1_000.0 + half(4_000.0) + half(9_000.0)
        },
    },
    Trace {
        name: "crowd that leaves slowly",
        edges: 3,
        load: |second| {
            let come = seconds(second.min(90)) / 90.0;
            let left = (-seconds((second - 90).max(0)) / 2400.0).exp();
            (1_000.0 + 60_000.0 * come * left) * (1.0 + 0.01 * noise(second))
        },
    },
    Trace {
        name: "noise of 4 percent",
        edges: 23,
        load: |second| 10_000.0 * (1.0 + 0.04 * noise(second)),
    },
];

impl Simulation {
    /// Replaces the operator. The next one continues from the status.
    fn restart(&mut self) {
        let status = serde_json::to_value(self.autoscaler.status(&self.autoscaling)).unwrap();
        let status: AutoscalingStatus = serde_json::from_value(status).unwrap();
        let existing = u16::try_from(self.pods.len()).unwrap();
        self.autoscaler = Autoscaler::new(Some(&status), existing);
    }

    /// Runs for some seconds without an operator.
    fn run_alone(&mut self, from: i64, to: i64, load: impl Fn(i64) -> f64) {
        for second in from..to {
            self.pass(load(second));
        }
    }
}

/// Runs a trace. Every so many seconds the operator ends, and another one starts after a pause.
fn run(trace: &Trace, every: i64, pause: i64) -> Simulation {
    let mut simulation = Simulation::new(1000, trace.edges);
    let mut second = 0;
    while second < HOURS * 3600 {
        if second > 0 && second % every == 0 {
            simulation.run_alone(second, second + pause, trace.load);
            second += pause;
            simulation.restart();
        }
        simulation.step((trace.load)(second));
        second += 1;
    }
    simulation
}

fn waste(simulation: &Simulation) -> f64 {
    simulation.capacity / simulation.load - 1.0
}

#[test]
fn operators_that_end_in_the_middle_of_anything_change_little() {
    for trace in &TRACES {
        let plain = run(trace, i64::MAX, 0);
        plain.assert_never_short();
        for (every, pause) in [(250, 0), (600, 20), (900, 60)] {
            let restarted = run(trace, every, pause);
            let what = format!("{}, every {every} s", trace.name);
            let limit = POD_START + INTERVAL + 1 + pause;
            let short = restarted.longest_short;
            assert!(short <= limit, "{what}: short for {short} s");
            // An operator that starts does not know what rose before.
            let restarts = u32::try_from(HOURS * 3600 / every).unwrap();
            let (turns, most) = (restarted.turns, plain.turns + 1 + restarts / 4);
            assert!(turns <= most, "{what}: {turns} turns, {most} at most");
            let (waste, most) = (waste(&restarted), waste(&plain) + 0.1);
            assert!(waste <= most, "{what}: {waste} too many, {most} at most");
        }
    }
}

#[test]
fn event_that_is_announced_while_edges_retire_has_its_edges_at_once() {
    let mut simulation = Simulation::new(100, 2);
    simulation.run(600, |_| 20_000.0);
    simulation.run(200, |_| 800.0);
    let retired = simulation.desired();
    assert!((10..40).contains(&retired), "{retired}");
    let starts_at = simulation.second + 120;
    simulation.autoscaling.events = vec![AnnouncedEvent {
        starts_at: at(starts_at).to_string(),
        duration: "30m".to_owned(),
        viewers: 15_000,
    }];
    simulation.run(5, |_| 800.0);
    assert_eq!(simulation.desired(), 33);
    simulation.longest_short = 0;
    simulation.run(115, |_| 800.0);
    simulation.restart();
    simulation.run(1200, |_| 15_000.0);
    assert_eq!((simulation.longest_short, simulation.desired()), (0, 33));
    // It is withdrawn before its end, and its viewers leave.
    simulation.autoscaling.events.clear();
    simulation.run(1500, |_| 800.0);
    assert_eq!(simulation.desired(), 2);
}

#[test]
fn maximum_is_kept_through_a_restart_and_left_within_the_window() {
    let mut simulation = Simulation::new(20, 2);
    simulation.run(300, |second| 200.0 * seconds(second));
    for _ in 0..3 {
        simulation.restart();
        simulation.run(60, |_| 60_000.0);
        let state = simulation.autoscaler.state();
        assert_eq!((simulation.desired(), state), (20, ScalingState::AtMaximum));
    }
    simulation.run(5, |_| 5_000.0);
    simulation.restart();
    simulation.run(50, |_| 5_000.0);
    let state = simulation.autoscaler.state();
    assert_eq!((simulation.desired(), state), (20, ScalingState::Active));
    simulation.run(600, |_| 5_000.0);
    assert_eq!(simulation.desired(), 12);
}

#[test]
fn few_viewers_with_a_high_bitrate_get_their_edges() {
    let egress = json!({"minReplicas": 2, "maxReplicas": 200, "targetEgressMbps": 500});
    let mut simulation = Simulation::new(200, 18);
    simulation.autoscaling = parsed(egress);
    // 8,000 viewers of 1 Mbit/s; then 800 of 16 Mbit/s come in two minutes, stay for an hour, and leave.
    let few = |second: i64| 16.0 * 800.0 * (seconds(second) / 120.0).clamp(0.0, 1.0);
    simulation.run(600, |_| 8_000.0);
    simulation.run(3600, |second| {
        (8_000.0 + few(second)) * (1.0 + 0.02 * noise(second))
    });
    assert!((46..=48).contains(&simulation.desired()));
    simulation.run(3600, |second| 8_000.0 + few(120 - second));
    assert!((18..=19).contains(&simulation.desired()));
    simulation.assert_never_short();
    simulation.assert_not_wasteful();
    assert!(simulation.turns <= 2, "{} turns", simulation.turns);
}
