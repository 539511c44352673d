//! The chart's alerts and dashboard in a real Prometheus, which scrapes what the chart's monitors select: every alert can be
//! evaluated, and every query of the dashboard has a result. While the origin hangs, the alert about that is pending and no other
//! one, and afterwards none is.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use self::prometheus::Prometheus;
use crate::cluster::{Namespace, STREAM};
use crate::wait::{DEADLINE, eventually};

mod monitors;
mod prometheus;

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let broken = json!({
        "image": "livecluster.dev/nothing:none",
        "edges": {"replicas": 0},
    });
    namespace.apply("broken", broken).await?;
    let demo = json!({"metrics": {"streams": 10}});
    namespace.apply_ready("demo", demo).await?;

    namespace.say("Prometheus scrapes what the monitors of the chart select");
    let prometheus = Prometheus::start(&namespace).await?;
    let all_up = "count(up == 1) == count(up)";
    prometheus.until(all_up, "every target answers").await?;
    let edge = namespace.reach_role("demo", "edge").await?;
    let origin = namespace.reach_role("demo", "origin").await?;
    let stream = namespace.watched_stream(STREAM, &origin, &edge).await?;

    namespace.say("an alert is pending for what is wrong, and for nothing else");
    prometheus.assert_rules().await?;
    let own = format!(r#"namespace="{}""#, namespace.name);
    let wrong = format!(r#"ALERTS{{{own}, alertname="LiveClusterNotReady", name="broken"}}"#);
    prometheus.until(&wrong, "an alert is pending").await?;
    assert_alerts(&prometheus, &namespace, "").await?;

    let queries = dashboard_queries(&namespace.name)?;
    let count = queries.len();
    namespace.say(format_args!(
        "all {count} queries of the dashboard have a result"
    ));
    prometheus.until_all(&queries).await?;
    for metric in [
        "live_cluster_viewers",
        "live_stream_viewers",
        "live_relay_round_trip_seconds_count",
    ] {
        let query = format!("sum({metric}{{{own}}}) > 0");
        prometheus.until(&query, &query).await?;
    }
    if namespace.may_break("the origin hangs") {
        origin_hangs(&namespace, &prometheus).await?;
    }
    stream.assert_connected()
}

/// Lets the origin hang until an alert is pending, and go on until none is.
async fn origin_hangs(namespace: &Namespace, prometheus: &Prometheus) -> Result<()> {
    namespace.say("the origin hangs: one alert is pending");
    let own = format!(r#"namespace="{}", name="demo""#, namespace.name);
    let origins = namespace.pods("demo", "origin").await?;
    let origin = origins.first().context("no origin")?;
    namespace.signal(origin, "STOP").await?;
    let seen = async {
        let alert = format!(r#"ALERTS{{{own}, alertname="LiveClusterNotReady"}}"#);
        prometheus.until(&alert, "an alert is pending").await?;
        let expected = "LiveClusterNotReady|LiveClusterDegraded";
        assert_alerts(prometheus, namespace, expected).await
    };
    let seen = seen.await;
    namespace.signal(origin, "CONT").await?;
    seen?;
    let none = format!("absent(ALERTS{{{own}}})");
    prometheus
        .until(&none, "no alert is pending any more")
        .await
}

/// Waits until no alert about the LiveCluster `demo` is pending, except those whose names match. On a host with other load one may be
/// for a moment.
async fn assert_alerts(
    prometheus: &Prometheus,
    namespace: &Namespace,
    expected: &str,
) -> Result<()> {
    let own = format!(r#"namespace="{}", alertname!~"{expected}""#, namespace.name);
    let query = format!(
        r#"ALERTS{{{own}, name="demo"}} or ALERTS{{{own}, app_kubernetes_io_instance="demo"}}"#
    );
    eventually("no other alert is pending", DEADLINE, || async {
        let alerts = prometheus.query(&query).await?;
        ensure!(alerts.is_empty(), "about demo: {alerts:?}");
        Ok(())
    })
    .await
}

/// Returns the title of each panel of the dashboard with each of its queries, about one namespace.
fn dashboard_queries(namespace: &str) -> Result<Vec<(String, String)>> {
    let dashboard = std::fs::read_to_string(Path::new(DASHBOARD)).context(DASHBOARD)?;
    let dashboard: Value = serde_json::from_str(&dashboard)?;
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().context("no panels")? {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().context("a target without expr")?;
            let query = query
                .replace("$namespace", namespace)
                .replace("$cluster", "demo|broken")
                .replace("$__rate_interval", RATE_INTERVAL);
            ensure!(!query.contains('$'), "unknown variable in {query}");
            let title = panel["title"].as_str().unwrap_or_default();
            queries.push((title.to_owned(), query));
        }
    }
    ensure!(queries.len() > 10, "only {} queries", queries.len());
    Ok(queries)
}

const DASHBOARD: &str = "charts/livecluster/files/dashboards/livecluster.json";

/// Longer than the scenario: what happened once, such as a viewer's first byte, stays a rate.
const RATE_INTERVAL: &str = "5m";
