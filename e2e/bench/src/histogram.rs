//! A histogram of durations, from one microsecond to an hour, exact to three per cent.

use std::time::Duration;

/// Buckets of each power of two: the width of one is a 32nd of its value.
const STEPS: u64 = 32;

/// Durations, counted by how long they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Histogram {
    /// Adds a duration.
    pub(crate) fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(micros);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.max = self.max.max(duration);
    }

    /// Returns the duration that this share of all (0 to 1) does not exceed. Zero when there are none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut left = (share * self.count as f64).ceil().max(1.0);
        for (bucket, count) in self.buckets.iter().enumerate() {
            left -= *count as f64;
            if left <= 0.0 {
                return Duration::from_micros(end_of(bucket)).min(self.max);
            }
        }
        self.max
    }

    /// Returns the longest duration.
    pub(crate) fn max(&self) -> Duration {
        self.max
    }
}

/// Values below 64 have a bucket each. Above, each power of two has 32.
fn bucket_of(micros: u64) -> usize {
    let shift = (64 - micros.leading_zeros()).saturating_sub(6);
    let bucket = u64::from(shift) * STEPS + (micros >> shift);
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

/// The largest value of a bucket.
fn end_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    ((bucket - shift * STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_bucket_that_ends_at_it_or_little_above() {
        for value in (0..5000).chain([100_000, 3_600_000_000]) {
            let end = end_of(bucket_of(value));
            assert!(value <= end && end <= value + value / 31, "{value} {end}");
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        let mut histogram = Histogram::default();
        for milliseconds in 1..=100 {
            histogram.record(Duration::from_millis(milliseconds));
        }
        let median = histogram.quantile(0.5).as_secs_f64();
        assert!((0.05..0.052).contains(&median), "{median}");
        assert_eq!(histogram.quantile(1.0), Duration::from_millis(100));
        assert_eq!(histogram.max(), Duration::from_millis(100));
    }
}
