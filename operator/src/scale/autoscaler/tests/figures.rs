//! What the autoscaler costs on traces of hours: the figures in its documentation.
//!
//! Over-provision is the Pods that took viewers beyond those that the viewers of the time filled, rounded up to whole ones and at
//! least the minimum, over the whole trace. The buffer of 10 percent counts as over-provision.

use super::*;

mod crowds;

/// A load that a cluster has for some hours.
struct Trace {
    name: &'static str,
    hours: i64,
    /// Viewers at a second.
    load: Box<dyn Fn(i64) -> f64>,
    /// Turns in an hour at most.
    turns: f64,
    /// Most over-provision, in percent.
    percent: f64,
}

impl Trace {
    fn new(
        name: &'static str,
        hours: i64,
        turns: f64,
        percent: f64,
        load: impl Fn(i64) -> f64 + 'static,
    ) -> Self {
        Self {
            name,
            hours,
            load: Box::new(load),
            turns,
            percent,
        }
    }

    fn run(&self) -> Simulation {
        let first = (self.load)(0) / TARGET * 1.1;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is small"
        )]
        let mut simulation = Simulation::new(1000, first.ceil().max(2.0) as u16);
        simulation.run(self.hours * 3600, &self.load);
        simulation
    }
}

/// Returns a number that goes from 0 to 1 while the second goes from one to another, evenly at its ends.
fn ramp(second: i64, from: i64, to: i64) -> f64 {
    let part = (seconds(second - from) / seconds(to - from)).clamp(0.0, 1.0);
    (1.0 - (part * std::f64::consts::PI).cos()) / 2.0
}

fn sine(second: i64, period: i64) -> f64 {
    (seconds(second) / seconds(period) * std::f64::consts::TAU).sin()
}

fn noisy(load: f64, second: i64) -> f64 {
    load * (1.0 + 0.01 * noise(second))
}

/// Two days with a peak at noon and a higher one in the evening.
fn weekend(second: i64) -> f64 {
    let hour = seconds(second % 86_400) / 3600.0;
    let peak = |at: f64, width: f64| (-((hour - at) / width).powi(2)).exp();
    noisy(
        1_500.0 + 12_000.0 * peak(13.0, 2.5) + 30_000.0 * peak(20.5, 1.8),
        second,
    )
}

/// A crowd that comes within twenty minutes, stays for two hours except a third that is away for a pause, and leaves.
fn game(second: i64) -> f64 {
    let here = ramp(second, 1800, 3000) - ramp(second, 10_200, 11_400);
    let away = ramp(second, 6000, 6240) - ramp(second, 6900, 7140);
    noisy(1_000.0 + 40_000.0 * here * (1.0 - away / 3.0), second)
}

/// A crowd that leaves one stream for two hours, while another stream gets viewers at three times.
fn crowds_elsewhere(second: i64) -> f64 {
    let left = 1.0 - seconds(second.min(7200)) / 7200.0;
    let joined = [1500, 3300, 5700].map(|at| ramp(second, at, at + 240));
    noisy(
        20_000.0 * left + 2_500.0 * joined.iter().sum::<f64>(),
        second,
    )
}

fn walk(seed: u64) -> impl Fn(i64) -> f64 {
    let mut loads = Vec::new();
    super::random::walk(seed, 4 * 3600, 0.02, |load| loads.push(load));
    move |second| loads[usize::try_from(second).unwrap()]
}

fn falls() -> Vec<Trace> {
    let teeth = |second: i64| 4_000.0 + 8_000.0 * seconds(second % 1200) / 1200.0;
    let half = |second: i64, middle: f64| {
        let distance = (seconds(second) - middle) / 900.0;
        40_000.0 * (-distance * distance).exp()
    };
    let slowly = |second: i64| {
        let come = seconds(second.min(90)) / 90.0;
        let left = (-seconds((second - 90).max(0)) / 2400.0).exp();
        noisy(1_000.0 + 60_000.0 * come * left, second)
    };
    vec![
        Trace::new("teeth of 20 minutes that rise", 4, 6.5, 20.0, teeth),
        Trace::new(
            "teeth of 20 minutes that fall",
            4,
            6.5,
            20.0,
            move |second| 16_000.0 - teeth(second),
        ),
        Trace::new("two halves of a match", 4, 1.0, 20.0, move |second| {
            1_000.0 + half(second, 4_000.0) + half(second, 9_000.0)
        }),
        Trace::new("match with a pause", 5, 1.5, 20.0, game),
        Trace::new("crowd that leaves slowly", 4, 1.0, 20.0, slowly),
        Trace::new("even fall over 2 hours", 3, 1.0, 20.0, |second| {
            noisy(
                25_000.0 - 24_000.0 * seconds(second.min(7200)) / 7200.0,
                second,
            )
        }),
        Trace::new("fall with crowds elsewhere", 2, 4.0, 20.0, crowds_elsewhere),
        Trace::new("two crowds in 40 minutes", 4, 1.5, 20.0, |second| {
            let crowd = |at| ramp(second, at, at + 300) - ramp(second, at + 1200, at + 1800);
            noisy(2_000.0 + 20_000.0 * (crowd(1800) + crowd(4200)), second)
        }),
        Trace::new("step down", 2, 1.0, 20.0, |second| {
            noisy(if second < 3600 { 20_000.0 } else { 5_000.0 }, second)
        }),
    ]
}

fn swings() -> Vec<Trace> {
    let stairs = |second: i64| {
        let step = (second / 120).min((4 * 3600 - second) / 120).min(60);
        1_000.0 * seconds(step + 1)
    };
    let square = |second: i64| {
        if second % 540 < 270 {
            8_000.0
        } else {
            12_000.0
        }
    };
    vec![
        Trace::new("stairs of 2 minutes", 4, 1.5, 20.0, stairs),
        Trace::new("sine of 30 minutes", 4, 4.5, 20.0, |second| {
            noisy(10_000.0 * (1.0 + 0.4 * sine(second, 1800)), second)
        }),
        Trace::new("sine of 8 minutes", 4, 15.5, 27.0, |second| {
            noisy(10_000.0 * (1.0 + 0.3 * sine(second, 480)), second)
        }),
        Trace::new("sine of 5 minutes", 4, 1.0, 42.0, |second| {
            noisy(10_000.0 * (1.0 + 0.3 * sine(second, 300)), second)
        }),
        Trace::new("few viewers, sine of an hour", 4, 4.0, 40.0, |second| {
            noisy(1_500.0 * (1.0 + 0.5 * sine(second, 3600)), second)
        }),
        Trace::new("two levels in 9 minutes", 4, 1.0, 40.0, square),
        Trace::new("weekend", 48, 0.5, 20.0, weekend),
        Trace::new("noise of 4 percent", 4, 0.5, 20.0, |second| {
            10_000.0 * (1.0 + 0.04 * noise(second))
        }),
        Trace::new("random walk", 4, 4.0, 20.0, walk(3)),
        Trace::new("another random walk", 4, 4.0, 20.0, walk(11)),
    ]
}

/// The traces that were asked for: a step, a flash crowd, a daily curve, flapping viewers, a thousand edges.
fn basic() -> Vec<Trace> {
    let day = |second: i64| 26_500.0 - 23_500.0 * sine(second + 21_600, 86_400);
    let flapping = |second: i64| {
        if second / 60 % 2 == 0 {
            12_000.0
        } else {
            8_000.0
        }
    };
    vec![
        Trace::new("step up", 2, 1.0, 20.0, |second| {
            if second < 600 { 900.0 } else { 20_000.0 }
        }),
        Trace::new("50,000 in a minute", 2, 1.0, 20.0, |second| {
            noisy(seconds((second - 600).clamp(0, 60)) * 833.0, second)
        }),
        Trace::new("daily curve", 24, 0.2, 20.0, move |second| {
            noisy(day(second), second)
        }),
        Trace::new("flapping viewers", 4, 1.0, 45.0, flapping),
        Trace::new("a thousand edges", 1, 2.0, 20.0, |second| {
            noisy(440_000.0, second)
        }),
    ]
}

#[test]
fn traces_cost_what_is_documented() {
    let mut missed = Vec::new();
    let (mut sum, mut count) = (0.0, 0);
    println!("| trace | over-provision | turns an hour | short |");
    for trace in basic()
        .into_iter()
        .chain(crowds::crowds())
        .chain(falls())
        .chain(swings())
    {
        let simulation = trace.run();
        let percent = (simulation.serving / simulation.needed - 1.0) * 100.0;
        let turns = f64::from(simulation.turns) / seconds(trace.hours);
        let short = simulation.longest_short;
        let name = trace.name;
        println!("| {name} | {percent:.1} % | {turns:.2} | {short} s |");
        let is_short = short > POD_START + INTERVAL + 1;
        if is_short || percent > trace.percent || turns > trace.turns {
            missed.push(name);
        }
        sum += percent;
        count += 1;
    }
    let average = sum / f64::from(count);
    println!("| average | {average:.1} % | | |");
    assert!(missed.is_empty(), "{missed:?}");
    assert!(average <= 20.0, "{average:.1} % on average");
}
