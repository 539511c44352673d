//! A stream that is about to reach 2^31 milliseconds begins its timestamps again. Browsers are disconnected there and connect again.

use bytes::BytesMut;
use media_wire::rtmp::message_header;
use tokio::io::AsyncWriteExt;

use crate::support::{
    FlvViewer, Publisher, RawConnection, RtmpViewer, TestNode, audio_frame, keyframe,
};

/// A keyframe from here on renews the stream.
const RENEWAL: u32 = (1 << 31) - (1 << 22);

/// The longest step of an encoder that is no jump.
const LONGEST_STEP: u32 = 10_000;

#[tokio::test]
async fn browsers_are_disconnected_where_timestamps_begin_again_and_others_go_on() {
    // The audio frames of weeks are sent at once.
    let node = TestNode::with(|config| config.limits.max_publish_messages_per_second = 0).await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher
        .send([keyframe(0, 0, 50), audio_frame(0, 0)])
        .await;
    let start = send_audio_until(&mut publisher, RENEWAL).await;
    publisher.send([keyframe(1, start, 50)]).await;

    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let connection = RawConnection::connect(node.addresses.http).await;
    let mut browser = FlvViewer::open_as("Mozilla/5.0", connection, "/live/a.flv").await;
    // The media node may still read the audio frames.
    while rtmp.numbered().await != Some((1, start)) {}
    while flv.numbered().await != Some((1, start)) {}
    while browser.numbered().await != Some((1, start)) {}
    publisher
        .send([keyframe(2, RENEWAL, 50), keyframe(3, RENEWAL + 40, 50)])
        .await;
    assert_eq!(browser.numbered().await, None, "a clean end");
    for renewed in [(2, 10_000), (3, 10_040)] {
        assert_eq!(rtmp.numbered().await, Some(renewed));
        assert_eq!(flv.numbered().await, Some(renewed));
    }
    let connection = RawConnection::connect(node.addresses.http).await;
    let mut returned = FlvViewer::open_as("Mozilla/5.0", connection, "/live/a.flv").await;
    assert_eq!(returned.numbered().await, Some((3, 10_040)));
}

/// Sends audio frames at the longest distance. Returns the timestamp of the last one.
async fn send_audio_until(publisher: &mut Publisher, end: u32) -> u32 {
    let mut timestamp = 0;
    while timestamp + LONGEST_STEP < end {
        let mut bytes = BytesMut::new();
        while timestamp + LONGEST_STEP < end && bytes.len() < 100_000 {
            timestamp += LONGEST_STEP;
            let message = audio_frame(0, timestamp);
            let length = u32::try_from(message.payload.len()).unwrap();
            bytes.extend_from_slice(&message_header(message.kind, timestamp, length));
            bytes.extend_from_slice(&message.payload);
        }
        publisher.0.socket.write_all(&bytes).await.unwrap();
    }
    timestamp
}
