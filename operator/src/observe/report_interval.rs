//! How often numbers that change all the time are written to the status of a cluster.

use std::time::Duration;

/// Time between two reports of a cluster: each is a write to etcd.
const OF_ONE: Duration = Duration::from_secs(15);
/// Time between two reports of different clusters: each is a dozen requests to the API server.
const OF_MANY: Duration = Duration::from_millis(600);

/// Returns the time between two reports of one of so many clusters. All of them together cause 100 reports in a minute at most.
pub fn report_interval(clusters: usize) -> Duration {
    let clusters = u32::try_from(clusters).unwrap_or(u32::MAX);
    OF_MANY.saturating_mul(clusters).max(OF_ONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_many_clusters_are_rarer() {
        for (clusters, seconds) in [(0, 15), (1, 15), (25, 15), (100, 60), (1000, 600)] {
            assert_eq!(report_interval(clusters), Duration::from_secs(seconds));
        }
    }
}
