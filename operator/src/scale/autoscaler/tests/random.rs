//! Random traces from fixed seeds, and what a cluster that fails in part looks like.

use super::*;

/// Numbers that look random (xorshift).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Returns a number from 0 to 1.
    fn part(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// Returns a number from -1 to 1.
    fn signed(&mut self) -> f64 {
        self.part() * 2.0 - 1.0
    }
}

/// A walk: viewers come or go at a rate that changes every five minutes, with noise from second to second.
pub(super) fn walk(seed: u64, seconds: i64, per_minute: f64, mut step: impl FnMut(f64)) {
    let mut random = Random::new(seed);
    let (mut load, mut rate) = (10_000.0_f64, 0.0);
    for second in 0..seconds {
        if second % 300 == 0 {
            rate = random.signed() * per_minute / 60.0;
        }
        load = (load * (1.0 + rate)).clamp(3_000.0, 200_000.0);
        step(load * (1.0 + 0.005 * random.signed()));
    }
}

#[test]
fn random_walks_are_followed_closely_without_flapping() {
    for seed in 0..20 {
        let hours = 12;
        let mut simulation = Simulation::new(1000, 22);
        walk(seed, hours * 3600, 0.02, |load| simulation.step(load));
        simulation.assert_never_short();
        simulation.assert_not_wasteful();
        let turns = i64::from(simulation.turns);
        assert!(turns <= hours * 4, "seed {seed}: {turns} turns");
    }
}

#[test]
fn second_flash_crowd_finds_the_edges_of_the_first_or_gets_them_as_fast() {
    for pause in [120, 600, 1800] {
        let mut simulation = Simulation::new(1000, 2);
        simulation.run(600, |_| 800.0);
        for _ in 0..2 {
            simulation.run(60, |second| 800.0 + 820.0 * seconds(second));
            simulation.run(900, |_| 50_000.0);
            simulation.run(60, |second| 50_000.0 - 820.0 * seconds(second));
            simulation.run(pause, |_| 800.0);
        }
        simulation.assert_never_short();
        assert!(simulation.turns <= 3, "{} turns", simulation.turns);
    }
}

#[test]
fn slow_leak_of_viewers_is_followed_down_without_a_turn() {
    let mut simulation = Simulation::new(1000, 60);
    let hours = 12.0 * 3600.0;
    simulation.run(12 * 3600, |second| {
        25_000.0 - 20_000.0 * seconds(second) / hours + 50.0 * noise(second)
    });
    simulation.assert_never_short();
    simulation.assert_not_wasteful();
    assert!(simulation.turns <= 1, "{} turns", simulation.turns);
}

/// A thousand edges with the same viewers, of which about half respond each time.
fn half_silent(simulation: &mut Simulation, random: &mut Random, load: f64) {
    let asked = u32::try_from(simulation.pods.len()).unwrap();
    let part = 0.5 + 0.05 * random.part();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is small"
    )]
    let responded = (f64::from(asked) * part).ceil() as u32;
    let known = load * f64::from(responded) / f64::from(asked);
    simulation.second += INTERVAL;
    simulation.decide(&viewers(known, responded, asked));
}

#[test]
fn half_of_a_thousand_edges_do_not_respond_and_their_number_stays() {
    let (mut simulation, mut random) = (Simulation::new(2000, 1000), Random::new(7));
    for _ in 0..2000 {
        half_silent(&mut simulation, &mut random, 450_000.0);
    }
    assert_eq!((simulation.desired(), simulation.turns), (1000, 0));
}

#[test]
fn edges_are_added_for_a_load_that_grows_while_half_of_them_do_not_respond() {
    let (mut simulation, mut random) = (Simulation::new(3000, 1000), Random::new(7));
    for minute in 0..120 {
        let load = 450_000.0 + 5_000.0 * f64::from(minute);
        for _ in 0..12 {
            half_silent(&mut simulation, &mut random, load);
        }
        let capacity = pods(simulation.desired()) * TARGET;
        assert!(capacity >= load * 0.98, "{minute}: {capacity} for {load}");
    }
    assert!(simulation.desired() <= 2600, "{}", simulation.desired());
}

#[test]
fn edges_that_never_become_ready_cause_no_more_of_them() {
    let mut simulation = Simulation::new(1000, 10);
    // A crowd for which edges are added that never start: those that serve stay above their target.
    for _ in 0..2000 {
        simulation.second += INTERVAL;
        simulation.decide(&viewers(9_000.0, 10, 10));
    }
    assert_eq!((simulation.desired(), simulation.turns), (20, 0));
}

#[test]
fn overlapping_events_in_a_crowd_have_the_edges_of_whichever_needs_more() {
    let mut simulation = Simulation::new(1000, 2);
    let event = |starts_at: i64, viewers: u32| AnnouncedEvent {
        starts_at: at(starts_at).to_string(),
        duration: "1h".to_owned(),
        viewers,
    };
    simulation.autoscaling.events =
        vec![event(3600, 10_000), event(5400, 10_000), event(5400, 5_000)];
    simulation.run(3600, |_| 800.0);
    assert_eq!(simulation.desired(), 22);
    simulation.run(1800, |_| 9_000.0);
    assert_eq!(simulation.desired(), 55);
    // More come than were announced.
    simulation.run(1800, |_| 40_000.0);
    assert_eq!(simulation.desired(), 88);
    simulation.assert_never_short();
    simulation.run(7200, |_| 800.0);
    assert_eq!((simulation.desired(), simulation.turns), (2, 1));
}
