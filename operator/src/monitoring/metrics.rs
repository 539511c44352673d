//! The operator's metrics, each with its name and help.

use std::time::Duration;

use livecluster_api::ClusterName;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// The operator's metrics. Label values come from closed sets; `namespace` and `name` are those of a LiveCluster.
#[derive(Clone, Debug)]
pub struct OperatorMetrics {
    registry: Registry,
    api_requests: IntCounterVec,
    reconciles: IntCounterVec,
    reconcile_seconds: Histogram,
    scrapes: IntCounterVec,
    leader: IntGauge,
    clusters: ClusterMetrics,
}

/// Metrics of each LiveCluster, with the labels `namespace` and `name`.
#[derive(Clone, Debug)]
struct ClusterMetrics {
    ready: IntGaugeVec,
    stopped: IntGaugeVec,
    degraded: IntGaugeVec,
    edges_at_maximum: IntGaugeVec,
    unreadable: IntGaugeVec,
    foreign: IntGaugeVec,
    streams: IntGaugeVec,
    viewers: IntGaugeVec,
    wanted_edges: IntGaugeVec,
    full_edges: IntGaugeVec,
}

impl OperatorMetrics {
    /// Returns all metrics at zero.
    ///
    /// # Errors
    /// When two metrics have the same name. A test rules that out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name, help, labels: &[&str]| {
            registered(
                &registry,
                IntCounterVec::new(Opts::new(name, help), labels)?,
            )
        };
        let metrics = Self {
            api_requests: counter(
                "live_operator_api_requests_total",
                "Requests to the Kubernetes API except watches, by verb, resource and status code",
                &["verb", "resource", "code"],
            )?,
            reconciles: counter(
                "live_operator_reconciles_total",
                "Reconciliations of LiveClusters, by result",
                &["result"],
            )?,
            reconcile_seconds: reconcile_seconds(&registry)?,
            scrapes: counter(
                "live_operator_scrapes_total",
                "Scrapes of the Pods for their streams and viewers, by result",
                &["result"],
            )?,
            leader: registered(
                &registry,
                IntGauge::new(
                    "live_operator_leader",
                    "1 while this operator is the leader",
                )?,
            )?,
            clusters: ClusterMetrics::new(&registry)?,
            registry,
        };
        let process = prometheus::process_collector::ProcessCollector::for_self();
        metrics.registry.register(Box::new(process))?;
        // A counter that does not exist is not 0: its first increment would not be a rate.
        for is_success in [true, false] {
            let label = [result_label(is_success)];
            metrics.reconciles.with_label_values(&label);
            metrics.scrapes.with_label_values(&label);
        }
        Ok(metrics)
    }

    /// Counts a request to the Kubernetes API; `code` is the HTTP status, `timeout` or `error`.
    pub fn count_api_request(&self, verb: &str, resource: &str, code: &str) {
        self.api_requests
            .with_label_values(&[verb, resource, code])
            .inc();
    }

    /// Counts a reconciliation and observes its duration.
    pub fn count_reconciliation(&self, is_success: bool, duration: Duration) {
        self.reconciles
            .with_label_values(&[result_label(is_success)])
            .inc();
        self.reconcile_seconds.observe(duration.as_secs_f64());
    }

    /// Counts a scrape of a Pod.
    pub fn count_scrape(&self, is_success: bool) {
        self.scrapes
            .with_label_values(&[result_label(is_success)])
            .inc();
    }

    /// Sets whether this operator is the leader.
    pub fn set_leader(&self, is_leader: bool) {
        self.leader.set(is_leader.into());
    }

    /// Sets whether a cluster is ready.
    pub fn set_ready(&self, cluster: &ClusterName, is_ready: bool) {
        self.clusters
            .ready
            .with_label_values(&labels(cluster))
            .set(is_ready.into());
    }

    /// Sets whether a cluster is not to be ready.
    pub fn set_stopped(&self, cluster: &ClusterName, is_stopped: bool) {
        self.clusters
            .stopped
            .with_label_values(&labels(cluster))
            .set(is_stopped.into());
    }

    /// Sets whether a cluster is degraded.
    pub fn set_degraded(&self, cluster: &ClusterName, is_degraded: bool) {
        self.clusters
            .degraded
            .with_label_values(&labels(cluster))
            .set(is_degraded.into());
    }

    /// Sets whether the load of a cluster needs more edges than are allowed.
    pub fn set_edges_at_maximum(&self, cluster: &ClusterName, is_at_maximum: bool) {
        self.clusters
            .edges_at_maximum
            .with_label_values(&labels(cluster))
            .set(is_at_maximum.into());
    }

    /// Sets whether a cluster has a value that this version cannot read.
    pub fn set_unreadable(&self, cluster: &ClusterName, is_unreadable: bool) {
        self.clusters
            .unreadable
            .with_label_values(&labels(cluster))
            .set(is_unreadable.into());
    }

    /// Sets whether another operator reconciles a cluster.
    pub fn set_foreign(&self, cluster: &ClusterName, is_foreign: bool) {
        self.clusters
            .foreign
            .with_label_values(&labels(cluster))
            .set(is_foreign.into());
    }

    /// Sets the streams and viewers of a cluster. An unknown number is not exposed.
    pub fn set_streams(&self, cluster: &ClusterName, streams: Option<i64>, viewers: Option<i64>) {
        let gauges = &self.clusters;
        for (gauge, value) in [(&gauges.streams, streams), (&gauges.viewers, viewers)] {
            match value {
                Some(value) => gauge.with_label_values(&labels(cluster)).set(value),
                None => drop(gauge.remove_label_values(&labels(cluster))),
            }
        }
    }

    /// Sets the wanted edges of a cluster.
    pub fn set_wanted_edges(&self, cluster: &ClusterName, edges: u16) {
        self.clusters
            .wanted_edges
            .with_label_values(&labels(cluster))
            .set(edges.into());
    }

    /// Sets the full edges of a cluster.
    pub fn set_full_edges(&self, cluster: &ClusterName, edges: usize) {
        self.clusters
            .full_edges
            .with_label_values(&labels(cluster))
            .set(i64::try_from(edges).unwrap_or(i64::MAX));
    }

    /// Removes the metrics of a deleted cluster.
    pub fn remove(&self, cluster: &ClusterName) {
        for gauge in self.clusters.all() {
            // The label values do not exist when the metric was never set.
            drop(gauge.remove_label_values(&labels(cluster)));
        }
    }

    /// Returns all metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric has no representation in that format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl ClusterMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["namespace", "name"])?;
            registered(registry, gauge)
        };
        Ok(Self {
            ready: gauge("live_cluster_ready", "1 while the LiveCluster is Ready")?,
            stopped: gauge(
                "live_cluster_stopped",
                "1 while the LiveCluster is not to be Ready: its spec has no origins, or it is being deleted",
            )?,
            degraded: gauge(
                "live_cluster_degraded",
                "1 while the LiveCluster is Degraded",
            )?,
            edges_at_maximum: gauge(
                "live_cluster_edges_at_maximum",
                "1 while the load of the LiveCluster needs more edges than its maxReplicas",
            )?,
            unreadable: gauge(
                "live_cluster_unreadable",
                "1 while the LiveCluster has a value that this version of the operator cannot read",
            )?,
            foreign: gauge(
                "live_cluster_foreign",
                "1 while another operator reconciles the LiveCluster, although this one watches its namespace",
            )?,
            streams: gauge(
                "live_cluster_streams",
                "Published streams of the LiveCluster",
            )?,
            viewers: gauge(
                "live_cluster_viewers",
                "Viewers of all Pods of the LiveCluster",
            )?,
            wanted_edges: gauge(
                "live_cluster_wanted_edges",
                "Edge Pods that the LiveCluster is to have, by its spec or by autoscaling",
            )?,
            full_edges: gauge(
                "live_cluster_full_edges",
                "Edge Pods of the LiveCluster that take no new clients while emptier ones do",
            )?,
        })
    }

    /// Returns all of them, so that they are removed with their LiveCluster.
    fn all(&self) -> [&IntGaugeVec; 10] {
        [
            &self.ready,
            &self.stopped,
            &self.degraded,
            &self.edges_at_maximum,
            &self.unreadable,
            &self.foreign,
            &self.streams,
            &self.viewers,
            &self.wanted_edges,
            &self.full_edges,
        ]
    }
}

fn reconcile_seconds(registry: &Registry) -> Result<Histogram, prometheus::Error> {
    let options = HistogramOpts::new(
        "live_operator_reconcile_seconds",
        "Duration of a reconciliation of a LiveCluster",
    );
    let buckets = vec![0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
    registered(registry, Histogram::with_opts(options.buckets(buckets))?)
}

/// Registers a metric and returns it.
fn registered<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn result_label(is_success: bool) -> &'static str {
    if is_success { "success" } else { "error" }
}

fn labels(cluster: &ClusterName) -> [&str; 2] {
    [&cluster.namespace, &cluster.name]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_own_name() {
        let metrics = OperatorMetrics::new().unwrap();
        metrics.set_leader(true);
        metrics.count_api_request("get", "leases", "200");
        let text = metrics.render().unwrap();
        assert!(text.contains("live_operator_leader 1"), "{text}");
        for result in ["success", "error"] {
            let line = format!("live_operator_reconciles_total{{result=\"{result}\"}} 0");
            assert!(text.contains(&line), "{text}");
        }
        assert!(
            text.contains(r#"{code="200",resource="leases",verb="get"} 1"#),
            "{text}"
        );
    }

    #[test]
    fn metrics_of_deleted_cluster_are_removed() {
        let metrics = OperatorMetrics::new().unwrap();
        let demo = ClusterName::new("media", "demo");
        metrics.set_ready(&demo, true);
        metrics.set_streams(&demo, Some(3), None);
        assert!(metrics.render().unwrap().contains("demo"));
        metrics.remove(&demo);
        assert!(!metrics.render().unwrap().contains("demo"));
    }
}
