//! Metrics of real media nodes, as Prometheus scrapes them.

use std::path::Path;
use std::time::Duration;

use media_config::Limits;
use media_node::Timings;

use crate::support::{
    FlvViewer, Publisher, TestNode, edge, eventually, keyframe, origins, within_deadline,
};

/// Returns the value of a series; 0 when there is none.
async fn value(node: &TestNode, series: &str) -> f64 {
    let metrics = node.metrics().await;
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// Waits until a series has a value.
async fn has(node: &TestNode, series: &str, expected: f64) {
    let what = format!("{series} {expected}");
    eventually(&what, async || {
        (value(node, series).await - expected).abs() < 1e-9
    })
    .await;
}

/// Returns the names of all metrics in the source.
fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/state/metrics");
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let strings = text.split('"').filter(|text| text.starts_with("live_"));
        names.extend(strings.map(str::to_owned));
    }
    names.sort();
    names
}

#[tokio::test]
async fn every_metric_exists_from_the_start() {
    let node = TestNode::start().await;
    eventually("the load of the workers", async || {
        node.metrics().await.contains("live_worker_busy_ratio")
    })
    .await;
    let metrics = node.metrics().await;
    let absent: Vec<_> = names()
        .into_iter()
        .filter(|name| !metrics.contains(&format!("# TYPE {name} ")))
        .collect();
    assert_eq!(
        absent,
        [
            // Those of single streams, which are not configured, and of the certificate.
            "live_stream_keyframe_interval_seconds",
            "live_stream_received_bytes_total",
            "live_stream_video_frames_total",
            "live_stream_viewers",
            "live_tls_certificate_expiry_timestamp_seconds",
        ]
    );
    for series in [
        "live_connections_refused_total{reason=\"address_rate\"} 0",
        "live_limits_exceeded_total{limit=\"lookups\"} 0",
        "live_publishes_total{event=\"superseded\"} 0",
        "live_plays_total{kind=\"ws\",result=\"denied\"} 0",
        "live_auth_decisions_total{action=\"publish\",result=\"hook\"} 0",
        "live_tls_handshakes_failed_total{reason=\"not_tls\"} 0",
        "live_viewer_lags_total{kind=\"flv\"} 0",
        "live_viewer_lag_seconds_count 0",
        "live_viewer_first_byte_seconds_count{kind=\"rtmp\"} 0",
        "live_relay_stalled_seconds_total 0",
        "live_dns_failures_total 0",
        "live_origins 0",
    ] {
        assert!(metrics.lines().any(|line| line == series), "{series}");
    }
}

#[tokio::test]
async fn every_limit_is_a_metric() {
    let limits = Limits {
        max_media_mebibytes: Some(64),
        max_publish_kbps: 6000,
        ..Limits::default()
    };
    let configured = limits.clone();
    let node = TestNode::with(|config| config.limits = configured).await;
    let metrics = node.metrics().await;
    let fields = serde_json::to_value(limits).unwrap();
    for (name, limit) in fields.as_object().unwrap() {
        let series = format!("live_limit{{limit=\"{name}\"}} {limit}");
        assert!(metrics.lines().any(|line| line == series), "{series}");
    }
}

#[tokio::test]
async fn viewer_that_reads_nothing_lags_and_one_that_reads_does_not() {
    let timings = Timings {
        lag_sample: Duration::from_millis(20),
        ..Timings::default()
    };
    let node = TestNode::with_timings(timings, |_| {}).await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut reading = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let started = "live_viewer_first_byte_seconds_count{kind=\"flv\"}";
    has(&node, started, 1.0).await;
    publisher.send_group(10).await;
    while reading.numbered().await.unwrap().0 < 19 {}
    let count = async || value(&node, "live_viewer_lag_seconds_count").await;
    let behind = async || {
        let within = "live_viewer_lag_seconds_bucket{le=\"1\"}";
        count().await - value(&node, within).await
    };
    eventually("samples", async || count().await > 0.0).await;
    assert!(behind().await <= 0.0);

    drop(reading);
    let _stuck = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    within_deadline("a viewer that lags", async {
        // Its socket does not take them.
        for number in (1000..).step_by(5) {
            let large = keyframe(number, number * 40, 1_000_000);
            publisher.send([large]).await;
            if behind().await > 0.0 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn edge_counts_its_origin_and_the_round_trips_to_it() {
    let [origin] = origins::<1>(|_| {}).await;
    let edge = edge(std::slice::from_ref(&origin), |_| {}).await;
    has(&edge, "live_origins", 1.0).await;
    let _publisher = Publisher::with_group(edge.addresses.rtmp, "live/a").await;
    has(&edge, "live_relay_forwards", 1.0).await;
    eventually("round trips", async || {
        value(&edge, "live_relay_round_trip_seconds_count").await > 2.0
    })
    .await;
}

#[tokio::test]
async fn streams_have_metrics_of_their_own_where_that_is_configured() {
    let node = TestNode::with(|config| {
        config.metrics.streams = 1;
        config.stream.continuity_seconds = 0;
    })
    .await;
    let name = "live/say \"a\\b\"";
    let mut first = Publisher::with_group(node.addresses.rtmp, name).await;
    first.send_group(10).await;
    let escaped = "live/say \\\"a\\\\b\\\"";
    let series = |name: &str| format!("live_stream_{name}{{stream=\"{escaped}\"}}");
    has(&node, &series("video_frames_total"), 20.0).await;
    has(&node, &series("keyframe_interval_seconds"), 0.4).await;
    has(&node, &series("viewers"), 0.0).await;
    assert!(value(&node, &series("received_bytes_total")).await > 2000.0);

    let _second = Publisher::with_group(node.addresses.rtmp, "live/b").await;
    has(&node, "live_streams_without_metrics", 1.0).await;
    assert!(!node.metrics().await.contains("stream=\"live/b\""));
    let _viewer = FlvViewer::open(node.addresses.http, "/live/b.flv").await;
    drop(first);
    has(&node, "live_stream_viewers{stream=\"live/b\"}", 1.0).await;
    has(&node, "live_streams_without_metrics", 0.0).await;
    assert!(!node.metrics().await.contains("say"));
}

#[tokio::test]
async fn viewers_of_a_draining_media_node_are_counted() {
    let node = TestNode::start().await;
    let _publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let _viewer = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    has(&node, "live_clients{kind=\"flv\",role=\"viewer\"}", 1.0).await;
    has(&node, "live_draining_viewers", 0.0).await;
    node.drain.cancel();
    has(&node, "live_draining_viewers", 1.0).await;
}
