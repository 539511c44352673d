//! Viewers that join a running stream.

use media_wire::MediaKind;

use crate::support::{FlvViewer, Publisher, RtmpViewer, TestNode, interframe, number};

#[tokio::test]
async fn late_viewer_starts_at_the_newest_keyframe_after_the_init_data() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    for group in 0..3 {
        publisher.send_group(group * 10).await;
    }
    // The log is complete once a viewer has the last frame.
    let mut witness = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    while witness.numbered().await.unwrap().0 < 29 {}

    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    for protocol in ["FLV", "RTMP"] {
        let mut headers = Vec::new();
        let first = loop {
            let message = if protocol == "FLV" {
                flv.next().await
            } else {
                rtmp.next().await
            }
            .unwrap();
            if number(&message).is_some() {
                break message;
            }
            headers.push(message.kind);
        };
        assert_eq!(
            headers.first(),
            Some(&MediaKind::Data),
            "{protocol}: metadata first"
        );
        assert_eq!(headers.len(), 3, "{protocol}: {headers:?}");
        assert!(first.is_keyframe(), "{protocol}");
        assert_eq!(
            (number(&first), first.timestamp),
            (Some(20), 800),
            "{protocol}"
        );
    }
    let tracks = flv.tracks.unwrap();
    assert_eq!((tracks.audio, tracks.video), (true, true));
    publisher.send([interframe(30, 1200, 10)]).await;
    while flv.numbered().await.unwrap().0 < 30 {}
    while rtmp.numbered().await.unwrap().0 < 30 {}
}
