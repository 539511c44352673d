//! Restart of an encoder: viewers stay connected and their stream continues.

use crate::support::{FlvViewer, Publisher, RtmpViewer, TestNode, number};

#[tokio::test]
async fn timestamps_increase_across_restarts_of_the_encoder() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    for run in 1..6 {
        // Runs end alternately with an unpublish and with a lost connection.
        if run % 2 == 0 {
            publisher.finish().await;
        } else {
            drop(publisher);
        }
        publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    }
    for protocol in ["FLV", "RTMP"] {
        let mut last = None;
        for expected in (0..6).flat_map(|_| 0..10) {
            let (message, timestamp) = loop {
                let message = if protocol == "FLV" {
                    flv.next().await
                } else {
                    rtmp.next().await
                }
                .unwrap();
                if number(&message).is_some() {
                    break (number(&message).unwrap(), message.timestamp);
                }
            };
            assert_eq!(message, expected, "{protocol}");
            assert!(
                last < Some(timestamp),
                "{protocol}: {timestamp} after {last:?}"
            );
            last = Some(timestamp);
        }
    }
}

#[tokio::test]
async fn stream_ends_cleanly_when_no_encoder_reconnects() {
    let node = TestNode::with(|config| config.stream.continuity_seconds = 0).await;
    let publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    publisher.finish().await;
    while flv.next().await.is_some() {}
    while rtmp.next().await.is_some() {}
}
