//! What viewers do on the evenings of matches, concerts, news and outages.

use super::*;

/// Two matches of an afternoon, each with a pause in which half of its viewers leave, and the second one with a quarter of an hour more.
fn matches(second: i64) -> f64 {
    let pause = |from: i64| ramp(second, from, from + 180) - ramp(second, from + 720, from + 900);
    let first = ramp(second, 1_500, 2_700) - ramp(second, 8_400, 8_700);
    let other = ramp(second, 11_000, 12_600) - ramp(second, 19_500, 19_800);
    let first = 18_000.0 * first * (1.0 - pause(5_400) / 2.0);
    let other = 35_000.0 * other * (1.0 - pause(15_400) / 2.0);
    noisy(1_500.0 + first + other, second)
}

/// Most leave at the end of a concert, half of them come back for an encore, and then all leave within minutes.
fn concert(second: i64) -> f64 {
    let here = ramp(second, 1_200, 3_600) - ramp(second, 9_660, 9_840);
    let away = ramp(second, 8_400, 8_580) - 0.5 * ramp(second, 8_760, 8_880);
    noisy(800.0 + 28_000.0 * here * (1.0 - 0.6 * away), second)
}

/// A crowd that the news bring within a minute and a half loses half of its viewers in twenty minutes, while two more come, each larger
/// than the one before.
fn news(second: i64) -> f64 {
    let spike = |at: i64, viewers: f64| {
        let left = (-seconds((second - at - 90).max(0)) / 1_730.0).exp();
        viewers * (seconds(second - at) / 90.0).clamp(0.0, 1.0) * left
    };
    noisy(
        2_000.0 + spike(900, 8_000.0) + spike(2_000, 15_000.0) + spike(3_400, 40_000.0),
        second,
    )
}

/// A slow end of four hours, with teeth of a minute and a half.
fn long_tail(second: i64) -> f64 {
    let tail = 24_000.0 * (-seconds(second) / 7_200.0).exp();
    noisy(
        tail * (1.0 + 0.08 * seconds(second % 90) / 90.0) + 500.0,
        second,
    )
}

/// The evenings of four regions, two hours after each other.
fn evenings(second: i64) -> f64 {
    let hour = seconds(second) / 3_600.0;
    let evening = |(at, viewers): (f64, f64)| viewers * (-((hour - at) / 1.6).powi(2)).exp();
    let regions = [
        (6.0, 9_000.0),
        (8.0, 22_000.0),
        (10.0, 12_000.0),
        (14.0, 30_000.0),
    ];
    noisy(
        2_500.0 + regions.into_iter().map(evening).sum::<f64>(),
        second,
    )
}

/// Every forty minutes all viewers are gone for twenty seconds, and once for three minutes.
fn outages(second: i64) -> f64 {
    let is_out = second % 2_400 >= 2_380 || (7_000..7_180).contains(&second);
    if is_out { 0.0 } else { noisy(20_000.0, second) }
}

pub(super) fn crowds() -> Vec<Trace> {
    vec![
        Trace::new("two matches with pauses", 6, 3.5, 20.0, matches),
        Trace::new("concert with an encore", 3, 2.0, 20.0, concert),
        Trace::new("news upon news", 3, 2.0, 23.0, news),
        Trace::new("long tail with teeth", 4, 1.0, 20.0, long_tail),
        Trace::new("evenings of regions", 20, 1.0, 20.0, evenings),
        Trace::new("outages of 20 s and 3 minutes", 4, 1.0, 24.0, outages),
    ]
}
