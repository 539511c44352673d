//! Limits of encoders: silence, init data, bitrate, and the streams that one connection begins.

use media_wire::amf0::{self, Value};
use tokio::io::AsyncWriteExt;

use crate::support::{FlvViewer, Publisher, TestNode, keyframe, video_header};

#[tokio::test]
async fn silent_encoder_is_disconnected() {
    let node = TestNode::with(|config| {
        config.stream.publish_idle_timeout_seconds = 1;
        config.stream.continuity_seconds = 0;
    })
    .await;
    // It waits for the stream, which soon ends.
    let viewer = tokio::spawn(FlvViewer::open(node.addresses.http, "/live/a.flv"));
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut viewer = viewer.await.unwrap();
    let status = publisher.0.closed_with().await.unwrap();
    assert!(
        status.description.contains("too long"),
        "{}",
        status.description
    );
    // The stream ends for its viewers, and its name is free.
    while viewer.next().await.is_some() {}
    Publisher::start(node.addresses.rtmp, "live/a").await;
}

#[tokio::test]
async fn encoder_with_too_much_init_data_is_disconnected_with_a_reason() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    let mut header = video_header();
    header.payload = [&header.payload[..], &[0; 64 << 10]].concat().into();
    publisher.send([header]).await;
    let status = publisher.0.closed_with().await.unwrap();
    assert_eq!(status.code, "NetStream.Publish.Failed");
    assert!(
        status.description.contains("above the limit of 65536"),
        "{}",
        status.description
    );
    let exceeded = "live_limits_exceeded_total{limit=\"init_data\"} 1";
    assert!(node.metrics().await.contains(exceeded));
}

#[tokio::test]
async fn connection_begins_a_limited_number_of_streams_in_a_minute() {
    let node = TestNode::with(|config| config.limits.max_stream_starts_per_minute = 2).await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.publish_again("b").await;
    publisher.0.connection.finish();
    publisher.0.flush().await;
    let publish = ["publish".into(), 0.0.into(), Value::Null, "c".into()];
    let body = amf0::encode_all(&publish);
    let length = u8::try_from(body.len()).unwrap();
    let header = [3, 0, 0, 0, 0, 0, length, 20, 1, 0, 0, 0];
    publisher
        .0
        .socket
        .write_all(&[&header[..], &body].concat())
        .await
        .unwrap();
    let refused = publisher.0.closed_with().await.unwrap();
    assert_eq!(refused.code, "NetStream.Publish.Failed");
    assert!(
        refused.description.contains("more than 2 streams"),
        "{}",
        refused.description
    );
    let exceeded = "live_limits_exceeded_total{limit=\"stream_starts\"} 1";
    assert!(node.metrics().await.contains(exceeded));
}

#[tokio::test]
async fn encoder_with_too_high_a_bitrate_is_disconnected_with_a_reason() {
    let node = TestNode::with(|config| config.limits.max_publish_kbps = 800).await;
    let mut honest = Publisher::with_group(node.addresses.rtmp, "live/honest").await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    // 800 kbit/s are a megabyte in ten seconds.
    for number in 0..3 {
        publisher
            .send([keyframe(number, number * 40, 400_000)])
            .await;
    }
    let status = publisher.0.closed_with().await.expect("a status");
    assert_eq!(status.code, "NetStream.Publish.Failed");
    assert_eq!(
        status.description,
        "the bitrate is above the limit of 800 kbit/s"
    );
    let exceeded = "live_limits_exceeded_total{limit=\"publish_bitrate\"}";
    assert_eq!(node.metric(exceeded).await, 1);
    let ended = "live_publishes_total{event=\"bitrate_exceeded\"}";
    assert_eq!(node.metric(ended).await, 1);
    honest.send_group(10).await;
    let viewer = FlvViewer::open(node.addresses.http, "/live/honest.flv").await;
    drop(viewer);
}

#[tokio::test]
async fn encoder_with_too_many_messages_is_disconnected_with_a_reason() {
    let node = TestNode::with(|config| config.limits.max_publish_messages_per_second = 100).await;
    let mut honest = Publisher::with_group(node.addresses.rtmp, "live/honest").await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    // Empty messages, which no viewer gets, count as well.
    let first = [6, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0];
    publisher.0.send_bytes(&first).await;
    publisher.0.send_bytes(&[0xC6; 1_000]).await;
    let status = publisher.0.closed_with().await.expect("a status");
    assert_eq!(status.code, "NetStream.Publish.Failed");
    let expected =
        "more than 100 messages in a second: send as fast as the media play, with ffmpeg by -re";
    assert_eq!(status.description, expected);
    let exceeded = "live_limits_exceeded_total{limit=\"publish_messages\"}";
    assert_eq!(node.metric(exceeded).await, 1);
    let ended = "live_publishes_total{event=\"too_many_messages\"}";
    assert_eq!(node.metric(ended).await, 1);
    honest.send_group(10).await;
    FlvViewer::open(node.addresses.http, "/live/honest.flv").await;
}
