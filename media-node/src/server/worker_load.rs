//! Measures how busy each worker thread is. The pulse of its viewers follows the measurement.
//!
//! Busy is the time between two parks of the thread, by the wall clock. So it also counts the time in which another process
//! has the core, or in which the kernel withholds it because a CPU limit is used up: there is no room for more writes then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media_engine::Registry;
use tokio::runtime::Handle;

use super::ticks::ticks;
use super::workers::WorkerHandles;
use crate::state::metrics::Metrics;

/// Time between two measurements.
pub(super) const PERIOD: Duration = Duration::from_millis(250);

/// Weight of the newest measurement. A period can be shorter than a pulse, and then contains one round of writes or none.
const NEWEST: f64 = 0.4;

/// Measures every worker for as long as the workers run.
pub(super) fn start(
    workers: &WorkerHandles,
    registry: &Registry,
    metrics: &Arc<Metrics>,
    period: Duration,
) {
    workers.spawn_on_each(|worker| {
        let (registry, metrics) = (registry.clone(), Arc::clone(metrics));
        async move { measure(worker, &registry, &metrics, period).await }
    });
}

async fn measure(worker: usize, registry: &Registry, metrics: &Metrics, period: Duration) {
    let label = worker.to_string();
    let busy_ratio = metrics.node.worker_busy.with_label_values(&[&label]);
    let pulse_seconds = metrics.node.worker_pulse.with_label_values(&[&label]);
    let thread = Handle::current().metrics();
    let mut meter = BusyMeter::new(thread.worker_total_busy_duration(0), Instant::now());
    let mut ticks = ticks(period);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let busy = meter.measure(thread.worker_total_busy_duration(0), Instant::now());
        let pulse = registry.report_load(worker, busy);
        busy_ratio.set(busy);
        pulse_seconds.set(pulse.as_secs_f64());
    }
}

/// The share of time in which a thread is busy, smoothed.
struct BusyMeter {
    /// At the last measurement.
    total: Duration,
    at: Instant,
    share: f64,
}

impl BusyMeter {
    fn new(total: Duration, at: Instant) -> Self {
        Self {
            total,
            at,
            share: 0.0,
        }
    }

    /// Returns the share, 0 to 1, after a thread was busy for `total` since its start.
    fn measure(&mut self, total: Duration, now: Instant) -> f64 {
        let busy = total.saturating_sub(self.total).as_secs_f64();
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        if elapsed > 0.0 {
            (self.total, self.at) = (total, now);
            self.share += NEWEST * ((busy / elapsed).min(1.0) - self.share);
        }
        self.share
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use media_engine::{EngineSettings, Format, Start};
    use media_wire::StreamKey;
    use tracing::Span;

    use super::super::workers::Workers;
    use super::*;

    #[test]
    fn share_approaches_the_measured_one() {
        let start = Instant::now();
        let seconds = Duration::from_secs;
        let mut meter = BusyMeter::new(seconds(7), start);
        let shares: Vec<_> = (1..20)
            .map(|n| meter.measure(seconds(7) + seconds(n) / 2, start + seconds(n)))
            .collect();
        assert!((shares[0] - 0.2).abs() < 0.001, "{shares:?}");
        assert!((shares[18] - 0.5).abs() < 0.001, "{shares:?}");
        assert!(shares.is_sorted(), "{shares:?}");
        // No time has passed since the last measurement, so the share stays.
        assert!((meter.measure(seconds(99), start + seconds(19)) - shares[18]).abs() < 0.001);
    }

    #[test]
    fn busy_thread_lengthens_the_pulse_of_its_own_viewers_until_it_is_idle() {
        const PERIOD: Duration = Duration::from_millis(5);
        let registry = Registry::new(EngineSettings {
            workers: 2,
            ..EngineSettings::default()
        });
        let key = StreamKey::new(None, "live", "a").unwrap();
        let stream = registry.open(&key).unwrap();
        let subscribe = |worker| stream.subscribe(Format::Flv, Start::Newest, worker);
        let _viewers: Vec<_> = (0..200).map(|n| subscribe(n % 2)).collect();
        let workers = Workers::start(2, &Span::none()).unwrap();
        let handles = workers.handles();
        let metrics = Arc::new(Metrics::new());
        start(&handles, &registry, &metrics, PERIOD);
        let busy = Arc::new(AtomicBool::new(true));
        handles.spawn_on_each(|worker| {
            let busy = Arc::clone(&busy);
            async move {
                while worker == 0 && busy.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                    tokio::task::yield_now().await;
                }
            }
        });
        let pulse = |worker: &str| metrics.node.worker_pulse.with_label_values(&[worker]).get();
        while pulse("0") < 0.009 {
            std::thread::sleep(PERIOD);
        }
        assert!(pulse("1") < 0.009);
        busy.store(false, Ordering::Relaxed);
        while pulse("0") > 0.0 {
            std::thread::sleep(PERIOD);
        }
    }
}
