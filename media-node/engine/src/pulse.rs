//! The pulse: the shortest time between two notifications of a worker's viewers, and so between two writes to a viewer.
//!
//! A write to a viewer costs about 4.6 µs and 0.07 µs for each KB (2026-11-22, two shared cores, loopback). The number of
//! writes determines the cost of delivery. Cores for 5,000 viewers of 1 Mbit/s:
//!
//! | one write for | writes a second | cores |
//! |---|--:|--:|
//! | every message | 365,000 | 2.5 |
//! | 20 ms | 250,000 | 1.7 |
//! | 50 ms | 100,000 | 0.75 |
//! | 100 ms | 50,000 | 0.43 |
//!
//! So each worker has a pulse of its own, which follows how busy its thread is. Every message is written immediately while
//! the thread is less busy than [`EngineSettings::pulse_ceiling`]. A busier thread collects messages for longer, up to
//! [`EngineSettings::pulse_max`].
//!
//! The pulse is not a delay: a message after a longer silence is sent immediately, and so is a keyframe. A stream without
//! readers has the longest pulse, because fewer segments take less memory.

use std::time::{Duration, Instant};

use crate::settings::EngineSettings;

/// No thread writes to its viewers faster than this. A shorter pulse would be the same as none.
const SHORTEST_PER_VIEWER: Duration = Duration::from_micros(2);

/// With this much time for each viewer between two writes, writing takes 5 to 7 % of a core. A longer pulse saves almost nothing,
/// whatever else keeps the thread busy.
const LONGEST_PER_VIEWER: Duration = Duration::from_micros(100);

/// The factor by which a pulse grows from one measurement to the next while the thread is saturated. Its share of time does
/// not show by how much the work exceeds it.
const SATURATED_GROWTH: f64 = 1.25;

/// The exponent that damps the correction, because a measurement still shows some of the time before the last correction.
const DAMPING: f64 = 0.35;

/// The smallest ratio of the busy share to the ceiling that a correction takes into account.
const MIN_RATIO: f64 = 0.3;

/// The load of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerLoad {
    /// Viewers of all streams that the worker serves.
    pub(crate) viewers: usize,
    /// The share of time, 0 to 1, in which its thread had work.
    pub(crate) busy: f64,
}

/// Returns the next pulse of a worker, from its load while it had the pulse `current`.
pub(crate) fn next_pulse(
    settings: &EngineSettings,
    load: WorkerLoad,
    current: Duration,
) -> Duration {
    let viewers = u32::try_from(load.viewers).unwrap_or(u32::MAX);
    let shortest = SHORTEST_PER_VIEWER.saturating_mul(viewers);
    let longest = LONGEST_PER_VIEWER.saturating_mul(viewers);
    let ceiling = settings.pulse_ceiling;
    let ratio = (load.busy / ceiling).max(MIN_RATIO);
    let is_saturated = load.busy > (1.0 + ceiling) / 2.0;
    let wanted = if is_saturated {
        current.max(shortest).mul_f64(SATURATED_GROWTH)
    } else if ratio > 1.0 {
        current.max(shortest).mul_f64(ratio.powf(DAMPING))
    } else {
        current.mul_f64(ratio.powf(DAMPING))
    };
    let wanted = if wanted < shortest {
        Duration::ZERO
    } else {
        wanted.min(longest)
    };
    wanted.max(settings.pulse_min).min(settings.pulse_max)
}

/// Returns when the pulse after `last` is due.
pub(crate) fn due(last: Option<Instant>, pulse: Duration, now: Instant) -> Instant {
    last.map_or(now, |last| (last + pulse).max(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that writes to viewers: each write takes 5 µs and each second of a stream 45 µs, beside 3 % of other work.
    struct Thread {
        settings: EngineSettings,
        pulse: Duration,
        busy: f64,
    }

    impl Thread {
        fn new(settings: EngineSettings) -> Self {
            Self {
                settings,
                pulse: Duration::ZERO,
                busy: 0.0,
            }
        }

        /// The share of time that the work takes. A stream has a message every 14 ms.
        fn work(viewers: usize, pulse: Duration) -> f64 {
            let viewers = f64::from(u32::try_from(viewers).unwrap());
            0.03 + viewers * (5e-6 / pulse.as_secs_f64().max(0.014) + 45e-6)
        }

        /// Serves viewers for some measurements. Returns the pulses.
        fn serve(&mut self, viewers: usize, measurements: usize) -> Vec<Duration> {
            let measure = |_| {
                let busy = Self::work(viewers, self.pulse).min(1.0);
                self.busy += 0.4 * (busy - self.busy);
                let load = WorkerLoad {
                    viewers,
                    busy: self.busy,
                };
                self.pulse = next_pulse(&self.settings, load, self.pulse);
                self.pulse
            };
            (0..measurements).map(measure).collect()
        }
    }

    fn milliseconds(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn next(viewers: usize, busy: f64, current: Duration) -> Duration {
        let load = WorkerLoad { viewers, busy };
        next_pulse(&EngineSettings::default(), load, current)
    }

    #[test]
    fn every_message_is_immediate_while_the_thread_has_room() {
        let mut thread = Thread::new(EngineSettings::default());
        for viewers in [0, 1, 500, 1_500] {
            assert!(thread.serve(viewers, 40).iter().all(Duration::is_zero));
        }
    }

    #[test]
    fn step_of_viewers_settles_at_the_ceiling_without_swinging() {
        let mut thread = Thread::new(EngineSettings::default());
        let ceiling = thread.settings.pulse_ceiling;
        let highest = thread.serve(5_000, 20).into_iter().max().unwrap();
        let settled = thread.serve(5_000, 40);
        let (shortest, longest) = (settled.iter().min().unwrap(), settled.iter().max().unwrap());
        assert!(
            longest.saturating_sub(*shortest) < milliseconds(3),
            "{shortest:?} {longest:?}"
        );
        assert!(highest < 2 * *longest, "{highest:?} {longest:?}");
        let busy = Thread::work(5_000, thread.pulse);
        assert!((busy - ceiling).abs() < 0.03, "{busy}");
    }

    #[test]
    fn ramp_of_viewers_lengthens_the_pulse_smoothly() {
        let mut thread = Thread::new(EngineSettings::default());
        let mut pulses = Vec::new();
        for hundreds in 0..100 {
            pulses.extend(thread.serve(hundreds * 100, 4));
        }
        let growth = SATURATED_GROWTH + 0.01;
        for pair in pulses.windows(2) {
            let [before, after] = pair else {
                panic!("two pulses")
            };
            let limit = before.mul_f64(growth) + milliseconds(13);
            assert!(*after <= limit, "{before:?} {after:?}");
        }
        assert!(pulses.iter().any(|pulse| !pulse.is_zero()));
    }

    #[test]
    fn overload_never_exceeds_the_longest_pulse() {
        let mut thread = Thread::new(EngineSettings::default());
        thread.serve(40_000, 60);
        assert_eq!(thread.pulse, thread.settings.pulse_max);
        assert_eq!(next(usize::MAX, 1.0, milliseconds(350)), milliseconds(350));
    }

    #[test]
    fn pulse_returns_when_viewers_leave() {
        let mut thread = Thread::new(EngineSettings::default());
        thread.serve(17_000, 60);
        assert!(thread.pulse > milliseconds(100));
        thread.serve(200, 12);
        assert_eq!(thread.pulse, Duration::ZERO);
    }

    #[test]
    fn lower_ceiling_spends_less() {
        let mut thread = Thread::new(EngineSettings {
            pulse_ceiling: 0.1,
            ..EngineSettings::default()
        });
        thread.serve(500, 60);
        assert!(Thread::work(500, Duration::ZERO) > 0.2);
        assert!(Thread::work(500, thread.pulse) < 0.12);
    }

    #[test]
    fn thread_that_is_busy_with_other_work_delays_few_viewers_little() {
        let mut pulse = Duration::ZERO;
        for _ in 0..100 {
            pulse = next(10, 1.0, pulse);
        }
        assert_eq!(pulse, milliseconds(1));
        assert_eq!(next(0, 1.0, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn pulse_stays_between_its_limits() {
        let settings = EngineSettings {
            pulse_min: milliseconds(40),
            pulse_max: milliseconds(40),
            ..EngineSettings::default()
        };
        for busy in [0.0, 0.5, 1.0] {
            let load = WorkerLoad { viewers: 100, busy };
            assert_eq!(
                next_pulse(&settings, load, milliseconds(40)),
                milliseconds(40)
            );
        }
    }

    #[test]
    fn message_after_silence_is_due_immediately() {
        let now = Instant::now();
        let pulse = Duration::from_millis(50);
        assert_eq!(due(None, pulse, now), now);
        assert_eq!(due(Some(now), pulse, now), now + pulse);
        assert_eq!(due(Some(now), pulse, now + 2 * pulse), now + 2 * pulse);
    }
}
