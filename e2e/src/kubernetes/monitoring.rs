//! The chart's alerts and dashboard in a real Prometheus, which scrapes what the chart's monitors select: every alert can be
//! evaluated, every query of the dashboard has a result, and what goes wrong shows in its panels.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use self::prometheus::Prometheus;
use crate::cluster::{Namespace, Reach, STREAM};
use crate::process::run as run_line;

mod monitors;
mod prometheus;

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let broken = json!({
        "image": "livecluster.dev/nothing:none",
        "edges": {"replicas": 0},
    });
    namespace.apply("broken", broken).await?;
    let demo = json!({"metrics": {"streams": 10}, "stream": {"playWaitSeconds": 0}});
    namespace.apply_ready("demo", demo).await?;

    namespace.say("Prometheus scrapes what the monitors of the chart select");
    let prometheus = Prometheus::start(&namespace).await?;
    let all_up = "count(up == 1) == count(up)";
    prometheus.until(all_up, "every target answers").await?;
    let edges = namespace.pods("demo", "edge").await?;
    let [watched, published] = &edges[..] else {
        bail!("{} edges instead of two", edges.len())
    };
    let play = namespace.reach_pod(watched).await?;
    let publish = namespace.reach_pod(published).await?;
    let stream = namespace.watched_stream(STREAM, &publish, &play).await?;

    namespace.say("an alert is pending for what is wrong, and for nothing else");
    prometheus.assert_rules().await?;
    let own = format!(r#"namespace="{}""#, namespace.name);
    let wrong = format!(r#"ALERTS{{{own}, alertname="LiveClusterNotReady", name="broken"}}"#);
    prometheus.until(&wrong, "an alert is pending").await?;
    let right = format!(
        r#"ALERTS{{{own}, name="demo"}} or ALERTS{{{own}, app_kubernetes_io_instance="demo"}}"#
    );
    let alerts = prometheus.query(&right).await?;
    ensure!(alerts.is_empty(), "about a ready LiveCluster: {alerts:?}");

    let queries = dashboard_queries(&namespace.name)?;
    let count = queries.len();
    namespace.say(format_args!(
        "all {count} queries of the dashboard have a result"
    ));
    for (panel, query) in &queries {
        let expected = format!("a result for panel {panel:?}");
        prometheus.until(query, &expected).await?;
    }
    for metric in [
        "live_cluster_viewers",
        "live_stream_viewers",
        "live_relay_round_trip_seconds_count",
    ] {
        let query = format!("sum({metric}{{{own}}}) > 0");
        prometheus.until(&query, &query).await?;
    }

    goes_wrong(&namespace, &prometheus, &queries, (watched, &play)).await?;
    stream.assert_connected()
}

/// Waits until the panels show a play of nothing, an edge that drains with its viewer, and the loss of the origin.
async fn goes_wrong(
    namespace: &Namespace,
    prometheus: &Prometheus,
    queries: &[(String, String)],
    (edge, play): (&Pod, &Reach),
) -> Result<()> {
    namespace.say("a play of nothing, a drain, the loss of the origin, and the panels about them");
    let nothing = play.http("live/nothing");
    run_line(&format!("curl --silent --output /dev/null {nothing}")).await?;
    let drained = format!("delete pod {} --wait=false", edge.name_any());
    namespace.kubectl(&drained).await?;
    let origins = namespace.pods("demo", "origin").await?;
    let origin = origins.first().context("no origin")?.name_any();
    let lost = format!("delete pod {origin} --grace-period=0 --force --wait=false");
    namespace.kubectl(&lost).await?;
    for (part, value) in WRONG {
        let (panel, query) = queries
            .iter()
            .find(|(_, query)| query.contains(part))
            .with_context(|| format!("no query with {part}"))?;
        let expected = format!("panel {panel:?} shows {value}");
        let query = format!("({query}) {value}");
        prometheus.until(&query, &expected).await?;
    }
    Ok(())
}

/// A part of a panel's query, and what the panel shows while it is wrong.
const WRONG: [(&str, &str); 6] = [
    ("unless on (namespace, name) live_cluster_stopped", "== 1"),
    ("live_plays_total", "> 0"),
    ("live_draining{", "== 1"),
    ("live_draining_viewers", "== 1"),
    ("live_relay_failures_total", "> 0"),
    ("live_relay_stalled_seconds_total", "> 0"),
];

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
