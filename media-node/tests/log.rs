//! Log lines of several media nodes in one process.

use crate::support::{FlvViewer, Publisher, TestNode, eventually, log};

#[tokio::test]
async fn every_log_line_names_its_instance() {
    let origin = TestNode::with(|config| config.name = "log-origin".to_owned()).await;
    let mut edge = TestNode::with(|config| {
        config.name = "log-edge".to_owned();
        config.role = media_config::Role::Edge;
        // An invalid name, so that discovery logs as well. It is never queried: the test needs no name server.
        config.origins.addresses = vec![
            origin.addresses.internal.to_string(),
            "no..name:9090".to_owned(),
        ];
    })
    .await;
    let mut publisher = Publisher::start(edge.addresses.rtmp, "live/logged").await;
    publisher.send_headers().await;
    publisher.send_group(0).await;
    let viewer = FlvViewer::open(origin.addresses.http, "/live/logged.flv").await;
    drop(viewer);
    edge.drain.cancel();
    edge.ended().await;

    let has_line = |instance: &str, message: &str| {
        let instance = format!("instance{{name=\"{instance}\"}}");
        let lines = log::lines();
        let matching = lines.iter().filter(|line| line.contains(message));
        matching.into_iter().any(|line| line.contains(&instance))
    };
    for (instance, message) in [
        // The caller's runtime, a session, discovery, the relay of either side, and the drain.
        ("log-edge", "serving"),
        ("log-edge", "publish started stream=live/logged"),
        ("log-edge", "media_node::discovery"),
        ("log-origin", "stream=live/logged"),
        ("log-edge", "draining"),
    ] {
        eventually(message, async || has_line(instance, message)).await;
    }
    for line in log::lines() {
        assert!(line.contains(" instance{name=\""), "{line}");
    }
}
