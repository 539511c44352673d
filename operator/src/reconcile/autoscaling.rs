//! The autoscalers of all clusters: they decide after each scrape, and reconciliations carry out what they decided.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use livecluster_api::{Autoscaling, AutoscalingStatus, ClusterName, LiveCluster};
use media_config::Role;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::observe::observed::Observed;
use crate::observe::pods::ready_after;
use crate::observe::report_interval::report_interval;
use crate::observe::stream_scraper::{SCRAPE_INTERVAL, StreamScraper};
use crate::scale::autoscaler::{Autoscaler, ScalingState};
use crate::scale::capacity;
use crate::scale::events::event_demand;
use crate::status::input::AutoscalingReport;

/// Time that a Pod takes to start, until one has been seen to.
const DEFAULT_POD_START: Duration = Duration::from_secs(15);
/// Longest time that is believed: a Pod may have waited for a node.
const MAX_POD_START: Duration = Duration::from_secs(120);

/// The autoscalers of all clusters.
#[derive(Debug, Default)]
pub struct Autoscalers {
    clusters: Mutex<HashMap<ClusterName, AutoscaledCluster>>,
}

#[derive(Debug)]
struct AutoscaledCluster {
    autoscaling: Autoscaling,
    pod_start: Duration,
    autoscaler: Autoscaler,
    reported: AutoscalingReport,
    reported_at: Instant,
}

impl Autoscalers {
    /// Follows the spec of a cluster, and returns the report for its status if it has autoscaling.
    pub(super) fn update(
        &self,
        cluster: &LiveCluster,
        observed: &Observed,
    ) -> Option<AutoscalingReport> {
        let name = ClusterName::of(cluster);
        let Some(autoscaling) = capacity::autoscaling(&cluster.spec) else {
            self.forget(&name);
            return None;
        };
        let mut clusters = self.clusters.lock();
        let scaled = clusters.entry(name).or_insert_with(|| {
            let status = cluster.status.as_ref();
            let status = status.and_then(|status| status.autoscaling.as_ref());
            let existing = existing(cluster, observed).unwrap_or(autoscaling.min_replicas);
            AutoscaledCluster::new(autoscaling.clone(), Autoscaler::new(status, existing))
        });
        if scaled.autoscaling != autoscaling {
            scaled.autoscaling = autoscaling;
            scaled.reported = scaled.report();
        }
        scaled.pod_start = pod_start(observed);
        Some(scaled.reported.clone())
    }

    /// Decides about the edges of a cluster, and returns whether its report has changed.
    pub fn decide(&self, cluster: &ClusterName, scraper: &StreamScraper) -> bool {
        let instant = Instant::now();
        let load = scraper.edge_load(cluster, instant);
        let mut clusters = self.clusters.lock();
        let interval = report_interval(clusters.len());
        let Some(scaled) = clusters.get_mut(cluster) else {
            return false;
        };
        let lead = scaled.pod_start + SCRAPE_INTERVAL;
        let autoscaling = &scaled.autoscaling;
        scaled
            .autoscaler
            .decide(autoscaling, &load, lead, Timestamp::now());
        scaled.update_report(interval, instant)
    }

    /// Drops the state of a cluster.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.clusters.lock().remove(cluster);
    }
}

impl AutoscaledCluster {
    fn new(autoscaling: Autoscaling, autoscaler: Autoscaler) -> Self {
        let mut scaled = Self {
            autoscaling,
            pod_start: DEFAULT_POD_START,
            autoscaler,
            reported: AutoscalingReport {
                status: AutoscalingStatus::default(),
                state: ScalingState::Active,
                event: None,
            },
            reported_at: Instant::now(),
        };
        scaled.reported = scaled.report();
        scaled
    }

    fn report(&self) -> AutoscalingReport {
        AutoscalingReport {
            status: self.autoscaler.status(&self.autoscaling),
            state: self.autoscaler.state(),
            event: event_demand(&self.autoscaling, Timestamp::now()).event,
        }
    }

    /// Reports another number of edges or another state immediately, a changed window at intervals. Returns whether the report
    /// has changed.
    fn update_report(&mut self, interval: Duration, now: Instant) -> bool {
        let new = self.report();
        if new == self.reported {
            return false;
        }
        let decision = |report: &AutoscalingReport| {
            let desired = report.status.desired_replicas;
            (desired, report.state, report.event)
        };
        let is_due = now.duration_since(self.reported_at) >= interval;
        let is_changed = is_due || decision(&new) != decision(&self.reported);
        if is_changed {
            self.reported = new;
            self.reported_at = now;
        }
        is_changed
    }
}

/// Returns the edges that take new viewers, as the Deployment has them.
fn existing(cluster: &LiveCluster, observed: &Observed) -> Option<u16> {
    let role = observed.role(cluster, Role::Edge);
    let serving = role.wanted.saturating_sub(role.retiring);
    u16::try_from(serving).ok().filter(|_| role.exists)
}

/// Returns the median time that the edges took to become ready.
fn pod_start(observed: &Observed) -> Duration {
    let mut times: Vec<Duration> = observed.pods(Role::Edge).filter_map(start_time).collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied();
    median.unwrap_or(DEFAULT_POD_START).min(MAX_POD_START)
}

fn start_time(pod: &Pod) -> Option<Duration> {
    ready_after(pod).filter(|time| *time <= MAX_POD_START)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn edge(created: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"creationTimestamp": created, "labels": {"app.kubernetes.io/component": "edge"}},
            "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ready}]}
        }))
        .unwrap()
    }

    #[test]
    fn time_of_a_pods_start_is_the_one_that_was_seen() {
        let mut observed = Observed::default();
        assert_eq!(pod_start(&observed), DEFAULT_POD_START);
        observed.pods = vec![
            edge("2026-01-01T00:00:00Z", "2026-01-01T00:00:08Z"),
            edge("2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"),
            // It was not ready in between.
            edge("2026-01-01T00:00:00Z", "2026-01-01T05:00:00Z"),
        ];
        assert_eq!(pod_start(&observed), Duration::from_secs(9));
    }
}
