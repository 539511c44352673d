//! Traces that a scaler dislikes: waves, teeth, swings about a threshold, slow Pods, odd clocks and odd specs.

use super::*;

/// A wave about a mean, with a bit of noise.
fn wave(mean: f64, amplitude: f64, period: f64) -> impl Fn(i64) -> f64 {
    move |second| {
        let phase = (seconds(second) / period * std::f64::consts::TAU).sin();
        mean * (1.0 + amplitude * phase + 0.005 * noise(second))
    }
}

#[test]
fn load_about_a_threshold_does_not_flap() {
    // 4,545 viewers need 10 edges, one more needs 11.
    for (amplitude, period) in [(0.0, 1.0), (0.01, 120.0), (0.01, 900.0), (0.01, 7200.0)] {
        let mut simulation = Simulation::new(100, 10);
        simulation.run(12 * 3600, wave(4_545.0, amplitude, period));
        assert!(
            simulation.turns <= 1,
            "{} turns at {period}",
            simulation.turns
        );
        simulation.assert_never_short();
    }
}

#[test]
fn jump_does_not_cause_a_multiple_of_the_edges_for_long() {
    let mut simulation = Simulation::new(1000, 2);
    simulation.run(600, |_| 900.0);
    simulation.run(40, |_| 20_000.0);
    assert_eq!(simulation.desired(), 44);
    simulation.run(3000, |_| 20_000.0);
    simulation.assert_never_short();
    simulation.assert_not_wasteful();
}

#[test]
fn teeth_cause_no_edges_beyond_their_peak() {
    let tooth = |second: i64| 4_000.0 + 8_000.0 * seconds(second % 180) / 180.0;
    let mut simulation = Simulation::new(1000, 30);
    simulation.run(900, tooth);
    let (turns, desired) = (simulation.turns, simulation.desired());
    simulation.run(4 * 3600, tooth);
    assert_eq!((simulation.turns, simulation.desired()), (turns, desired));
    assert!(desired <= 28, "{desired}");
    simulation.assert_never_short();
}

#[test]
fn jumps_up_and_down_add_edges_once() {
    // Every 40 seconds, by half of the viewers.
    let jump = |second: i64| {
        let half = if second / 20 % 2 == 0 { 0.5 } else { 1.0 };
        10_000.0 * half * (1.0 + 0.01 * noise(second))
    };
    let mut simulation = Simulation::new(1000, 23);
    simulation.run(2 * 3600, jump);
    assert!(simulation.turns <= 2, "{} turns", simulation.turns);
    assert!(
        (22..=24).contains(&simulation.desired()),
        "{}",
        simulation.desired()
    );
}

#[test]
fn slow_pods_are_added_ahead_of_slow_and_fast_rises() {
    for (pod_start, minutes) in [(15, 10), (60, 10), (60, 30), (60, 120), (115, 60)] {
        let mut simulation = Simulation::new(1000, 4);
        simulation.pod_start = pod_start;
        simulation.run(600, |_| 1_800.0);
        let rise = 48_200.0 / seconds(minutes * 60);
        simulation.run(minutes * 60, |second| 1_800.0 + rise * seconds(second));
        simulation.run(7200, |_| 50_000.0);
        let (longest, limit) = (simulation.longest_short, pod_start + INTERVAL + 1);
        assert!(
            longest <= limit,
            "short for {longest} s, {pod_start} {minutes}"
        );
        simulation.assert_not_wasteful();
    }
}

#[test]
fn short_waves_of_a_day_cost_little() {
    let mut simulation = Simulation::new(1000, 60);
    simulation.run(24 * 3600, wave(25_000.0, 0.3, 4.0 * 3600.0));
    simulation.assert_never_short();
    simulation.assert_not_wasteful();
    assert!(simulation.turns <= 14, "{} turns", simulation.turns);
}

#[test]
fn crowd_that_comes_back_finds_its_edges() {
    let mut simulation = Simulation::new(1000, 2);
    simulation.run(600, |_| 20_000.0);
    simulation.longest_short = 0;
    simulation.run(55, |_| 500.0);
    simulation.run(600, |_| 20_000.0);
    assert_eq!(simulation.longest_short, 0);
    // After a longer time their edges have to start again, at the first time.
    simulation.run(180, |_| 500.0);
    simulation.run(600, |_| 20_000.0);
    simulation.assert_never_short();
    simulation.longest_short = 0;
    for _ in 0..4 {
        simulation.run(240, |_| 500.0);
        simulation.run(700, |_| 20_000.0);
    }
    assert_eq!(simulation.longest_short, 0);
}

#[test]
fn deep_fall_of_a_load_that_swings_a_little_is_followed() {
    let mut simulation = Simulation::new(1000, 22);
    simulation.run(1800, wave(10_000.0, 0.1, 300.0));
    let (turns, window) = (simulation.turns, simulation.learned());
    assert!(window.is_some_and(|window| window.percent < 30));
    simulation.run(1800, wave(10_000.0, 0.1, 300.0));
    assert_eq!(simulation.turns, turns);
    simulation.run(70, |_| 3_000.0);
    assert!(simulation.desired() < 20, "{}", simulation.desired());
    // The swing is forgotten.
    simulation.run(2 * 3600, |_| 3_000.0);
    assert_eq!(simulation.learned(), None);
}

#[test]
fn days_without_viewers_keep_the_minimum_and_no_history() {
    let mut simulation = Simulation::new(100, 2);
    simulation.run(3 * 24 * 3600, |_| 0.0);
    assert_eq!((simulation.desired(), simulation.turns), (2, 0));
    let status = simulation.autoscaler.status(&simulation.autoscaling);
    assert_eq!(status.recent, []);
}

#[test]
fn edges_follow_from_one_to_a_thousand_and_back() {
    let mut simulation = Simulation::new(1000, 2);
    simulation.run(900, |second| 500.0 * seconds(second));
    simulation.run(600, |_| 450_000.0);
    assert!(
        (990..=1000).contains(&simulation.desired()),
        "{}",
        simulation.desired()
    );
    simulation.run(7200, |_| 0.0);
    assert_eq!(simulation.desired(), 2);
    simulation.assert_never_short();
}

#[test]
fn viewers_of_draining_edges_have_room_in_the_others() {
    let mut simulation = Simulation::new(100, 10);
    simulation.run(60, |_| 4_500.0);
    // A rollout: new Pods are empty, and the viewers stay with the old ones until these are removed.
    for _ in 0..400 {
        simulation.second += INTERVAL;
        let mut load = viewers(0.0, 10, 10);
        load.draining.viewers = 4_500.0;
        simulation.decide(&load);
    }
    assert_eq!(simulation.desired(), 10);
}

#[test]
fn changed_target_is_no_rise() {
    let mut simulation = Simulation::new(1000, 11);
    simulation.run(600, |_| 4_900.0);
    simulation.autoscaling.target_viewers = Some(250);
    simulation.run(60, |_| 4_900.0);
    assert_eq!(simulation.desired(), 22);
    simulation.autoscaling.target_viewers = Some(500);
    simulation.run(55, |_| 4_900.0);
    assert_eq!(simulation.desired(), 22);
    simulation.run(600, |_| 4_900.0);
    assert_eq!((simulation.desired(), simulation.turns), (12, 1));
}

#[test]
fn lowered_maximum_and_raised_minimum_hold_at_once() {
    let mut simulation = Simulation::new(100, 2);
    simulation.run(120, |_| 20_000.0);
    simulation.autoscaling.max_replicas = 20;
    assert_eq!(simulation.desired(), 20);
    simulation.run(60, |_| 20_000.0);
    let state = simulation.autoscaler.state();
    assert_eq!((simulation.desired(), state), (20, ScalingState::AtMaximum));
    simulation.autoscaling.max_replicas = 100;
    simulation.run(5, |_| 20_000.0);
    assert_eq!(simulation.desired(), 44);
    simulation.autoscaling.min_replicas = 60;
    assert_eq!(simulation.desired(), 60);
    simulation.autoscaling.max_replicas = 60;
    simulation.run(60, |_| 90_000.0);
    simulation.run(1200, |_| 0.0);
    assert_eq!(simulation.desired(), 60);
}

#[test]
fn buffer_is_kept_from_nothing_to_ten_times_the_load() {
    for (percent, expected) in [(0, 10), (10, 11), (100, 20), (1000, 110)] {
        let mut simulation = Simulation::new(1000, 2);
        simulation.autoscaling.buffer_percent = percent;
        simulation.run(1200, |_| 5_000.0);
        assert_eq!(simulation.desired(), expected, "{percent} %");
    }
}

#[test]
fn clock_that_jumps_neither_loses_edges_nor_keeps_them_for_long() {
    for jump in [-86_400, -600, 600, 86_400] {
        let mut simulation = Simulation::new(100, 2);
        simulation.run(600, |_| 20_000.0);
        simulation.run(30, |_| 5_000.0);
        simulation.second += jump / INTERVAL * INTERVAL;
        simulation.pods.fill(i64::MIN);
        simulation.run(5, |_| 5_000.0);
        assert!(simulation.desired() >= 33, "{jump}");
        simulation.run(900, |_| 5_000.0);
        assert_eq!(simulation.desired(), 12, "{jump}");
        simulation.assert_never_short();
    }
}

#[test]
fn egress_of_a_new_leader_is_no_rise() {
    let egress = parsed(json!({"maxReplicas": 100, "targetEgressMbps": 800}));
    let status = AutoscalingStatus {
        desired_replicas: 11,
        ..AutoscalingStatus::default()
    };
    let mut autoscaler = Autoscaler::new(Some(&status), 2);
    let mut load = viewers(4_000.0, 11, 11);
    load.lacks_egress = true;
    let mut second = 0;
    let mut decide = |load: &EdgeLoad| {
        second += INTERVAL;
        autoscaler.decide(&egress, load, Duration::from_secs(20), at(second));
        autoscaler.desired(&egress)
    };
    assert_eq!(decide(&load), 11);
    load.lacks_egress = false;
    load.serving.egress_mbps = 8_000.0;
    for _ in 0..100 {
        assert_eq!(decide(&load), 11);
    }
}

#[test]
fn leader_that_takes_over_in_a_crowd_goes_on_with_it() {
    let mut simulation = Simulation::new(1000, 2);
    simulation.run(600, |_| 900.0);
    let crowd = |second: i64| seconds(second) * 833.0;
    simulation.run(30, crowd);
    let status = simulation.autoscaler.status(&simulation.autoscaling);
    let desired = simulation.desired();
    simulation.autoscaler = Autoscaler::new(Some(&status), 2);
    assert_eq!(simulation.desired(), desired);
    simulation.run(30, |second| crowd(second + 30));
    simulation.run(3600, |_| 50_000.0);
    simulation.assert_never_short();
}

#[test]
fn every_second_scrape_may_fail_in_a_crowd() {
    let mut simulation = Simulation::new(1000, 20);
    for second in (0..600).step_by(5) {
        simulation.second = second;
        let part = if second / 5 % 2 == 0 { 1.0 } else { 0.6 };
        let asked = u32::try_from(simulation.pods.len()).unwrap();
        let responded = (f64::from(asked) * part).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is small"
        )]
        let load = viewers(
            9_000.0 * responded / f64::from(asked),
            responded as u32,
            asked,
        );
        simulation.decide(&load);
    }
    assert_eq!((simulation.desired(), simulation.turns), (20, 0));
}
