//! Every number that `/metrics` shows, with its name and meaning.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// The operator's numbers. Labels have values from closed sets; `namespace` and `name` are those of a LiveCluster.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    api_requests: IntCounterVec,
    reconciles: IntCounterVec,
    reconcile_seconds: Histogram,
    scrapes: IntCounterVec,
    leader: IntGauge,
    ready: IntGaugeVec,
    streams: IntGaugeVec,
    viewers: IntGaugeVec,
}

impl Metrics {
    /// All numbers at zero.
    ///
    /// # Errors
    /// When two of them had the same name, which a test rules out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let cluster = &["namespace", "name"];
        let metrics = Self {
            registry: Registry::new(),
            api_requests: counter(
                "live_operator_api_requests_total",
                "Requests to the Kubernetes API, without watches, by verb, kind and answer",
                &["verb", "kind", "code"],
            )?,
            reconciles: counter(
                "live_operator_reconciles_total",
                "Passes over a LiveCluster, by how they ended",
                &["result"],
            )?,
            reconcile_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "live_operator_reconcile_seconds",
                    "Time that a pass over a LiveCluster takes",
                )
                .buckets(vec![0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]),
            )?,
            scrapes: counter(
                "live_operator_scrapes_total",
                "Questions to the nodes for their streams and viewers, by result",
                &["result"],
            )?,
            leader: IntGauge::new(
                "live_operator_leader",
                "1 while this operator is the one that acts",
            )?,
            ready: gauge(
                "live_cluster_ready",
                "1 while a LiveCluster is Ready",
                cluster,
            )?,
            streams: gauge(
                "live_cluster_streams",
                "Streams that are published now",
                cluster,
            )?,
            viewers: gauge("live_cluster_viewers", "Viewers on all nodes", cluster)?,
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let registry = &self.registry;
        registry.register(Box::new(self.api_requests.clone()))?;
        registry.register(Box::new(self.reconciles.clone()))?;
        registry.register(Box::new(self.reconcile_seconds.clone()))?;
        registry.register(Box::new(self.scrapes.clone()))?;
        registry.register(Box::new(self.leader.clone()))?;
        registry.register(Box::new(self.ready.clone()))?;
        registry.register(Box::new(self.streams.clone()))?;
        registry.register(Box::new(self.viewers.clone()))?;
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))
    }

    /// Counts a request to the Kubernetes API; `code` is the HTTP status, `timeout` or `error`.
    pub fn api_request(&self, verb: &str, kind: &str, code: &str) {
        self.api_requests
            .with_label_values(&[verb, kind, code])
            .inc();
    }

    /// Counts a pass over a cluster.
    pub fn reconcile(&self, is_well: bool, took: Duration) {
        let result = if is_well { "done" } else { "failed" };
        self.reconciles.with_label_values(&[result]).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// Counts a question to a node.
    pub fn scrape(&self, is_answered: bool) {
        let result = if is_answered { "answered" } else { "failed" };
        self.scrapes.with_label_values(&[result]).inc();
    }

    /// Shows whether this operator acts.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// Shows whether a cluster is ready.
    pub fn cluster_ready(&self, cluster: [&str; 2], is_ready: bool) {
        self.ready.with_label_values(&cluster).set(is_ready.into());
    }

    /// Shows what is published and watched.
    pub fn cluster_streams(&self, cluster: [&str; 2], streams: Option<i64>, viewers: Option<i64>) {
        for (gauge, value) in [(&self.streams, streams), (&self.viewers, viewers)] {
            match value {
                Some(value) => gauge.with_label_values(&cluster).set(value),
                None => drop(gauge.remove_label_values(&cluster)),
            }
        }
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, cluster: [&str; 2]) {
        for gauge in [&self.ready, &self.streams, &self.viewers] {
            // It may never have been shown.
            drop(gauge.remove_label_values(&cluster));
        }
    }

    /// All numbers in Prometheus' text format.
    ///
    /// # Errors
    /// When a number has no form in that format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn counter(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

fn gauge(name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_own_name() {
        let metrics = Metrics::new().unwrap();
        metrics.leads(true);
        metrics.api_request("get", "Lease", "200");
        let text = metrics.render().unwrap();
        assert!(text.contains("live_operator_leader 1"), "{text}");
        assert!(
            text.contains(r#"{code="200",kind="Lease",verb="get"} 1"#),
            "{text}"
        );
    }

    #[test]
    fn a_cluster_that_is_gone_is_not_shown() {
        let metrics = Metrics::new().unwrap();
        metrics.cluster_ready(["media", "demo"], true);
        metrics.cluster_streams(["media", "demo"], Some(3), None);
        assert!(metrics.render().unwrap().contains("demo"));
        metrics.forget(["media", "demo"]);
        assert!(!metrics.render().unwrap().contains("demo"));
    }
}
