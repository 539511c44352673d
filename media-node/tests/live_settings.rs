//! Limits of a live file change while streams go on.

use std::time::Duration;

use media_node::Timings;

use crate::support::{FlvViewer, Publisher, TestNode, eventually, log, replace_file, request};

async fn reloaded(node: &TestNode, result: &str, count: u64) {
    let metric = format!("live_settings_reloads_total{{result=\"{result}\"}}");
    eventually(&metric, async || node.metric(&metric).await == count).await;
}

async fn publishes(node: &TestNode, stream: &str) -> Result<Publisher, String> {
    let started = Publisher::try_start(node.addresses.rtmp, stream).await;
    started.map_err(|status| status.code)
}

#[tokio::test]
async fn limit_changes_while_streams_go_on_and_a_bad_file_keeps_the_former_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.yaml");
    replace_file(&path, "limits: {maxStreams: 1}");
    let timings = Timings {
        key_poll: Duration::from_millis(20),
        ..Timings::default()
    };
    let node = TestNode::following(&path, timings, |config| {
        config.name = "live-settings".to_owned();
    })
    .await;
    let refused = || Some("NetStream.Publish.Failed".to_owned());
    let mut first = publishes(&node, "live/a").await.unwrap();
    first.send_headers().await;
    first.send_group(0).await;
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    assert_eq!(publishes(&node, "live/b").await.err(), refused());

    replace_file(&path, "{log: {level: debug}, limits: {maxStreams: 2}}");
    reloaded(&node, "success", 1).await;
    let second = publishes(&node, "live/b").await.unwrap();
    assert_eq!(publishes(&node, "live/c").await.err(), refused());

    for (number, (bad, message)) in (1..).zip([
        ("limits: {maxStreams: 0}", "choose 1 to 100000"),
        ("log: {level: LOUD}", "log.level: choose off"),
        ("stream: {lingerSeconds: 1}", "unknown field"),
    ]) {
        replace_file(&path, bad);
        reloaded(&node, "error", number).await;
        let logged = |line: &String| {
            line.contains("keeping the former ones") && line.contains("live-settings")
        };
        let lines = log::lines();
        let line = lines.iter().rfind(|line| logged(line)).expect("a log line");
        assert!(line.contains(message), "{line}");
        assert_eq!(publishes(&node, "live/c").await.err(), refused());
    }

    // Connections that are over a new limit stay.
    replace_file(&path, "limits: {maxConnectionsPerAddress: 1}");
    reloaded(&node, "success", 2).await;
    let refused = request(node.addresses.http, "GET", "/").await;
    assert_eq!(refused.status, 503);
    first.send_group(10).await;
    for number in 0..20 {
        assert_eq!(viewer.numbered().await.unwrap().0, number);
    }
    drop(second);
}
