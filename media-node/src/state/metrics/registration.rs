//! Creates metrics and registers them. Names are fixed, so that a failure is a fault of this program.

use prometheus::core::Collector;
use prometheus::{
    Counter, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge, IntGaugeVec,
    Opts, Registry,
};

use crate::counters::Counters;

/// Creates metrics in a registry.
#[derive(Default)]
pub(super) struct Registration(pub(super) Registry);

impl Registration {
    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help).expect(STATIC))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels).expect(STATIC))
    }

    /// Gauges of fractions.
    pub(super) fn ratios(&self, name: &str, help: &str, label: &str) -> GaugeVec {
        self.register(GaugeVec::new(Opts::new(name, help), &[label]).expect(STATIC))
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help).expect(STATIC))
    }

    /// A counter of seconds.
    pub(super) fn seconds(&self, name: &str, help: &str) -> Counter {
        self.register(Counter::new(name, help).expect(STATIC))
    }

    /// Counters of one label.
    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&'static str],
    ) -> Counters<1> {
        let values = values.iter().map(|value| [*value]);
        self.register(Counters::new(name, help, [label], values).expect(STATIC))
    }

    /// Counters of two labels.
    pub(super) fn counter_pairs(
        &self,
        name: &str,
        help: &str,
        labels: [&str; 2],
        values: impl IntoIterator<Item = [&'static str; 2]>,
    ) -> Counters<2> {
        self.register(Counters::new(name, help, labels, values).expect(STATIC))
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(options).expect(STATIC))
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        label: &str,
        buckets: &[f64],
    ) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, &[label]).expect(STATIC))
    }

    /// Open files, memory and processor time of the process.
    #[cfg(feature = "process-metrics")]
    pub(super) fn process(&self) {
        let process = prometheus::process_collector::ProcessCollector::for_self();
        self.0.register(Box::new(process)).expect(STATIC);
    }

    pub(super) fn register<C: Collector + Clone + 'static>(&self, metric: C) -> C {
        self.0.register(Box::new(metric.clone())).expect(STATIC);
        metric
    }
}

pub(super) const STATIC: &str = "names are valid and used once";
