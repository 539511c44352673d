//! Backup encoders at one media node, with the policy `standby`.

mod cluster;
mod encoders;

use std::time::Duration;

use media_config::DuplicatePublish;
use media_node::{NodeConfig, Timings};

use crate::support::{FlvViewer, Publisher, TestNode, eventually};
use encoders::{Feed, Spliced, source};

fn standby(config: &mut NodeConfig) {
    config.stream.duplicate_publish = DuplicatePublish::Standby;
    // An encoder that waits for its turn on a busy host is not silent.
    config.stream.failover_after_milliseconds = 60_000;
    config.stream.window_seconds = 60;
}

/// With the default, for what happens after it.
fn standby_soon(config: &mut NodeConfig) {
    standby(config);
    config.stream.failover_after_milliseconds = 2_000;
}

fn timings() -> Timings {
    Timings {
        standby_steady: Duration::from_millis(300),
        ..Timings::default()
    }
}

async fn node() -> TestNode {
    TestNode::with_timings(timings(), standby).await
}

async fn standbys(node: &TestNode) -> u64 {
    node.metric("live_standbys ").await
}

#[tokio::test]
async fn standby_goes_on_air_at_its_next_keyframe_when_the_encoder_disconnects() {
    let node = node().await;
    let first = Feed::start(&node, "live/a", 0).await;
    let mut viewer = Spliced::watch(&node, "live/a").await;
    viewer.until(source(0)).await;
    let _second = Feed::start(&node, "live/a", 1).await;
    assert_eq!(standbys(&node).await, 1);
    let streams = node.api("/api/v1/streams").await;
    assert_eq!(streams[0]["standbys"], 1, "{streams}");
    drop(first);
    viewer.until(source(1)).await;
    assert_eq!(standbys(&node).await, 0);
    let gone = node.metric("live_standby_switches_total{reason=\"gone\"}");
    assert_eq!(gone.await, 1);
}

#[tokio::test]
async fn higher_priority_takes_over_when_it_is_steady_and_the_other_encoder_stays_connected() {
    let node = node().await;
    let _first = Feed::start(&node, "live/a", 0).await;
    let mut viewer = Spliced::watch(&node, "live/a").await;
    viewer.until(source(0)).await;
    let second = Feed::start(&node, "live/a?priority=5", 1).await;
    viewer.until(source(1)).await;
    // The first one stands by as soon as its own worker has its turn.
    eventually("one standby", async || standbys(&node).await == 1).await;
    let _third = Feed::start(&node, "live/a?priority=4", 2).await;
    drop(second);
    viewer.until(source(2)).await;
    let priority = node.metric("live_standby_switches_total{reason=\"priority\"}");
    assert!(priority.await >= 1);
    assert_eq!(
        node.metric("live_publishes_total{event=\"superseded\"}")
            .await,
        0
    );
}

#[tokio::test]
async fn silent_encoder_is_replaced_and_stands_by_when_it_returns() {
    let node = TestNode::with_timings(timings(), standby_soon).await;
    let first = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut viewer = Spliced::watch(&node, "live/a").await;
    viewer.until(source(0)).await;
    let second = Feed::start(&node, "live/a", 1).await;
    viewer.until(source(1)).await;
    let silent = node.metric("live_standby_switches_total{reason=\"silent\"}");
    assert_eq!(silent.await, 1);
    let _first = Feed::resume(first, 10);
    viewer.frames(50).await;
    assert_eq!(viewer.source(), source(1), "equal priority stays");
    drop(second);
    viewer.until(source(0)).await;
}

#[tokio::test]
async fn priority_that_is_not_a_number_up_to_100_is_refused() {
    let node = node().await;
    for priority in ["101", "-1", "x", ""] {
        let stream = format!("live/a?priority={priority}");
        let refused = Publisher::try_start(node.addresses.rtmp, &stream).await;
        let refused = refused.err().unwrap();
        assert!(refused.description.contains("0 to 100"), "{refused:?}");
    }
    Publisher::start(node.addresses.rtmp, "live/a?priority=100").await;
}

#[tokio::test]
async fn ninth_standby_of_a_stream_is_refused() {
    let node = node().await;
    let mut encoders = Vec::new();
    for number in 0..9 {
        encoders.push(Feed::start(&node, "live/a", number).await);
    }
    assert_eq!(standbys(&node).await, 8);
    let refused = Publisher::try_start(node.addresses.rtmp, "live/a").await;
    let refused = refused.err().unwrap();
    assert!(
        refused.description.contains("8 encoders stand by"),
        "{refused:?}"
    );
    let exceeded = node.metric("live_limits_exceeded_total{limit=\"standbys\"}");
    assert_eq!(exceeded.await, 1);
    encoders.pop();
    eventually("a place for another standby", async || {
        let next = Publisher::try_start(node.addresses.rtmp, "live/a").await;
        next.is_ok()
    })
    .await;
}

#[tokio::test]
async fn standby_is_disconnected_when_its_media_node_drains() {
    let node = node().await;
    let _first = Feed::start(&node, "live/a", 0).await;
    let mut second = Publisher::start(node.addresses.rtmp, "live/a").await;
    node.drain.cancel();
    second.0.closed_with().await;
}

#[tokio::test]
async fn standby_of_a_stream_that_has_ended_publishes_the_next_one() {
    let node = TestNode::with_timings(timings(), |config| {
        standby(config);
        config.stream.continuity_seconds = 0;
    })
    .await;
    let first = Feed::start(&node, "live/a", 0).await;
    let mut second = Publisher::start(node.addresses.rtmp, "live/a").await;
    second.send_headers().await;
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    viewer.numbered().await.unwrap();
    drop(first);
    while viewer.numbered().await.is_some() {}
    let _second = Feed::resume(second, 0);
    Spliced::watch(&node, "live/a").await.frames(20).await;
}
