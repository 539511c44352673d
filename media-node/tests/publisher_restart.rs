//! Restart of an encoder: viewers stay connected and their stream continues.

use crate::support::{FlvViewer, Publisher, RtmpViewer, TestNode};

#[tokio::test]
async fn timestamps_increase_across_restarts_of_the_encoder() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    let mut last = [None; 2];
    for run in 0..6 {
        for expected in 0..10 {
            let frames = [flv.numbered().await, rtmp.numbered().await];
            for (frame, last) in frames.into_iter().zip(&mut last) {
                let (number, timestamp) = frame.unwrap();
                assert_eq!(number, expected, "run {run}");
                assert!(
                    *last < Some(timestamp),
                    "run {run}: {timestamp} after {last:?}"
                );
                *last = Some(timestamp);
            }
        }
        // Runs end alternately with a lost connection and with an unpublish.
        if run % 2 == 0 {
            drop(publisher);
        } else {
            publisher.finish().await;
        }
        publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
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
