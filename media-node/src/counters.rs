//! Counters with labels that exist from the start. A counter that appears with its first increment is not 0 before: the increment
//! would not be part of a rate.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Opts};

/// A counter for each combination of label values, which are a closed set.
#[derive(Clone)]
pub(crate) struct Counters<const N: usize> {
    counters: IntCounterVec,
    values: Arc<[[&'static str; N]]>,
}

impl<const N: usize> Counters<N> {
    /// Returns counters of these label values.
    ///
    /// # Errors
    /// When a name is invalid.
    pub(crate) fn new(
        name: &str,
        help: &str,
        labels: [&str; N],
        values: impl IntoIterator<Item = [&'static str; N]>,
    ) -> prometheus::Result<Self> {
        let counters = IntCounterVec::new(Opts::new(name, help), &labels)?;
        let values: Arc<[_]> = values.into_iter().collect();
        for values in values.iter() {
            counters.with_label_values(values);
        }
        Ok(Self { counters, values })
    }

    /// Returns the counter of these label values, which [`Counters::new`] has to have.
    pub(crate) fn of(&self, values: [&'static str; N]) -> IntCounter {
        debug_assert!(
            self.values.contains(&values),
            "{values:?} is not among {:?}",
            self.values
        );
        self.counters.with_label_values(&values)
    }
}

impl<const N: usize> Collector for Counters<N> {
    fn desc(&self) -> Vec<&Desc> {
        self.counters.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.counters.collect()
    }
}

/// Returns every combination of two labels' values.
pub(crate) fn combinations<'a>(
    first: &'a [&'static str],
    second: &'a [&'static str],
) -> impl Iterator<Item = [&'static str; 2]> + use<'a> {
    let pairs = first
        .iter()
        .map(|first| second.iter().map(|second| [*first, *second]));
    pairs.flatten()
}
