//! Two encoders of one stream at one media node.

use media_config::DuplicatePublish;

use crate::support::{FlvViewer, Publisher, TestNode};

#[tokio::test]
async fn second_encoder_takes_over_and_the_first_gets_an_error() {
    let node = TestNode::start().await;
    let mut first = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    for number in 0..10 {
        assert_eq!(viewer.numbered().await.unwrap().0, number);
    }
    let mut second = Publisher::start(node.addresses.rtmp, "live/a").await;
    assert_eq!(
        first.0.closed_with().await.unwrap().code,
        "NetStream.Publish.BadName"
    );
    second.send_headers().await;
    second.send_group(100).await;
    for number in 100..110 {
        assert_eq!(viewer.numbered().await.unwrap().0, number);
    }
    let clients = node.api("/api/v1/clients").await;
    assert_eq!(clients.as_array().unwrap().len(), 2, "{clients}");
}

#[tokio::test]
async fn second_encoder_is_refused_by_policy_reject() {
    let node = TestNode::with(|config| {
        config.stream.duplicate_publish = DuplicatePublish::Reject;
    })
    .await;
    let mut first = Publisher::start(node.addresses.rtmp, "live/a").await;
    first.send_headers().await;
    let refused = Publisher::try_start(node.addresses.rtmp, "live/a")
        .await
        .err()
        .unwrap();
    assert_eq!(
        (refused.level.as_str(), refused.code.as_str()),
        ("error", "NetStream.Publish.BadName")
    );
    first.send_group(0).await;
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    assert_eq!(viewer.numbered().await.unwrap().0, 0);
}
